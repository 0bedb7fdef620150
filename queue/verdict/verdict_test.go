package verdict

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/spool"
)

// at is an outcome at a stage.
func at(stage spool.Stage, code int, enhanced, text string) spool.Outcome {
	return spool.Outcome{Stage: stage, Code: code, Enhanced: enhanced, Text: text, Remote: "up.example:587"}
}

// TestOf holds answers as real servers give them against what they have to
// mean. Text after a code is what follows it on the wire.
func TestOf(t *testing.T) {
	const (
		gone  = "failed"
		later = "deferred"
		sent  = "delivered"
	)
	rcpt, data, body, dot, mail := spool.StageRcpt, spool.StageData, spool.StageBody, spool.StageDot, spool.StageMail
	for _, c := range []struct {
		stage spool.Stage
		code  int
		enh   string
		text  string
		want  string
		blame Blame
		next  bool
	}{
		// Good answers, also unusual ones.
		{dot, 250, "2.0.0", "Ok: queued as 4F2", sent, Nobody, false},
		{dot, 250, "", "", sent, Nobody, false},
		{dot, 251, "", "will forward", sent, Nobody, false},
		{dot, 299, "", "", sent, Nobody, false},

		// Recipients that do not exist or may not be reached.
		{rcpt, 550, "5.1.1", "<x@example.com>: Recipient address rejected: User unknown in virtual mailbox table", gone, Recipient, false},
		{rcpt, 550, "5.1.1", "The email account that you tried to reach does not exist.", gone, Recipient, false},
		{rcpt, 550, "5.1.10", "RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", gone, Recipient, false},
		{rcpt, 550, "5.4.1", "Recipient address rejected: Access denied. AS(201806281)", gone, Recipient, false},
		{rcpt, 550, "", "No such user here", gone, Recipient, false},
		{rcpt, 551, "5.1.6", "user not local", gone, Recipient, false},
		{rcpt, 553, "5.1.3", "bad address syntax", gone, Recipient, false},
		{rcpt, 501, "5.1.3", "Bad recipient address syntax", gone, Recipient, false},
		{rcpt, 504, "5.5.2", "<user@host>: Recipient address rejected: need fully-qualified address", gone, Recipient, false},
		{rcpt, 556, "5.1.10", "Domain does not accept mail", gone, Recipient, false},
		{rcpt, 552, "5.2.2", "Mailbox full", gone, Recipient, false},
		{rcpt, 550, "5.7.1", "mail from this sender is not wanted", gone, Recipient, false},
		{rcpt, 550, "5.7.124", "Sender not in allowed-senders list for group", gone, Recipient, false},
		{rcpt, 550, "5.2.1", "mailbox disabled", gone, Recipient, false},

		// Recipients that may be reached later.
		{rcpt, 450, "4.2.0", "<x@example.com>: Recipient address rejected: Greylisted", later, Recipient, false},
		{rcpt, 450, "4.2.1", "The user you are trying to contact is receiving mail at a rate", later, Recipient, false},
		{rcpt, 451, "4.7.1", "Greylisting in action", later, Recipient, false},
		{rcpt, 452, "4.2.2", "over quota", later, Recipient, false},
		{rcpt, 452, "4.5.3", "Too many recipients", later, Recipient, false},
		{rcpt, 552, "", "too many recipients", later, Recipient, false}, // RFC 5321 §4.5.3.1.10
		{rcpt, 552, "5.5.3", "too many recipients", later, Recipient, false},
		{rcpt, 550, "4.2.1", "contradicts itself", later, Nobody, false},
		{rcpt, 450, "5.1.1", "contradicts itself", later, Recipient, false},
		{rcpt, 454, "4.7.1", "Relay access denied", later, Recipient, false},

		// Our way in, whatever stage says so.
		{rcpt, 530, "5.7.0", "Authentication required", later, Access, true},
		{mail, 530, "5.7.0", "Must issue a STARTTLS command first", later, Access, true},
		{mail, 530, "5.7.57", "Client not authenticated to send mail. [AM0PR]", later, Access, true},
		{mail, 530, "5.7.0", "Authentication Required. For more information, go to https://support.google.com", later, Access, true},
		{mail, 535, "5.7.3", "Authentication unsuccessful", later, Access, true},
		{rcpt, 550, "5.7.0", "authentication required", later, Access, true},
		{dot, 550, "5.7.64", "TenantAttribution; Relay Access Denied", later, Access, true},
		{dot, 550, "5.7.705", "Service unavailable. Access denied, tenant has exceeded threshold", later, Access, true},
		{rcpt, 554, "5.7.1", "<app1[192.0.2.1]>: Client host rejected: Access denied", later, Access, true},
		{mail, 550, "", "Unauthenticated senders not allowed", later, Access, true},

		// May not relay there: set-up, not the recipient.
		{rcpt, 554, "5.7.1", "<x@example.com>: Relay access denied", later, Nobody, true},
		{rcpt, 550, "5.7.1", "Unable to relay", later, Nobody, true},
		{rcpt, 550, "5.7.1", "<x@example.com>... Relaying denied", later, Nobody, true},

		// The sender, and its quota.
		{mail, 553, "5.7.1", "<a@example.com>: Sender address rejected: not owned by user b", later, Sender, true},
		{rcpt, 553, "5.7.1", "<a@example.com>: Sender address rejected: not owned by user b", later, Sender, true},
		{rcpt, 550, "5.1.8", "<a@nowhere>: Sender address rejected: Domain not found", later, Sender, true},
		{rcpt, 450, "4.1.8", "<a@nowhere>: Sender address rejected: Domain not found", later, Sender, true},
		{mail, 501, "5.1.7", "Bad sender address syntax", later, Sender, true},
		{mail, 550, "", "sender refused", later, Sender, true},
		{mail, 451, "4.1.8", "Domain of sender address does not resolve", later, Sender, true},
		{dot, 554, "5.2.252", "SendAsDenied; a@example.com not allowed to send as b@example.com", later, Sender, true},
		{dot, 554, "5.2.0", "STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied", later, Sender, true},
		{dot, 550, "5.7.60", "SMTP; Client does not have permissions to send as this sender", later, Sender, true},
		{rcpt, 550, "5.4.5", "Daily user sending limit exceeded. For more information on Gmail", later, Sender, true},
		{dot, 550, "5.4.5", "Daily SMTP relay sending quota exceeded for user", later, Sender, true},
		{dot, 554, "", "Message rejected: Email address is not verified.", later, Sender, true},
		{mail, 555, "5.5.4", "Unsupported option", later, Sender, true},
		{mail, 503, "5.5.1", "nested MAIL command", later, Sender, true},

		// The upstream itself.
		{mail, 500, "", "Syntax error, command unrecognized", later, Upstream, true}, // MailKit#1452
		{mail, 502, "5.5.1", "Command not implemented", later, Upstream, true},
		{mail, 421, "4.3.2", "Service not available, closing transmission channel", later, Upstream, true},
		{mail, 452, "4.3.1", "Insufficient system storage", later, Upstream, true},
		{mail, 451, "4.3.0", "Temporary lookup failure", later, Upstream, true},
		{mail, 432, "4.3.2", "Concurrent connections limit exceeded", later, Upstream, true},
		{dot, 432, "4.3.2", "STOREDRV.ClientSubmit; sender thread limit exceeded", later, Upstream, true},
		{mail, 454, "", "Throttling failure: Maximum sending rate exceeded.", later, Upstream, true},
		{dot, 451, "4.7.500", "Server busy. Please try again later", later, Upstream, true},
		{dot, 421, "4.7.28", "Our system has detected an unusual rate of unsolicited mail", later, Upstream, true},
		{rcpt, 452, "4.3.1", "Insufficient system resources", later, Upstream, true},
		{rcpt, 521, "", "host does not accept mail", later, Upstream, true},
		{dot, 554, "5.3.2", "system not accepting network messages", later, Upstream, true},
		{dot, 550, "5.3.5", "System incorrectly configured", later, Upstream, true},

		// The content.
		{mail, 552, "5.3.4", "Message size exceeds fixed limit", gone, Content, false},
		{mail, 552, "", "message too large", gone, Content, false},
		{mail, 550, "5.6.7", "non-ASCII addresses not permitted", gone, Content, false},
		{dot, 552, "5.3.4", "Your message exceeded Google's message size limits", gone, Content, false},
		{dot, 554, "5.7.1", "Message rejected as spam by content filtering", gone, Content, false},
		{dot, 550, "5.7.26", "Unauthenticated email is not accepted due to the domain's DMARC policy", gone, Content, false},
		{dot, 550, "5.6.11", "Invalid characters", gone, Content, false},
		{dot, 554, "5.4.6", "Too many hops", gone, Content, false},
		{dot, 554, "", "Transaction failed", gone, Content, false},
		{rcpt, 552, "5.3.4", "too big", gone, Content, false},
		{dot, 550, "5.7.30", "REQUIRETLS needed", gone, Content, false},
		{body, 552, "5.3.4", "too much", gone, Content, false},
		{dot, 451, "4.3.0", "mail server temporarily rejected message", later, Recipient, false},
		{dot, 450, "", "", later, Recipient, false},

		// What nobody understands is temporary.
		{body, 554, "5.7.1", "interrupts", later, Nobody, false},
		{data, 250, "", "instead of 354", later, Nobody, false},
		{data, 503, "5.5.1", "bad sequence of commands", later, Nobody, true},
		{data, 554, "5.5.1", "Error: no valid recipients", later, Nobody, true},
		{rcpt, 503, "", "need MAIL", later, Nobody, true},
		{rcpt, 500, "", "what?", later, Nobody, true},
		{rcpt, 501, "", "syntax", later, Nobody, true},
		{rcpt, 555, "5.5.2", "Syntax error, goodbye", later, Nobody, true},
		{rcpt, 354, "", "go on", later, Nobody, false},
		{rcpt, 250, "", "and then nothing", later, Nobody, false},
		{mail, 354, "", "", later, Nobody, false},
		{rcpt, 999, "", "", later, Nobody, false},
		{rcpt, 0, "", "", later, Nobody, false},
		{dot, 500, "", "unrecognised", later, Nobody, true},
	} {
		o := at(c.stage, c.code, c.enh, c.text)
		v := Of(&o, false)
		got := map[spool.Status]string{spool.Pending: later, spool.Bounced: gone, spool.Delivered: sent}[v.Status]
		if got != c.want || v.Blame != c.blame || v.Next != c.next {
			t.Errorf("stage %d: %d %s %s\n got %s, blame %s, next %v; want %s, blame %s, next %v",
				c.stage, c.code, c.enh, c.text, got, v.Blame, v.Next, c.want, c.blame, c.next)
		}
		if v.InDoubt {
			t.Errorf("%d %s is in doubt", c.code, c.text)
		}
	}
}

