package signin

import "strings"

// knownWords are what servers say of a sign-in, as far as it tells something:
// sentences of Exchange, Gmail, Amazon SES and other providers, of Postfix,
// Dovecot, Cyrus and Exim. Of an answer to AUTH nothing but these is kept. The
// upstream has the password, and could repeat it in any disguise; what is
// chosen from a list can't carry it. What the queue knows by its words has to
// be here.
//
// A phrase that is part of another comes after it.
var knownWords = []string{
	// Microsoft.
	"Authentication unsuccessful",
	"SmtpClientAuthentication is disabled for the Tenant",
	"SmtpClientAuthentication is disabled for the Mailbox",
	"basic authentication is disabled",
	"basic authentication is not supported",
	"basic authentication",
	"user is locked by your organization's security defaults policy",
	"security defaults",
	"the request did not meet the criteria to be authenticated successfully",
	"did not meet the criteria",
	"the user credentials were incorrect",
	"Client was not authenticated",
	"STOREDRV.ClientSubmit",
	"Temporary server error",
	"Submission rate",
	// Google.
	"Application-specific password required",
	"application-specific password",
	"Please log in with your web browser and then try again",
	"web browser",
	"Username and Password not accepted",
	"BadCredentials",
	"Too many login attempts, please try again later",
	"too many login attempts",
	"Invalid credentials for relay",
	"Mail relay denied",
	"Peak SMTP relay limit",
	// Other providers.
	"Authentication Credentials Invalid",
	"Throttling failure",
	"Daily message quota exceeded",
	"Maximum sending rate exceeded",
	"Sending paused for this account",
	"Maximum credits exceeded",
	"The provided authorization grant is invalid, expired, or revoked",
	"authorization grant is invalid",
	"Unauthenticated senders not allowed",
	"Mailgun is not loving your login or password",
	"not loving your login",
	"is not allowed to send",
	"Unauthorized IP",
	"#AUTH005", "#AUTH012", "#AUTH",
	"Too many bad auth attempts",
	"invalid username or password",
	"unusual sending activity",
	"unusual rate of unsolicited mail",
	"rate exceeded",
	"throttled",
	"throttl",
	// Server programs, and RFC 4954 and 5248.
	"Temporary authentication failure",
	"Connection lost to authentication server",
	"Error: too many",
	"Error: too much mail",
	"too many errors",
	"too many authentication failures",
	"too many connections",
	"too many",
	"Authentication mechanism is too weak",
	"mechanism is too weak",
	"Encryption required for requested authentication mechanism",
	"Must issue a STARTTLS command first",
	"STARTTLS",
	"encryption required",
	"change your password",
	"temporary failure",
	"A password transition is needed",
	"password expired",
	"account disabled",
	"account is disabled",
	"account locked",
	"User unknown",
	"Unrecognized authentication type",
	"mechanism not supported",
	"mechanism not available",
	"no mechanism available",
	"Invalid authentication mechanism",
	"Invalid base64",
	"Incorrect authentication data",
	"authentication failed",
	"authentication failure",
	"Authentication required",
	"authenticate before sending",
	"authentication aborted",
	"authentication cancelled",
	"authentication rejected",
	"bad username or password",
	"Invalid credentials",
	"invalid login or password",
	"invalid password",
	"wrong password",
	"generic failure",
	"no secret in database",
	"blocked using",
	"Client host rejected",
	"HELO command rejected",
	"relay access denied",
	"access denied",
	"service not available",
	"service unavailable",
	"temporarily unavailable",
	"try again later",
	"Cannot find your",
	"authentication",
	"authent",
}

// withheld stands for words that are not known.
const withheld = "[words not shown]"

// known is what an upstream has said of a sign-in, as far as that is on the
// list, in the order and the spelling of the list.
func known(text string) string {
	lower := strings.ToLower(text)
	var said string
	for i, words := range knownWords {
		phrase := lowerWords[i]
		if strings.Contains(lower, phrase) && !strings.Contains(strings.ToLower(said), phrase) {
			if said != "" {
				said += ", "
			}
			said += words
		}
	}
	if said == "" && strings.TrimSpace(text) != "" {
		return withheld
	}
	return said
}

var lowerWords = func() (list []string) {
	for _, words := range knownWords {
		list = append(list, strings.ToLower(words))
	}
	return list
}()

// knownStatus are the ways in which a token is refused: RFC 6750 §3.1, RFC 7628
// §3.2.2, and the HTTP statuses that Google and Microsoft give.
var knownStatus = []string{"invalid_request", "invalid_token", "insufficient_scope", "400", "401", "403", "429", "500", "503"}

// knownScopes are the scopes by which providers let a token send mail.
var knownScopes = []string{
	"https://mail.google.com/", "https://www.googleapis.com/auth/gmail.send",
	"https://outlook.office.com/SMTP.Send", "https://outlook.office365.com/SMTP.Send", "https://outlook.office365.com/.default",
}

// discreet is a Conn to somebody who may repeat what they were told, in any
// disguise. Their replies end in logs, so nothing comes back of them but the
// codes, the words that are known, and the challenge.
type discreet struct{ Conn }

// Begin carries the first step.
func (d discreet) Begin(mechanism string, initial []byte) (Answer, error) {
	a, err := d.Conn.Begin(mechanism, initial)
	a.Reply.Text = known(a.Reply.Text)
	return a, err
}

// Respond carries one step.
func (d discreet) Respond(response []byte) (Answer, error) {
	a, err := d.Conn.Respond(response)
	a.Reply.Text = known(a.Reply.Text)
	return a, err
}
