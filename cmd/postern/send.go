package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/step"
	"postern/config"
	"postern/config/wire"
	"postern/relay/merge"
)

// Further exit codes of sysexits.h, for send.
const (
	exitNoInput = 66 // a file cannot be read
	exitNoUser  = 67 // a name that no address book knows
)

// sendFlags are those of `postern send`.
type sendFlags struct {
	step               step.Flags
	raw, fromHeader    bool
	dryRun, all        bool
	preview, out, smtp string
	redirect, failed   string
	limit, yes         int
	keepGoing          bool
}

// asksAbove is from how many messages on a terminal is asked.
const asksAbove = 100

func (a *app) sendCommand() *cobra.Command {
	f := &sendFlags{}
	cmd := &cobra.Command{
		Use:   "send [FILE.toml | --raw RECIPIENT…]",
		Short: "Make messages from a message file, rows or flags, and hand them to the relay",
		Long: `Makes one message, or one for each row, and hands them to the relay of this
machine. Everything is made and checked before the first is sent; where
anything is wrong, all of it is told and nothing is sent.

A message file (TOML) and the flags say the same things; a flag replaces what
the file says. Every string is a template: {{.email}} is a column of the rows.
With --raw a finished message is read from standard input.

Exit codes:
   0  all queued, or there were no rows and rows.empty allows that
  64  the command line is wrong
  65  a template, a row, an address or an attachment is wrong
  66  a file or the output of a command cannot be read
  67  a name that no address book knows
  69  refused by the relay for good
  73  a file cannot be written
  75  the relay is away or full: run the same command again; with a key it
      continues where it was
  77  not allowed
  78  the configuration of the relay is wrong`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 && !f.raw {
				return usage("`%s` takes one message file: %q is too many", cmd.CommandPath(), args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // whoever can't wait asks again
			f.step.Given = cmd.Flags().Changed
			if a.stdin != nil {
				f.step.Stdin = whileWanted(ctx, a.stdin)
			}
			if f.raw {
				return sendFailure(a.sendRaw(ctx, f, args))
			}
			if len(args) == 1 {
				f.step.File = args[0]
			}
			return sendFailure(a.send(ctx, f))
		},
	}
	f.register(cmd)
	for _, name := range []string{"to", "cc", "bcc"} {
		if err := cmd.RegisterFlagCompletionFunc(name, a.completeRecipient); err != nil {
			panic(err) // there is such a flag
		}
	}
	return a.withJSON(cmd)
}

func (f *sendFlags) register(cmd *cobra.Command) {
	s, flags := &f.step, cmd.Flags()
	flags.StringVar(&s.From, "from", "", "the sender, `ADDRESS`")
	flags.StringArrayVar(&s.To, "to", nil, "a recipient, `ADDRESS`; may be repeated")
	flags.StringArrayVar(&s.Cc, "cc", nil, "a recipient of a copy, `ADDRESS`; may be repeated")
	flags.StringArrayVar(&s.Bcc, "bcc", nil, "a recipient whom the others do not see, `ADDRESS`; may be repeated")
	flags.StringArrayVar(&s.ReplyTo, "reply-to", nil, "where answers go, `ADDRESS`; may be repeated")
	flags.StringVar(&s.Subject, "subject", "", "the subject, `TEXT`")
	flags.StringVar(&s.Text, "text", "", "`FILE` with the text; - is standard input, which is no template")
	flags.StringVar(&s.Body, "body", "", "the text itself, `TEXT`")
	flags.StringVar(&s.HTML, "html", "", "`FILE` with HTML; without a text one is derived from it")
	flags.StringVar(&s.Markdown, "markdown", "", "`FILE` with Markdown, which becomes HTML and text")
	flags.StringVar(&s.Calendar, "calendar", "", "`FILE` with an invitation (.ics)")
	flags.StringArrayVar(&s.Attach, "attach", nil, "attach `FILE[:NAME[:TYPE]]`; may be repeated")
	flags.StringArrayVar(&s.Embed, "embed", nil, "a picture that the HTML shows, `FILE[:CID]`; may be repeated")
	flags.StringArrayVar(&s.Header, "header", nil, "a field of the header, `'NAME: VALUE'`; may be repeated")
	flags.StringVar(&s.Rows, "rows", "", "`FILE` with rows (CSV, TSV, JSON, NDJSON, XLSX); - is standard input")
	flags.StringVar(&s.RowsFormat, "rows-format", "auto", "what the rows are: `auto|csv|tsv|json|ndjson|xlsx`")
	flags.StringVar(&s.Per, "per", "row", "one message for each row, for all, or for each value of a column: `row|all|COLUMN`")
	flags.StringArrayVar(&s.Set, "set", nil, "a variable, `NAME=VALUE`, which templates see as {{.var.NAME}}; may be repeated")
	flags.StringArrayVar(&s.SetFile, "set-file", nil, "a variable that holds a file, `NAME=FILE`; may be repeated")
	flags.StringVar(&s.Save, "save", "", "keep a copy of each message in the file `TEMPLATE`")
	flags.StringVar(&s.Key, "key", "", "what a message is known by, `TEMPLATE`: it is taken once only")
	flags.StringVar(&s.Priority, "priority", "", "how urgent it is shown to be: `high|normal|low`")
	flags.BoolVar(&f.raw, "raw", false, "send the message on standard input as it is")
	flags.BoolVarP(&f.fromHeader, "recipients", "t", false, "with --raw: take recipients from the header")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the first message; send nothing")
	flags.BoolVar(&f.all, "all", false, "with --dry-run: print every message")
	flags.StringVar(&f.preview, "preview", "", "write a page that shows every message to `FILE`; send nothing")
	flags.StringVar(&f.out, "out", "", "write the messages as .eml files into `DIR`; send nothing")
	flags.StringVar(&f.redirect, "redirect", "", "send every message to `ADDRESS` only")
	flags.IntVar(&f.limit, "limit", 0, "make the first `N` messages only")
	flags.BoolVar(&f.keepGoing, "keep-going", false, "leave out rows that are wrong, and send the others")
	flags.StringVar(&f.failed, "failed", "", "write the rows that were not sent, with the reason, to `FILE`")
	flags.IntVar(&f.yes, "yes", asksAbove, "ask on a terminal above `N` messages only")
	flags.StringVar(&f.smtp, "smtp", "", "hand in at `HOST:PORT` instead of the relay of this machine")
}

// check refuses flags that exclude or need each other.
func (f *sendFlags) check() error {
	ways := 0
	for _, on := range []bool{f.dryRun, f.preview != "", f.out != ""} {
		if on {
			ways++
		}
	}
	switch {
	case ways > 1:
		return usage("--dry-run, --preview and --out exclude each other")
	case f.all && !f.dryRun:
		return usage("--all is for --dry-run")
	case f.fromHeader:
		return usage("-t is for --raw")
	case f.limit < 0:
		return usage("--limit %d is less than nothing", f.limit)
	case f.yes < 0:
		return usage("--yes %d is less than nothing", f.yes)
	case f.failed != "" && ways > 0:
		return usage("--failed is for messages that are sent")
	}
	return f.checkWhere()
}

// checkWhere refuses addresses that no second try would reach either.
func (f *sendFlags) checkWhere() error {
	if _, port, err := net.SplitHostPort(f.smtp); f.smtp != "" && (err != nil || port == "") {
		return usage("--smtp %q is not HOST:PORT", f.smtp)
	}
	if f.step.Given("redirect") && wire.CheckMailbox(f.redirect, true) != wire.NoFault {
		return usage("--redirect %q is not an address", f.redirect)
	}
	return nil
}

func (f *sendFlags) sends() bool { return !f.dryRun && f.preview == "" && f.out == "" }

// send makes a plan and does with it what the flags say.
func (a *app) send(ctx context.Context, f *sendFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	what, err := f.step.Step()
	if err != nil {
		return a.problems(err)
	}
	var relay *step.Relay
	var maxSize int64
	var absent error // told after what is wrong with the messages
	if f.sends() {
		if relay, err = a.relay(f.smtp); err != nil {
			return err
		}
		defer relay.Close()
		maxSize, absent = relay.Open(ctx)
	}
	options := merge.Options{
		Stdin: f.step.Stdin, Run: runName(), Redirect: f.redirect, MaxSize: maxSize, Limit: f.limit, KeepGoing: f.keepGoing, Warn: a.doubt,
	}
	if books, err := a.books(); err == nil {
		options.Book = books
	} else if f.smtp == "" {
		return err
	}
	if relay != nil && absent == nil {
		options.RelayAdds, options.Domain = relay.IsPostern(), domainOf(relay)
		if what.Key != "" {
			a.keepsNoKeys(f.smtp, relay)
		}
	}
	plan, err := merge.Prepare(ctx, what, options)
	if err != nil {
		return a.problems(err)
	}
	defer plan.Close()
	if plan.Messages() == 0 {
		return a.noRows(plan, what.Rows.Empty)
	}
	progress := a.progress("checked", plan.Messages())
	err = plan.Check(ctx, step.Workers(), progress.to)
	progress.end()
	if f.preview != "" {
		written := step.Preview(ctx, plan, f.preview)
		if written == nil && err == nil {
			fmt.Fprintf(a.stdout, "%s shown in %s; nothing was sent\n", counted(plan.Messages(), "message"), safe(f.preview))
		}
		return errors.Join(written, a.problems(err))
	}
	switch {
	case err != nil:
		return a.problems(err)
	case f.dryRun:
		if err := step.Show(ctx, plan, a.stdout, f.all); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s; nothing was sent\n", counted(plan.Messages(), "message"))
		return nil
	case f.out != "":
		n, err := step.Files(ctx, plan, f.out)
		if err == nil {
			fmt.Fprintf(a.stdout, "%s written to %s; nothing was sent\n", counted(n, "message"), safe(f.out))
		}
		return err
	case absent != nil:
		return absent
	case plan.Messages() > f.yes && isTerminal(a.stdin) && !a.agreedTo(f.step.Stdin, plan.Messages()):
		if err := ctx.Err(); err != nil {
			return err
		}
		return &failure{code: exitUsage, text: "nothing was sent"}
	}
	return a.sendAll(ctx, f, plan, relay)
}

// domainOf is what stands in the Message-ID of a message with a copy: the name
// of the relay. Empty, for the domain of From, where the relay is a stranger's or
// its name is one that means something on its own machine only.
func domainOf(relay *step.Relay) string {
	if name := relay.Hostname(); relay.IsPostern() && strings.Contains(name, ".") {
		return name
	}
	return ""
}

// keepsNoKeys warns of keys that nobody looks at.
func (a *app) keepsNoKeys(address string, relay *step.Relay) {
	if !relay.IsPostern() {
		a.doubt(merge.Problem{Text: "the relay at " + address + " is not Postern and keeps no keys: a second run sends again"})
	}
}

// runName is {{.run}}: a moment and a process.
func runName() string {
	return time.Now().UTC().Format("20060102T150405.000") + "-" + strconv.Itoa(os.Getpid())
}

// relay finds where to hand in: at an address that is given, else at the socket
// of the relay of this machine, which knows by the kernel who we are.
func (a *app) relay(address string) (*step.Relay, error) {
	hello := config.MachineName()
	if address != "" {
		return step.SMTP(address, hello), nil
	}
	place, err := config.Locate(a.config)
	if err != nil {
		// Not everybody may read the file; the socket is for everybody.
		if a.config == "" && mayNotRead(config.DefaultPath()) {
			return step.Socket(config.DefaultSubmitSocket(), 0), nil
		}
		return nil, badConfig(err)
	}
	if place.SubmitSocket != "" {
		if _, err := os.Stat(place.SubmitSocket); err == nil || place.SMTP == "" {
			return step.NamedSocket(place.SubmitSocket, place.MaxMessage, place.Hostname), nil
		}
	}
	if place.SMTP == "" {
		return nil, &failure{
			code: exitConfig, text: "no listener of " + place.Path + " can be used by send",
			hint: "add a [[listener]] at 127.0.0.1 without TLS and sign-in, or name one with --smtp HOST:PORT",
		}
	}
	return step.SMTP(place.SMTP, hello), nil
}

// mayNotRead tells whether a file is not for this user to read.
func mayNotRead(path string) bool {
	f, err := os.Open(path)
	if err == nil {
		f.Close()
	}
	return permission(err)
}

// doubt tells of something that is no reason not to send.
func (a *app) doubt(w merge.Problem) { fmt.Fprintf(a.stderr, "warning: %s\n", safe(w.String())) }

// problems prints everything that is wrong; an error of another kind stays.
func (a *app) problems(err error) error {
	var found *merge.Problems
	if !errors.As(err, &found) {
		return err
	}
	out := bufio.NewWriter(a.stderr)
	defer out.Flush()
	for line := range strings.SplitSeq(found.Error(), "\n") {
		fmt.Fprintln(out, safe(line))
	}
	fmt.Fprintf(out, "%s; nothing was sent\n", counted(found.Total, "problem"))
	code := exitData
	switch found.Kind() {
	case merge.Name:
		code = exitNoUser
	case merge.Away:
		code = exitTempFail
	case merge.NoInput:
		code = exitNoInput
	}
	return errReported{code}
}

func (a *app) noRows(plan *merge.Plan, empty merge.Empty) error {
	_, from := plan.Rows()
	if empty == merge.EmptyFail {
		return &failure{code: exitData, text: "there are no rows in " + from + "; nothing was sent"}
	}
	if !a.json {
		fmt.Fprintf(a.stdout, "There are no rows in %s; nothing was sent.\n", safe(from))
	}
	return nil
}

func counted(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// agreedTo asks before many messages are sent.
func (a *app) agreedTo(in io.Reader, n int) bool {
	fmt.Fprintf(a.stderr, "Send %d messages? [y/N] ", n)
	line, _ := bufio.NewReader(in).ReadString('\n')
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes"
}

// sendFailure gives the errors of send their exit codes.
func sendFailure(err error) error {
	var (
		bad     *step.Usage
		refused *step.Refusal
		path    *os.PathError
	)
	switch {
	case errors.As(err, &bad):
		return &failure{code: exitUsage, text: bad.Text, hint: bad.Hint}
	case errors.As(err, &refused):
		f := &failure{code: exitUnavailable, text: refused.Error(), err: err}
		switch {
		case permission(err):
			f.code = exitNoPerm
		case refused.Temporary:
			f.code, f.hint = exitTempFail, "Nothing is lost: run the same command again."
		}
		return f
	case errors.Is(err, context.Canceled):
		return &failure{code: exitTempFail, text: "stopped", hint: "Run the same command again; with a key it continues where it was."}
	case errors.As(err, &path):
		code := exitCantCreate
		if permission(err) {
			code = exitNoPerm
		}
		return &failure{code: code, text: err.Error(), err: err}
	}
	return err
}
