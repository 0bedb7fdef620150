package queue

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/spool"
)

// TestJudge holds answers as real servers give them against what they have to
// mean. Text after a code is what follows it on the wire.
func TestJudge(t *testing.T) {
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
		{dot, 250, "2.0.0", "Ok: queued as 4F2", sent, BlameNobody, false},
		{dot, 250, "", "", sent, BlameNobody, false},
		{dot, 251, "", "will forward", sent, BlameNobody, false},
		{dot, 299, "", "", sent, BlameNobody, false},

		// Recipients that do not exist or may not be reached.
		{rcpt, 550, "5.1.1", "<x@example.com>: Recipient address rejected: User unknown in virtual mailbox table", gone, BlameRecipient, false},
		{rcpt, 550, "5.1.1", "The email account that you tried to reach does not exist.", gone, BlameRecipient, false},
		{rcpt, 550, "5.1.10", "RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", gone, BlameRecipient, false},
		{rcpt, 550, "5.4.1", "Recipient address rejected: Access denied. AS(201806281)", gone, BlameRecipient, false},
		{rcpt, 550, "", "No such user here", gone, BlameRecipient, false},
		{rcpt, 551, "5.1.6", "user not local", gone, BlameRecipient, false},
		{rcpt, 553, "5.1.3", "bad address syntax", gone, BlameRecipient, false},
		{rcpt, 501, "5.1.3", "Bad recipient address syntax", gone, BlameRecipient, false},
		{rcpt, 504, "5.5.2", "<user@host>: Recipient address rejected: need fully-qualified address", gone, BlameRecipient, false},
		{rcpt, 556, "5.1.10", "Domain does not accept mail", gone, BlameRecipient, false},
		{rcpt, 552, "5.2.2", "Mailbox full", gone, BlameRecipient, false},
		{rcpt, 550, "5.7.1", "mail from this sender is not wanted", gone, BlameRecipient, false},
		{rcpt, 550, "5.7.124", "Sender not in allowed-senders list for group", gone, BlameRecipient, false},
		{rcpt, 550, "5.2.1", "mailbox disabled", gone, BlameRecipient, false},

		// Recipients that may be reached later.
		{rcpt, 450, "4.2.0", "<x@example.com>: Recipient address rejected: Greylisted", later, BlameRecipient, false},
		{rcpt, 450, "4.2.1", "The user you are trying to contact is receiving mail at a rate", later, BlameRecipient, false},
		{rcpt, 451, "4.7.1", "Greylisting in action", later, BlameRecipient, false},
		{rcpt, 452, "4.2.2", "over quota", later, BlameRecipient, false},
		{rcpt, 452, "4.5.3", "Too many recipients", later, BlameRecipient, false},
		{rcpt, 552, "", "too many recipients", later, BlameRecipient, false}, // RFC 5321 §4.5.3.1.10
		{rcpt, 552, "5.5.3", "too many recipients", later, BlameRecipient, false},
		{rcpt, 550, "4.2.1", "contradicts itself", later, BlameNobody, false},
		{rcpt, 450, "5.1.1", "contradicts itself", later, BlameRecipient, false},
		{rcpt, 454, "4.7.1", "Relay access denied", later, BlameRecipient, false},

		// Our way in, whatever stage says so.
		{rcpt, 530, "5.7.0", "Authentication required", later, BlameAccess, true},
		{mail, 530, "5.7.0", "Must issue a STARTTLS command first", later, BlameAccess, true},
		{mail, 530, "5.7.57", "Client not authenticated to send mail. [AM0PR]", later, BlameAccess, true},
		{mail, 530, "5.7.0", "Authentication Required. For more information, go to https://support.google.com", later, BlameAccess, true},
		{mail, 535, "5.7.3", "Authentication unsuccessful", later, BlameAccess, true},
		{rcpt, 550, "5.7.0", "authentication required", later, BlameAccess, true},
		{dot, 550, "5.7.64", "TenantAttribution; Relay Access Denied", later, BlameAccess, true},
		{dot, 550, "5.7.705", "Service unavailable. Access denied, tenant has exceeded threshold", later, BlameAccess, true},
		{rcpt, 554, "5.7.1", "<app1[192.0.2.1]>: Client host rejected: Access denied", later, BlameAccess, true},
		{mail, 550, "", "Unauthenticated senders not allowed", later, BlameAccess, true},

		// May not relay there: set-up, not the recipient.
		{rcpt, 554, "5.7.1", "<x@example.com>: Relay access denied", later, BlameNobody, true},
		{rcpt, 550, "5.7.1", "Unable to relay", later, BlameNobody, true},
		{rcpt, 550, "5.7.1", "<x@example.com>... Relaying denied", later, BlameNobody, true},

		// The sender, and its quota.
		{mail, 553, "5.7.1", "<a@example.com>: Sender address rejected: not owned by user b", later, BlameSender, true},
		{rcpt, 553, "5.7.1", "<a@example.com>: Sender address rejected: not owned by user b", later, BlameSender, true},
		{rcpt, 550, "5.1.8", "<a@nowhere>: Sender address rejected: Domain not found", later, BlameSender, true},
		{rcpt, 450, "4.1.8", "<a@nowhere>: Sender address rejected: Domain not found", later, BlameSender, true},
		{mail, 501, "5.1.7", "Bad sender address syntax", later, BlameSender, true},
		{mail, 550, "", "sender refused", later, BlameSender, true},
		{mail, 451, "4.1.8", "Domain of sender address does not resolve", later, BlameSender, true},
		{dot, 554, "5.2.252", "SendAsDenied; a@example.com not allowed to send as b@example.com", later, BlameSender, true},
		{dot, 554, "5.2.0", "STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied", later, BlameSender, true},
		{dot, 550, "5.7.60", "SMTP; Client does not have permissions to send as this sender", later, BlameSender, true},
		{rcpt, 550, "5.4.5", "Daily user sending limit exceeded. For more information on Gmail", later, BlameSender, true},
		{dot, 550, "5.4.5", "Daily SMTP relay sending quota exceeded for user", later, BlameSender, true},
		{dot, 554, "", "Message rejected: Email address is not verified.", later, BlameSender, true},
		{mail, 555, "5.5.4", "Unsupported option", later, BlameSender, true},
		{mail, 503, "5.5.1", "nested MAIL command", later, BlameSender, true},

		// The upstream itself.
		{mail, 500, "", "Syntax error, command unrecognized", later, BlameUpstream, true}, // MailKit#1452
		{mail, 502, "5.5.1", "Command not implemented", later, BlameUpstream, true},
		{mail, 421, "4.3.2", "Service not available, closing transmission channel", later, BlameUpstream, true},
		{mail, 452, "4.3.1", "Insufficient system storage", later, BlameUpstream, true},
		{mail, 451, "4.3.0", "Temporary lookup failure", later, BlameUpstream, true},
		{mail, 432, "4.3.2", "Concurrent connections limit exceeded", later, BlameUpstream, true},
		{dot, 432, "4.3.2", "STOREDRV.ClientSubmit; sender thread limit exceeded", later, BlameUpstream, true},
		{mail, 454, "", "Throttling failure: Maximum sending rate exceeded.", later, BlameUpstream, true},
		{dot, 451, "4.7.500", "Server busy. Please try again later", later, BlameUpstream, true},
		{dot, 421, "4.7.28", "Our system has detected an unusual rate of unsolicited mail", later, BlameUpstream, true},
		{rcpt, 452, "4.3.1", "Insufficient system resources", later, BlameUpstream, true},
		{rcpt, 521, "", "host does not accept mail", later, BlameUpstream, true},
		{dot, 554, "5.3.2", "system not accepting network messages", later, BlameUpstream, true},
		{dot, 550, "5.3.5", "System incorrectly configured", later, BlameUpstream, true},

		// The content.
		{mail, 552, "5.3.4", "Message size exceeds fixed limit", gone, BlameContent, false},
		{mail, 552, "", "message too large", gone, BlameContent, false},
		{mail, 550, "5.6.7", "non-ASCII addresses not permitted", gone, BlameContent, false},
		{dot, 552, "5.3.4", "Your message exceeded Google's message size limits", gone, BlameContent, false},
		{dot, 554, "5.7.1", "Message rejected as spam by content filtering", gone, BlameContent, false},
		{dot, 550, "5.7.26", "Unauthenticated email is not accepted due to the domain's DMARC policy", gone, BlameContent, false},
		{dot, 550, "5.6.11", "Invalid characters", gone, BlameContent, false},
		{dot, 554, "5.4.6", "Too many hops", gone, BlameContent, false},
		{dot, 554, "", "Transaction failed", gone, BlameContent, false},
		{rcpt, 552, "5.3.4", "too big", gone, BlameContent, false},
		{dot, 550, "5.7.30", "REQUIRETLS needed", gone, BlameContent, false},
		{body, 552, "5.3.4", "too much", gone, BlameContent, false},
		{dot, 451, "4.3.0", "mail server temporarily rejected message", later, BlameRecipient, false},
		{dot, 450, "", "", later, BlameRecipient, false},

		// What nobody understands is temporary.
		{body, 554, "5.7.1", "interrupts", later, BlameNobody, false},
		{data, 250, "", "instead of 354", later, BlameNobody, false},
		{data, 503, "5.5.1", "bad sequence of commands", later, BlameNobody, true},
		{data, 554, "5.5.1", "Error: no valid recipients", later, BlameNobody, true},
		{rcpt, 503, "", "need MAIL", later, BlameNobody, true},
		{rcpt, 500, "", "what?", later, BlameNobody, true},
		{rcpt, 501, "", "syntax", later, BlameNobody, true},
		{rcpt, 555, "5.5.2", "Syntax error, goodbye", later, BlameNobody, true},
		{rcpt, 354, "", "go on", later, BlameNobody, false},
		{rcpt, 250, "", "and then nothing", later, BlameNobody, false},
		{mail, 354, "", "", later, BlameNobody, false},
		{rcpt, 999, "", "", later, BlameNobody, false},
		{rcpt, 0, "", "", later, BlameNobody, false},
		{dot, 500, "", "unrecognised", later, BlameNobody, true},
	} {
		o := replyAt(c.stage, c.code, c.enh, c.text)
		v := Judge(&o, false)
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
func TestJudgeInDoubt(t *testing.T) {
	for _, code := range []int{0, 100, 354, 199, 600, 999} {
		o := spool.Outcome{Stage: spool.StageDot, Code: code}
		if v := Judge(&o, true); !v.InDoubt || v.Status != spool.Pending || v.Next {
			t.Errorf("code %d: %+v", code, v)
		}
	}
}

func TestJudgeUnsupported(t *testing.T) {
	o := spool.Outcome{Stage: spool.StageMail, Code: 550, Enhanced: "5.6.7", Unsupported: true}
	if v := Judge(&o, true); v.Status != spool.Pending || !v.Next {
		t.Errorf("with another upstream: %+v", v)
	}
	if v := Judge(&o, false); v.Status != spool.Bounced {
		t.Errorf("with no other upstream: %+v", v)
	}
}

func TestJudgeFault(t *testing.T) {
	for _, c := range []struct {
		stage spool.Stage
		code  int
		err   error
		want  Blame
	}{
		{spool.StageResolve, 0, errors.New("no such host"), BlameUpstream},
		{spool.StageConnect, 0, errors.New("refused"), BlameUpstream},
		{spool.StageGreet, 554, nil, BlameUpstream},
		{spool.StageGreet, 421, nil, BlameUpstream},
		{spool.StageTLS, 0, errors.New("x509: certificate has expired"), BlameAccess},
		{spool.StageTLS, 0, io.EOF, BlameUpstream},
		{spool.StageTLS, 454, nil, BlameUpstream},
		{spool.StageTLS, 500, nil, BlameAccess},
		{spool.StageSignIn, 535, nil, BlameAccess},
		{spool.StageSignIn, 454, nil, BlameUpstream},
		{spool.StageSignIn, 0, errors.New("no mechanism in common"), BlameAccess},
		{spool.StageSignIn, 0, io.ErrUnexpectedEOF, BlameUpstream},
		{spool.StageMail, 0, io.EOF, BlameUpstream},
	} {
		f := &spool.Fault{Outcome: spool.Outcome{Stage: c.stage, Code: c.code}, Err: c.err}
		if v := JudgeFault(f); v.Blame != c.want || v.Status != spool.Pending {
			t.Errorf("stage %d, code %d, %v: %+v, want blame %s", c.stage, c.code, c.err, v, c.want)
		}
	}
}

// Whatever an upstream says: only a 5xx to RCPT, DATA or the content, a 5xx
// about the size or the address form of a message to MAIL, or a lacking
// extension fails a recipient; only a 2xx to the final dot delivers.
func TestJudgeNeverLoses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := spool.Outcome{
			Stage:    spool.Stage(rapid.IntRange(0, int(spool.StageDot)).Draw(t, "stage")),
			Code:     rapid.IntRange(0, 1100).Draw(t, "code"),
			Enhanced: rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[245]\.[0-7]\.[0-9]{1,3}`), rapid.String()).Draw(t, "enhanced"),
			Text:     rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"Relay access denied", "throttled", "recipient address rejected"})).Draw(t, "text"),
		}
		v := Judge(&o, rapid.Bool().Draw(t, "more"))
		switch v.Status {
		case spool.Delivered:
			if o.Stage != spool.StageDot || o.Code < 200 || o.Code > 299 {
				t.Fatalf("delivered by %+v", o)
			}
		case spool.Bounced:
			if o.Code < 500 || o.Code > 599 || o.Stage < spool.StageMail {
				t.Fatalf("failed by %+v", o)
			}
			if v.Blame != BlameRecipient && v.Blame != BlameContent {
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
func TestJudgeFaultBelievesTemporary(t *testing.T) {
	for temporary, want := range map[waits]Blame{true: BlameUpstream, false: BlameAccess} {
		f := &spool.Fault{Outcome: spool.Outcome{Stage: spool.StageSignIn}, Err: fmt.Errorf("no token: %w", temporary)}
		if got := JudgeFault(f); got.Blame != want || got.Status != spool.Pending {
			t.Errorf("temporary %v: %+v", temporary, got)
		}
	}
}

// FuzzJudge: whatever an upstream answers, only a 2xx to the final dot
// delivers, only a 5xx or a missing extension fails a recipient, nothing before
// MAIL does, and the advice agrees with the verdict.
func FuzzJudge(f *testing.F) {
	f.Add(uint8(spool.StageDot), 250, "2.0.0", "queued as 12345", false)
	f.Add(uint8(spool.StageRcpt), 550, "5.1.1", "User unknown", false)
	f.Add(uint8(spool.StageRcpt), 550, "4.2.1", "mailbox disabled", false)
	f.Add(uint8(spool.StageMail), 552, "5.3.4", "message too large", true)
	f.Add(uint8(spool.StageSignIn), 535, "5.7.8", "535-5.7.8 Username and Password not accepted", false)
	f.Add(uint8(spool.StageDot), 999, "5.7.999999999999999999999", "İ\xff", false)
	for i := range replies {
		r := &replies[i]
		code := r.code
		if code < 10 {
			code = max(code, 4)*100 + 50
		}
		f.Add(uint8(max(r.from, spool.StageMail)), code, strings.TrimSuffix(r.enhanced, "*"), r.text, false)
	}
	f.Fuzz(func(t *testing.T, stage uint8, code int, enhanced, text string, unsupported bool) {
		o := &spool.Outcome{Stage: spool.Stage(stage) % (spool.StageDot + 1), Code: code, Enhanced: enhanced, Text: text, Unsupported: unsupported}
		for _, more := range []bool{false, true} {
			v := Judge(o, more)
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
		if v := JudgeFault(&spool.Fault{Outcome: *o}); o.Stage < spool.StageMail && (v.Status != spool.Pending || v.Blame == BlameRecipient || v.Blame == BlameContent) && !unsupported {
			t.Fatalf("%+v: the session %+v", o, v)
		}
	})
}
