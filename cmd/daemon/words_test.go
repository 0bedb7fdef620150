package daemon

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"postern/cmd/control"
	"postern/queue/verdict"
	"postern/relay/signin"
	"postern/spool"
)

// refusing is an upstream that refuses a sign-in.
type refusing signin.Reply

func (r refusing) Begin(string, []byte) (signin.Answer, error) {
	return signin.Answer{Reply: signin.Reply(r)}, nil
}
func (r refusing) Respond([]byte) (signin.Answer, error) { return r.Begin("", nil) }
func (r refusing) Cancel()                               {}

// TestKnownWordsOfASignIn: of a refused sign-in only words that are known are
// kept, and the queue still knows what they mean.
func TestKnownWordsOfASignIn(t *testing.T) {
	for _, r := range []signin.Reply{
		{Code: 535, Enhanced: "5.7.139", Text: "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information."},
		{Code: 535, Enhanced: "5.7.139", Text: "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox."},
		{Code: 535, Enhanced: "5.7.139", Text: "Authentication unsuccessful, basic authentication is disabled. [AM0PR10CA0023.EURPRD10.PROD.OUTLOOK.COM]"},
		{Code: 535, Enhanced: "5.7.139", Text: "Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator."},
		{Code: 535, Enhanced: "5.7.139", Text: "Authentication unsuccessful, the user credentials were incorrect."},
		{Code: 535, Enhanced: "5.7.139", Text: "Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator."},
		{Code: 535, Enhanced: "5.7.3", Text: "Authentication unsuccessful [DB9PR02CA0018.eurprd02.prod.outlook.com]"},
		{Code: 550, Enhanced: "5.7.30", Text: "Basic authentication is not supported for Client Submission."},
		{Code: 534, Enhanced: "5.7.9", Text: "Application-specific password required. For more information, go to https://support.google.com/mail/?p=InvalidSecondFactor"},
		{Code: 534, Enhanced: "5.7.9", Text: "Please log in with your web browser and then try again."},
		{Code: 534, Enhanced: "5.7.9", Text: "Authentication mechanism is too weak"},
		{Code: 535, Enhanced: "5.7.8", Text: "Username and Password not accepted. For more information, go to https://support.google.com/mail/?p=BadCredentials"},
		{Code: 454, Enhanced: "4.7.0", Text: "Too many login attempts, please try again later."},
		{Code: 550, Text: "Invalid credentials for relay [192.0.2.1]. The IP address you've registered"},
		{Code: 550, Enhanced: "5.7.1", Text: "Mail relay denied [192.0.2.1]."},
		{Code: 535, Text: "Authentication Credentials Invalid"},
		{Code: 535, Text: "Authentication failed: The provided authorization grant is invalid, expired, or revoked"},
		{Code: 550, Text: "Unauthenticated senders not allowed"},
		{Code: 535, Enhanced: "5.7.0", Text: "Mailgun is not loving your login or password"},
		{Code: 421, Text: "Domain sandbox.example is not allowed to send: The domain is unverified"},
		{Code: 525, Enhanced: "5.7.1", Text: "Unauthorized IP address"},
		{Code: 535, Enhanced: "5.7.0", Text: "(#AUTH005) Too many bad auth attempts."},
		{Code: 454, Enhanced: "4.7.0", Text: "invalid username or password"},
		{Code: 454, Enhanced: "4.7.0", Text: "Temporary authentication failure: Connection lost to authentication server"},
		{Code: 451, Enhanced: "4.7.0", Text: "Temporary server error. Please try again later. PRX5"},
		{Code: 454, Text: "Throttling failure: Daily message quota exceeded."},
		{Code: 454, Text: "Throttling failure: Maximum sending rate exceeded."},
		{Code: 451, Text: "Maximum credits exceeded"},
		{Code: 554, Enhanced: "5.7.1", Text: "<host>: Client host rejected: Access denied"},
		{Code: 504, Enhanced: "5.5.2", Text: "<app>: Helo command rejected: need fully-qualified hostname"},
		{Code: 554, Enhanced: "5.7.1", Text: "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"},
		{Code: 530, Enhanced: "5.7.0", Text: "Must issue a STARTTLS command first"},
		{Code: 530, Enhanced: "5.7.0", Text: "Authentication required"},
		{Code: 450, Enhanced: "4.7.1", Text: "Error: too much mail from 192.0.2.1"},
		{Code: 432, Enhanced: "4.7.12", Text: "A password transition is needed"},
	} {
		_, err := signin.Do(t.Context(), refusing(r), &signin.Request{Auth: "plain", Offered: []string{"PLAIN"}, TLS: true,
			Username: "app", Password: func(context.Context) (string, error) { return "hunter2", nil }})
		var refused *signin.Refused
		if !errors.As(err, &refused) {
			t.Fatal(err)
		}
		outcome := func(r signin.Reply) *spool.Outcome {
			return &spool.Outcome{Stage: spool.StageSignIn, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text}
		}
		want, known := verdict.Advise(outcome(r))
		got, still := verdict.Advise(outcome(refused.Reply))
		if got != want || known != still {
			t.Errorf("%d %s %q became %q: %v, want %v", r.Code, r.Enhanced, r.Text, refused.Reply.Text, got, want)
		}
	}
}

// An answer without an enhanced code has no gap in its place.
func TestCauseOf(t *testing.T) {
	for want, o := range map[string]spool.Outcome{
		"mx:25 answered 554 5.7.1 no": {Remote: "mx:25", Code: 554, Enhanced: "5.7.1", Text: "no"},
		"mx:25 answered 554 no":       {Remote: "mx:25", Code: 554, Text: "no"},
		"no greeting: it closed":      {Text: "no greeting", Cause: "it closed"},
	} {
		if got := control.CauseOf(&o); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What could not be claimed is named whole: the error has the last part of the
// path alone.
func TestUnclaimed(t *testing.T) {
	p := unclaimed("/var/lib/postern", &fs.PathError{Op: "openat", Path: "postern", Err: fs.ErrPermission})
	if want := "/var/lib/postern cannot be used, and a second daemon on it would not be noticed: permission denied"; p.Text != want || p.Hint == "" {
		t.Errorf("%+v", p)
	}
}