// Without an answer to the final dot, or with one that belongs elsewhere,
// nobody knows.
func TestInDoubt(t *testing.T) {
	for _, code := range []int{0, 100, 354, 199, 600, 999} {
		o := spool.Outcome{Stage: spool.StageDot, Code: code}
		if v := Of(&o, true); !v.InDoubt || v.Status != spool.Pending || v.Next {
			t.Errorf("code %d: %+v", code, v)
		}
	}
}

func TestUnsupported(t *testing.T) {
	o := spool.Outcome{Stage: spool.StageMail, Code: 550, Enhanced: "5.6.7", Unsupported: true}
	if v := Of(&o, true); v.Status != spool.Pending || !v.Next {
		t.Errorf("with another upstream: %+v", v)
	}
	if v := Of(&o, false); v.Status != spool.Bounced {
		t.Errorf("with no other upstream: %+v", v)
	}
}

func TestOfFault(t *testing.T) {
	for _, c := range []struct {
		stage spool.Stage
		code  int
		err   error
		want  Blame
	}{
		{spool.StageResolve, 0, errors.New("no such host"), Upstream},
		{spool.StageConnect, 0, errors.New("refused"), Upstream},
		{spool.StageGreet, 554, nil, Upstream},
		{spool.StageGreet, 421, nil, Upstream},
		{spool.StageTLS, 0, errors.New("x509: certificate has expired"), Access},
		{spool.StageTLS, 0, io.EOF, Upstream},
		{spool.StageTLS, 454, nil, Upstream},
		{spool.StageTLS, 500, nil, Access},
		{spool.StageSignIn, 535, nil, Access},
		{spool.StageSignIn, 454, nil, Upstream},
		{spool.StageSignIn, 0, errors.New("no mechanism in common"), Access},
		{spool.StageSignIn, 0, io.ErrUnexpectedEOF, Upstream},
		{spool.StageMail, 0, io.EOF, Upstream},
	} {
		f := &spool.Fault{Outcome: spool.Outcome{Stage: c.stage, Code: c.code}, Err: c.err}
		if v := OfFault(f); v.Blame != c.want || v.Status != spool.Pending {
			t.Errorf("stage %d, code %d, %v: %+v, want blame %s", c.stage, c.code, c.err, v, c.want)
		}
	}
}

