// Package sendmail is the command line that programs of a Unix machine hand mail
// in by: sendmail with its flags, a message on standard input, and an exit code
// of sysexits. It runs with the rights of its caller, in the caller's process.
//
// It opens no file that its command line names: programs put what strangers
// wrote into it. An option that it doesn't know never loses a message.
package sendmail

import (
	"fmt"
	"strings"
)

// Mode is what the command is to do.
type Mode int

// The modes. Those that are not named here deliver.
const (
	Deliver Mode = iota // a message of standard input
	Session             // -bs: SMTP on standard input and output
	List                // -bp, mailq
	Aliases             // -bi, newaliases
	Verify              // -bv: tell what would become of addresses
	Daemon              // -bd, -bD, -bl
	Flush               // -q
)

// Flags are what a command line says.
type Flags struct {
	Mode       Mode
	From       string // of -f or -r; "" is the null sender where it was Given
	Given      bool
	Name       string // of -F
	FromHeader bool   // -t
	IgnoreDots bool   // -i: a line with nothing but a dot doesn't end the message
	// Notify, Return and EnvelopeID are those of -N, -R and -V, checked.
	Notify, Return, EnvelopeID string
	Operands                   []string // lists of addresses
	Unknown                    []string // words that were ignored and mean nothing here
}

// takes tells what follows an option: "no" value, one that may be "attached",
// or a "value", attached or the next word. What is not here is not known.
var takes = map[byte]string{
	'A': "value", 'B': "value", 'C': "value", 'D': "value", 'F': "value", 'L': "value", 'M': "value", 'N': "value", 'O': "value",
	'R': "value", 'V': "value", 'X': "value", 'b': "value", 'e': "value", 'f': "value", 'h': "value", 'o': "value", 'p': "value",
	'r': "value",
	'd': "attached", 'q': "attached", 'Q': "attached",
	'G': "no", 'I': "no", 'U': "no", 'c': "no", 'i': "no", 'm': "no", 'n': "no", 's': "no", 't': "no", 'v': "no", 'x': "no",
}

// Options are the options in words, for people: how each is written, and what
// it does. docs/sendmail.md has the same list.
var Options = []struct{ Written, Does string }{
	{"-t", "recipients are those of To, Cc and Bcc, and those of the command line"},
	{"-f ADDRESS, -r ADDRESS", "the sender; '' is the null sender. Without it: the user who runs the command"},
	{"-F NAME", "the name in a From that is missing; else the full name of the user"},
	{"-i, -oi", "a line with a single dot does not end the message"},
	{"-bs", "speak SMTP on standard input and output"},
	{"-bp, mailq", "list the queue"},
	{"-bi, -I, newaliases", "nothing: aliases are read when they change"},
	{"-bv ADDRESS", "tell what would become of a message, as explain does"},
	{"-q...", "try everything now, where the control socket lets the user"},
	{"-N never, -N failure,delay,success", "when the sender is told of what becomes of the message"},
	{"-R full, -R hdrs", "how much of the message comes back with that"},
	{"-V ID", "the name of the message in that"},
	{"-bd, -bD, -bl", "refused: serve is the daemon"},
}

// Help is the help of the command.
func Help() string {
	var b strings.Builder
	b.WriteString("Reads a message from standard input and hands it to the relay of this machine\n" +
		"or, while that is away, leaves it in the pickup folder. With exit code 0 the\n" +
		"message is durable. Any other option of sendmail is read and ignored.\n\n")
	for _, o := range Options {
		if len(o.Written) < 18 {
			fmt.Fprintf(&b, "  %-18s", o.Written)
		} else {
			fmt.Fprintf(&b, "  %s\n  %18s", o.Written, "")
		}
		b.WriteString(strings.ReplaceAll(fold(o.Does, 54), "\n", "\n"+strings.Repeat(" ", 20)) + "\n")
	}
	b.WriteString(`
Exit codes:
   0  the message is durable
  64  no recipient, or -bd
  65  an address or the header cannot be read
  66  standard input cannot be read
  69  refused for good
  75  refused for now, or the relay is away and the pickup folder cannot be
      written
  77  the socket is not for this user
  78  the configuration cannot be read`)
	return b.String()
}

// fold breaks text into lines of at most n bytes, where words are shorter.
func fold(text string, n int) string {
	var lines []string
	for _, word := range strings.Fields(text) {
		if last := len(lines) - 1; last >= 0 && len(lines[last])+1+len(word) <= n {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return strings.Join(lines, "\n")
}

// Parse reads a command line without the name of the program. Nothing in it is
// an error: what is not known is told of in Unknown.
func Parse(args []string) *Flags {
	f := &Flags{}
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--":
			f.Operands = append(f.Operands, args[i+1:]...)
			return f
		case len(arg) < 2 || arg[0] != '-':
			f.Operands = append(f.Operands, arg)
		case arg[1] == '-':
			f.Unknown = append(f.Unknown, arg)
		default:
			i += f.word(arg, args[i+1:])
		}
	}
	return f
}

// word reads the options of one word, and returns how many of the words after
// it were their values.
func (f *Flags) word(word string, next []string) int {
	for i := 1; i < len(word); i++ {
		rest := word[i+1:]
		switch takes[word[i]] {
		case "no":
			f.set(word[i], "")
		case "attached":
			f.set(word[i], rest)
			return 0
		case "value":
			if rest != "" {
				f.set(word[i], rest)
				return 0
			}
			if len(next) == 0 {
				f.Unknown = append(f.Unknown, "-"+word[i:]+" without a value")
				return 0
			}
			f.set(word[i], next[0])
			return 1
		default:
			f.Unknown = append(f.Unknown, "-"+word[i:])
			return 0
		}
	}
	return 0
}

// set takes one option. Those that are not here mean nothing to us; -C, -X and
// -oQ, which name files, are among them.
func (f *Flags) set(option byte, value string) {
	switch option {
	case 'b':
		f.mode(value)
	case 'f', 'r':
		f.From, f.Given = value, true
	case 'F':
		f.Name = value
	case 't':
		f.FromHeader = true
	case 'i':
		f.IgnoreDots = true
	case 'o':
		f.IgnoreDots = f.IgnoreDots || value == "i"
	case 'I':
		f.Mode = Aliases
	case 'q':
		f.Mode = Flush
	case 'N':
		f.report(&f.Notify, "-N ", value, isNotify)
	case 'R':
		f.report(&f.Return, "-R ", value, isReturn)
	case 'V':
		f.report(&f.EnvelopeID, "-V ", value, isEnvelopeID)
	}
}

// report takes what the sender wants to be told, where it can be understood.
func (f *Flags) report(to *string, option, value string, good func(string) bool) {
	if good(value) {
		*to = value
	} else {
		f.Unknown = append(f.Unknown, option+value)
	}
}

func (f *Flags) mode(value string) {
	switch value {
	case "m":
		f.Mode = Deliver
	case "s":
		f.Mode = Session
	case "p":
		f.Mode = List
	case "i":
		f.Mode = Aliases
	case "v":
		f.Mode = Verify
	case "d", "D", "l":
		f.Mode = Daemon
	default:
		f.Unknown = append(f.Unknown, "-b"+value)
	}
}

// remark tells the log of options that were ignored.
func (f *Flags) remark() string {
	if len(f.Unknown) == 0 {
		return ""
	}
	return "sendmail ignored " + strings.Join(f.Unknown, " ")
}
