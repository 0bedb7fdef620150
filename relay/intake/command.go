package intake

import (
	"strings"

	smtp "github.com/emersion/go-smtp"

	"postern/config/wire"
)

// state is where the session stands (RFC 5321 §4.1.4).
type state uint8

const (
	stateFresh  state = iota // greeted, or after STARTTLS: no EHLO yet
	stateReady               // EHLO or HELO accepted, no transaction
	stateMail                // MAIL accepted
	stateRcpt                // at least one RCPT accepted
	stateChunks              // between two BDAT of one message (RFC 3030 §2)
	stateClosed              // nothing more is read, not even what is buffered
)

// states is a set of them.
type states uint8

func in(list ...state) (s states) {
	for _, st := range list {
		s |= 1 << st
	}
	return s
}

func (s states) has(st state) bool { return s&(1<<st) != 0 }

// command is one row of the state machine.
type command struct {
	verb string
	in   states // where it may come; elsewhere the reply is 503
	bare bool   // it takes no argument
	idle bool   // it moves nothing forward; only so many are allowed
	sync bool   // its reply may not be held back (RFC 2920 §3.2)
	wait bool   // the client has to wait for the reply before it sends more
	run  func(c *conn, arg string)
}

var anywhere = in(stateFresh, stateReady, stateMail, stateRcpt, stateChunks)

// lookup finds the row of a verb. The next state, where it changes, is set by
// the function that runs the command, once it has succeeded.
func lookup(verb string) *command {
	for i := range commands {
		if strings.EqualFold(commands[i].verb, verb) {
			return &commands[i]
		}
	}
	return nil
}

// commands is the state machine, the frequent verbs first.
var commands [16]command

func init() {
	commands = [...]command{
		// RFC 5321 §4.1.1.2: begins a transaction; a second one inside is a
		// bad sequence (§4.1.4). Ready → Mail.
		{verb: "MAIL", in: in(stateReady), run: (*conn).mail},
		// §4.1.1.3. Mail, Rcpt → Rcpt.
		{verb: "RCPT", in: in(stateMail, stateRcpt), run: (*conn).rcpt},
		// §4.1.1.4. Rcpt → Ready. Not after BDAT (RFC 3030 §2).
		{verb: "DATA", in: in(stateRcpt), bare: true, sync: true, wait: true, run: (*conn).data},
		// RFC 3030 §2. Rcpt → Chunks → Ready. It checks its place itself: the
		// octets that follow it have to be read in any case.
		{verb: "BDAT", in: anywhere, run: (*conn).bdat},
		// §4.1.1.5. Mail, Rcpt, Chunks → Ready.
		{verb: "RSET", in: anywhere, bare: true, idle: true, run: (*conn).rset},
		// §4.1.1.10: in any state. → Closed.
		{verb: "QUIT", in: anywhere, bare: true, sync: true, run: (*conn).quit},
		// §4.1.1.1; §4.1.4: again at any time, and then like RSET. → Ready.
		{verb: "EHLO", in: anywhere, idle: true, sync: true, wait: true, run: func(c *conn, arg string) { c.hello(arg, true) }},
		{verb: "HELO", in: anywhere, idle: true, sync: true, wait: true, run: func(c *conn, arg string) { c.hello(arg, false) }},
		// RFC 3207 §4. Ready → Fresh.
		{verb: "STARTTLS", in: in(stateReady), bare: true, sync: true, wait: true, run: (*conn).starttls},
		// RFC 4954 §4: not inside a transaction. Stays Ready.
		{verb: "AUTH", in: in(stateReady), sync: true, wait: true, run: (*conn).auth},
		// §4.1.1.9, §4.1.1.6, §4.1.1.7, §4.1.1.8: change nothing.
		{verb: "NOOP", in: anywhere, idle: true, sync: true, run: saying(replyOK)},
		{verb: "VRFY", in: anywhere, idle: true, sync: true, run: (*conn).vrfy},
		{verb: "EXPN", in: anywhere, idle: true, sync: true, run: saying(say(502, 5, 5, 1, "EXPN is not offered"))},
		{verb: "HELP", in: anywhere, idle: true, sync: true, run: saying(replyHelp)},
		// §F.1, §F.6: known, and not done.
		{verb: "TURN", in: anywhere, idle: true, sync: true, run: saying(replyObsolete)},
		{verb: "SEND", in: anywhere, idle: true, sync: true, run: saying(replyObsolete)},
	}
}

// outOfOrder is the reply to a command in the wrong state.
func outOfOrder(st state) string {
	switch st {
	case stateFresh:
		return "send EHLO first"
	case stateReady:
		return "send MAIL first"
	case stateMail:
		return "send RCPT first, or RSET"
	case stateChunks:
		return "a message is on its way by BDAT; go on, or send RSET"
	}
	return "a transaction is under way; send DATA, BDAT or RSET"
}

var (
	replyOK       = say(250, 2, 0, 0, "ok")
	replyHelp     = say(214, 2, 0, 0, "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY STARTTLS AUTH\nSee RFC 5321")
	replyObsolete = say(502, 5, 5, 1, "command not implemented")
	replyUnknown  = say(500, 5, 5, 1, "command not recognized")
)

// saying is a command that does nothing but answer.
func saying(r *smtp.SMTPError) func(*conn, string) { return func(c *conn, _ string) { c.reply(r) } }

// parse finds the command of a line and its argument, or the reply to a line
// that is none.
func parse(line string, lenient bool) (cmd *command, arg string, r *smtp.SMTPError) {
	if wire.HasControl(line) {
		return nil, "", say(500, 5, 5, 2, "control character in a command")
	}
	verb, arg, _ := strings.Cut(strings.TrimRight(line, " "), " ") // RFC 5321 §4.1.1: tolerate them
	if lenient {
		arg = strings.TrimLeft(arg, " ")
	}
	switch cmd = lookup(verb); {
	case cmd == nil:
		return nil, "", replyUnknown
	case cmd.bare && arg != "" && !(lenient && cmd.verb == "QUIT"):
		return nil, "", say(501, 5, 5, 4, cmd.verb+" takes no parameters")
	}
	return cmd, arg, nil
}

// withoutTabs is line with blanks in place of tabs, unless one of them may
// stand in a quoted string.
func withoutTabs(line string) string {
	if strings.IndexByte(line, '\t') < 0 || strings.IndexByte(line, '"') >= 0 {
		return line
	}
	return strings.TrimRight(strings.ReplaceAll(line, "\t", " "), " ")
}

// tally is what a client has done that leads to nothing. Each method but
// accept tells whether that is too much.
type tally struct {
	errors   int // of the protocol, since the last accepted message
	idles    int // NOOP and the like, since then
	refusals int // of MAIL, RCPT and messages, since then
	signIns  int // that failed
	accepted int // messages
}

func (t *tally) protest() bool {
	t.errors++
	return t.errors >= maxErrors
}

func (t *tally) idle() bool {
	t.idles++
	return t.idles > maxIdleCommands
}

func (t *tally) refuse() bool {
	t.refusals++
	return t.refusals >= maxRefusals
}

func (t *tally) failSignIn() bool {
	t.signIns++
	return t.signIns >= maxAuthFailures
}

// accept counts a message that was accepted: the client is at work.
func (t *tally) accept() {
	t.accepted++
	t.errors, t.idles, t.refusals = 0, 0, 0
}