// Whatever an upstream says: only a 5xx to RCPT, DATA or the content, a 5xx
// about the size or the address form of a message to MAIL, or a lacking
// extension fails a recipient; only a 2xx to the final dot delivers.
func TestNeverLoses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := spool.Outcome{
			Stage:    spool.Stage(rapid.IntRange(0, int(spool.StageDot)).Draw(t, "stage")),
			Code:     rapid.IntRange(0, 1100).Draw(t, "code"),
			Enhanced: rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[245]\.[0-7]\.[0-9]{1,3}`), rapid.String()).Draw(t, "enhanced"),
			Text:     rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"Relay access denied", "throttled", "recipient address rejected"})).Draw(t, "text"),
		}
		v := Of(&o, rapid.Bool().Draw(t, "more"))
		switch v.Status {
		case spool.Delivered:
			if o.Stage != spool.StageDot || o.Code < 200 || o.Code > 299 {
				t.Fatalf("delivered by %+v", o)
			}
		case spool.Bounced:
			if o.Code < 500 || o.Code > 599 || o.Stage < spool.StageMail {
				t.Fatalf("failed by %+v", o)
			}
			if v.Blame != Recipient && v.Blame != Content {
				t.Fatalf("failed, and blames %s: %+v", v.Blame, o)
			}
		}
	})
}

// waits is an error that says of itself that it is temporary.
type waits bool

func (waits) Error() string     { return "the provider of tokens" }
func (w waits) Temporary() bool { return bool(w) }

// A provider of tokens that is out of reach is no refused sign-in.
func TestOfFaultBelievesTemporary(t *testing.T) {
	for temporary, want := range map[waits]Blame{true: Upstream, false: Access} {
		f := &spool.Fault{Outcome: spool.Outcome{Stage: spool.StageSignIn}, Err: fmt.Errorf("no token: %w", temporary)}
		if got := OfFault(f); got.Blame != want || got.Status != spool.Pending {
			t.Errorf("temporary %v: %+v", temporary, got)
		}
	}
}

// FuzzOf: whatever an upstream answers, only a 2xx to the final dot
// delivers, only a 5xx or a missing extension fails a recipient, nothing before
// MAIL does, and the advice agrees with the verdict.
func FuzzOf(f *testing.F) {
	f.Add(uint8(spool.StageDot), 250, "2.0.0", "queued as 12345", false)
	f.Add(uint8(spool.StageRcpt), 550, "5.1.1", "User unknown", false)
	f.Add(uint8(spool.StageRcpt), 550, "4.2.1", "mailbox disabled", false)
	f.Add(uint8(spool.StageMail), 552, "5.3.4", "message too large", true)
	f.Add(uint8(spool.StageSignIn), 535, "5.7.8", "535-5.7.8 Username and Password not accepted", false)
	f.Add(uint8(spool.StageDot), 999, "5.7.999999999999999999999", "İ\xff", false)
	for _, r := range replies() {
		code := r.Code
		if code < 10 {
			code = max(code, 4)*100 + 50
		}
		f.Add(uint8(max(r.from, spool.StageMail)), code, strings.TrimSuffix(r.Enhanced, "*"), r.Text, false)
	}
	f.Fuzz(func(t *testing.T, stage uint8, code int, enhanced, text string, unsupported bool) {
		o := &spool.Outcome{Stage: spool.Stage(stage) % (spool.StageDot + 1), Code: code, Enhanced: enhanced, Text: text, Unsupported: unsupported}
		for _, more := range []bool{false, true} {
			v := Of(o, more)
			good := !unsupported && o.Stage == spool.StageDot && code/100 == 2
			bad := unsupported || o.Stage >= spool.StageMail && code >= 500 && code <= 599
			if v.Status == spool.Delivered != good || v.Status == spool.Bounced && !bad || v.Status > spool.Bounced || v.Blame.String() == "" {
				t.Fatalf("%+v: %+v", o, v)
			}
			if v.InDoubt && (o.Stage != spool.StageDot || v.Status != spool.Pending) || v.Status != spool.Pending && (v.Next || v.Soon) {
				t.Fatalf("%+v: %+v", o, v)
			}
			if a, ok := Advise(o); ok && (a.Meaning == "" || a.Remedy == "" || o.Stage >= spool.StageMail && a.Blame != v.Blame && !v.InDoubt) {
				t.Fatalf("%+v: %+v, and advice %+v", o, v, a)
			}
		}
		if v := OfFault(&spool.Fault{Outcome: *o}); o.Stage < spool.StageMail && (v.Status != spool.Pending || v.Blame == Recipient || v.Blame == Content) && !unsupported {
			t.Fatalf("%+v: the session %+v", o, v)
		}
	})
}

// BenchmarkOf is one verdict on a refusal with the longest search.
func BenchmarkOf(b *testing.B) {
	o := at(spool.StageRcpt, 550, "5.1.1", "The email account that you tried to reach does not exist. Please try double-checking it.")
	b.ReportAllocs()
	for b.Loop() {
		Of(&o, false)
	}
}
