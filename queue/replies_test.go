package queue

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"postern/spool"
)

// said is a reply as the wire has it, of one line.
func said(t *testing.T, stage spool.Stage, line string) spool.Outcome {
	t.Helper()
	number, text, _ := strings.Cut(line, " ")
	code, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	o := spool.Outcome{Stage: stage, Code: code, Text: text, Remote: "smtp.example.com:587"}
	if enh, rest, ok := strings.Cut(text, " "); ok && strings.Count(enh, ".") == 2 && enh[0] == number[0] {
		o.Enhanced, o.Text = enh, rest
	}
	return o
}

// Replies of the providers, word by word, at the stage where they come; what
// they mean, and a word of what an administrator is told (empty: nothing).
func TestKnownReplies(t *testing.T) {
	const (
		gone  = "failed"
		later = "deferred"
	)
	sign, mail, rcpt, dot, greet := spool.StageSignIn, spool.StageMail, spool.StageRcpt, spool.StageDot, spool.StageGreet
	seen := map[*reply]bool{}
	for _, c := range []struct {
		stage spool.Stage
		line  string
		want  string
		blame Blame
		told  string
	}{
		// Microsoft 365 and Exchange.
		{sign, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information. [FR0P281CA0040.DEUP281.PROD.OUTLOOK.COM]", later, BlameAccess, "Set-CASMailbox"},
		{sign, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.", later, BlameAccess, "Manage email apps"},
		{sign, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [AM0PR10CA0023.EURPRD10.PROD.OUTLOOK.COM]", later, BlameAccess, "xoauth2"},
		{sign, "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator.", later, BlameAccess, "xoauth2"},
		{sign, "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator.", later, BlameAccess, "Entra ID"},
		{sign, "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", later, BlameAccess, "Check the account"},
		{mail, "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", later, BlameAccess, "Check the account"},
		{sign, "550 5.7.30 Basic authentication is not supported for Client Submission.", later, BlameAccess, "xoauth2"},
		{mail, "550 5.7.30 Basic authentication is not supported for Client Submission.", later, BlameAccess, "xoauth2"},
		{dot, "550 5.7.30 Basic authentication is not supported for Client Submission.", later, BlameAccess, "xoauth2"},
		{sign, "535 5.7.3 Authentication unsuccessful [DB9PR02CA0018.eurprd02.prod.outlook.com]", later, BlameAccess, "postern upstream login"},
		{mail, "530 5.7.3 Client was not authenticated", later, BlameAccess, "username"},
		{mail, "530 5.7.57 Client not authenticated to send mail. [AM6PR0732BE0065.eurprd07.prod.outlook.com]", later, BlameAccess, "xoauth2"},
		{mail, "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM [AM6PR0732BE0065.eurprd07.prod.outlook.com]", later, BlameAccess, "xoauth2"},
		{rcpt, "550 5.7.64 TenantAttribution; Relay Access Denied [VI1EUR05FT003.eop-eur05.prod.protection.outlook.com]", later, BlameAccess, "connector"},
		{rcpt, "550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources", later, BlameAccess, "connector"},
		{rcpt, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list please visit https://sender.office.com/", later, BlameAccess, "sender.office.com"},
		{rcpt, "550 5.7.511 Access denied, banned sender[192.0.2.1]. To request removal from this list please forward this message to delist@microsoft.com", later, BlameAccess, "delist"},
		{dot, "550 5.7.705 Service unavailable. Access denied, tenant has exceeded threshold", later, BlameAccess, "compromised"},
		{dot, "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.", later, BlameAccess, "support"},
		{dot, "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains", later, BlameAccess, "Register"},
		{dot, "554 5.2.252 SendAsDenied; app@example.com not allowed to send as boss@example.com; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied", later, BlameSender, "Send As"},
		{dot, "554 5.2.252 STOREDRV.Submission.Exception", later, BlameSender, "Send As"},
		{dot, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", later, BlameSender, "Send As"},
		{mail, "550 5.7.1 Client does not have permissions to send as this sender", later, BlameSender, "Send As"},
		{dot, "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients", later, BlameSender, "24 hours"},
		{dot, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a permanent exception", later, BlameSender, "24 hours"},
		{dot, "550 5.1.8 Access denied, bad outbound sender AS(42004)", later, BlameSender, "Restricted entities"},
		{dot, "550 5.7.501 Access denied, spam abuse detected", later, BlameSender, "compromised"},
		{dot, "550 5.7.502 Access denied, banned sender", later, BlameSender, "compromised"},
		{dot, "550 5.7.503 Access denied, banned sender", later, BlameSender, "compromised"},
		{rcpt, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", later, BlameNobody, "ms-Exch-SMTP-Accept-Any-Recipient"},
		{sign, "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.", later, BlameUpstream, "max_connections"},
		{dot, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", later, BlameUpstream, "max_connections"},
		{dot, "451 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", later, BlameUpstream, "max_connections"},
		{dot, "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", later, BlameRecipient, "mailbox of the recipient"},
		{mail, "451 4.3.2 Please try again later", later, BlameUpstream, "Nothing"},
		{mail, "421 4.4.2 Message submission rate for this client has exceeded the configured limit", later, BlameUpstream, "max_connections"},
		{dot, "451 4.7.500 Server busy. Please try again later from [192.0.2.1].", later, BlameUpstream, "Nothing"},
		{greet, "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.", later, BlameUpstream, "less at a time"},
		{dot, "451 4.7.0 Temporary server error. Please try again later. PRX2", later, BlameUpstream, "Nothing"},
		{sign, "454 4.7.0 Temporary authentication failure", later, BlameUpstream, "Nothing"},

		// Google.
		{sign, "534 5.7.9 Application-specific password required. For more information, go to https://support.google.com/mail/?p=InvalidSecondFactor", later, BlameAccess, "apppasswords"},
		{sign, "534 5.7.9 Please log in with your web browser and then try again. For more information, go to https://support.google.com/mail/?p=WebLoginRequired", later, BlameAccess, "browser"},
		{sign, "535 5.7.8 Username and Password not accepted. For more information, go to https://support.google.com/mail/?p=BadCredentials", later, BlameAccess, "apppasswords"},
		{sign, "454 4.7.0 Too many login attempts, please try again later.", later, BlameUpstream, "idle_close"},
		{mail, "530 5.7.0 Must issue a STARTTLS command first.", later, BlameAccess, "tls"},
		{rcpt, "550 5.7.0 Must issue a STARTTLS command first", later, BlameAccess, "tls"},
		{mail, "530 5.7.0 Authentication Required. For more information, go to https://support.google.com/mail/?p=WantAuthError", later, BlameAccess, "sign-in"},
		{rcpt, "550 5.7.0 Mail relay denied [192.0.2.1]. Invalid credentials for relay for one of the domains in: example.com", later, BlameAccess, "Admin console"},
		{mail, "550 5.7.1 Invalid credentials for relay [192.0.2.1]. The IP address you've registered in your G Suite SMTP Relay service doesn't match domain of the account this email is being sent from.", later, BlameAccess, "Admin console"},
		{rcpt, "550 5.4.5 Daily user sending limit exceeded.", later, BlameSender, "24 hours"},
		{rcpt, "550 5.4.5 Daily SMTP relay sending quota exceeded for user", later, BlameSender, "24 hours"},
		{rcpt, "550 5.7.1 Daily SMTP relay limit exceeded for customer.", later, BlameSender, "24 hours"},
		{rcpt, "450 4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary error.", later, BlameUpstream, "ten minutes"},
		{dot, "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address.", later, BlameUpstream, "less at a time"},
		{dot, "451 4.7.28 Slow down", later, BlameUpstream, "set rate"},
		{dot, "421 4.7.0 Our system has detected an unusual rate of unsolicited mail originating from your IP address.", later, BlameUpstream, "less at a time"},
		{greet, "421 4.7.0 Try again later, closing connection. (EHLO) c1-20020a05.9 - gsmtp", later, BlameUpstream, "Set hostname"},
		{greet, "450 4.7.1 <web-1>: Helo command rejected: Host not found", later, BlameUpstream, "Set hostname"},
		{greet, "501 Syntactically invalid EHLO argument(s)", later, BlameAccess, "Set hostname"},
		{greet, "501 Syntactically invalid HELO argument(s)", later, BlameAccess, "Set hostname"},
		{rcpt, "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", later, BlameAccess, "Set hostname"},
		{mail, "550 Bogus or invalid HELO", later, BlameAccess, "Set hostname"},
		{greet, "501 5.0.0 Invalid domain name", later, BlameAccess, "Set hostname"},
		{greet, "504 5.5.2 localhost is not a name", later, BlameAccess, "Set hostname"},
		{greet, "550 5.7.1 go away", later, BlameUpstream, "Set hostname"},
		{greet, "421 4.7.0 Try again later, closing connection.", later, BlameUpstream, "Nothing"},
		{dot, "550 5.7.26 This mail has been blocked because the sender is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM.", gone, BlameContent, "SPF"},
		{mail, "550 5.7.26 Unauthenticated email from example.com is not accepted due to domain's DMARC policy.", later, BlameSender, ""},

		// Amazon SES.
		{sign, "535 Authentication Credentials Invalid", later, BlameAccess, "same region"},
		{sign, "454 Throttling failure: Maximum sending rate exceeded.", later, BlameUpstream, "SES"},
		{dot, "454 Throttling failure: Maximum sending rate exceeded.", later, BlameUpstream, "SES"},
		{dot, "454 Throttling failure: Daily message quota exceeded.", later, BlameUpstream, "quota"},
		{dot, "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: app@example.com", later, BlameSender, "sandbox"},
		{dot, "554 Message rejected: Sending paused for this account. For more information, please check the inbox of the email address associated with your AWS account.", later, BlameAccess, "answer it"},
		{dot, "554 Access denied: User `arn:aws:iam::123456789012:user/ses-smtp-user' is not authorized to perform `ses:SendRawEmail' on resource `arn:aws:ses:us-west-2:123456789012:identity/app@example.com'", later, BlameSender, "policy"},
		{mail, "421 Too many concurrent SMTP connections", later, BlameUpstream, "Nothing"},
		{mail, "454 throttled for some other reason", later, BlameUpstream, "less at a time"},
		{mail, "450 4.2.1 rate exceeded", later, BlameUpstream, "less at a time"},

		// SendGrid.
		{dot, "550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.", later, BlameSender, "Sender Authentication"},
		{dot, "403 You are not authorized to send from that email address", later, BlameSender, "Sender Authentication"},
		{sign, "451 Authentication failed: Maximum credits exceeded", later, BlameAccess, "plan"},
		{sign, "535 Authentication failed: The provided authorization grant is invalid, expired, or revoked", later, BlameAccess, "apikey"},
		{mail, "550 Unauthenticated senders not allowed", later, BlameAccess, "apikey"},
		{rcpt, "452 Too many recipients received this hour", later, BlameUpstream, "hour"},

		// Others.
		{sign, "535 5.7.0 Mailgun is not loving your login or password", later, BlameAccess, "region"},
		{dot, "421 Domain xx.mailgun.org is not allowed to send: Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients", later, BlameAccess, "control panel"},
		{dot, "406 You tried to send to recipient(s) that have been marked as inactive.", later, BlameRecipient, "Postmark"},
		{rcpt, "550 5.2.1 You tried to send to recipient(s) that have been marked as inactive.", gone, BlameRecipient, "Postmark"},
		{sign, "525 5.7.1 Unauthorized IP address", later, BlameAccess, "Authorised IPs"},
		{sign, "525 5.7.13 Invio temporaneamente disabilitato per la casella, modificare la password", later, BlameAccess, "disabled"},
		{rcpt, "525 5.7.13 Este remetente nao tem permissao para enviar e-mails.", later, BlameAccess, "disabled"},
		{sign, "535 5.7.0 (#AUTH005) Too many bad auth attempts.", later, BlameAccess, "app password"},
		{mail, "550 5.7.0 From address is not one of your addresses", later, BlameSender, "iCloud"},
		{sign, "454 4.7.0 invalid username or password", later, BlameAccess, "Bridge"},
		{rcpt, "553 Relaying disallowed as app@example.com", later, BlameSender, "Zoho"},
		{dot, "550 5.4.6 Unusual sending activity detected. Please try after sometime", later, BlameSender, "UnblockMe"},
		{mail, "554 5.1.8 Sender Address Blocked", later, BlameSender, "Zoho"},
		{dot, "550 5.7.1 Unconfigured Sending Domain <app.example.com>", later, BlameSender, "SparkPost"},
		{dot, "550 5.7.1 Exceeded Sending Limit (daily)", later, BlameSender, "period"},
		{dot, "550 Hourly sending limit exceeded", later, BlameSender, "period"},
		{dot, "550 Sending quota exceeded", later, BlameSender, "period"},
		{mail, "502 5.7.0 Please authenticate before sending", later, BlameAccess, "sign-in"},

		// Postfix, Sendmail, Exim and the words of the RFCs.
		{sign, "535 5.7.8 Error: authentication failed: authentication failure", later, BlameAccess, "second factor"},
		{mail, "550 5.7.8 Authentication credentials invalid", later, BlameAccess, "second factor"},
		{sign, "454 4.7.0 Temporary authentication failure: Connection lost to authentication server", later, BlameUpstream, "Nothing"},
		{sign, "538 5.7.11 Encryption required for requested authentication mechanism", later, BlameAccess, "tls"},
		{mail, "550 5.7.11 Encryption required", later, BlameAccess, "tls"},
		{sign, "534 5.7.9 Authentication mechanism is too weak", later, BlameAccess, "mechanism"},
		{mail, "550 5.7.9 Authentication mechanism is too weak", later, BlameAccess, "mechanism"},
		{sign, "432 4.7.12 A password transition is needed", later, BlameAccess, "new password"},
		{rcpt, "550 5.7.0 authentication required", later, BlameAccess, "sign-in"},
		{rcpt, "550 5.7.1 Authentication required", later, BlameAccess, "sign-in"},
		{rcpt, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1", later, BlameAccess, "block list"},
		{greet, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", later, BlameAccess, "block list"},
		{rcpt, "554 5.7.1 <app1[192.0.2.1]>: Client host rejected: Access denied", later, BlameAccess, "mynetworks"},
		{rcpt, "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]", later, BlameUpstream, "reverse DNS"},
		{rcpt, "450 4.7.1 <app1>: Client host rejected: Greylisted for 5 minutes", later, BlameRecipient, ""},
		{rcpt, "504 5.5.2 <app1>: Helo command rejected: need fully-qualified hostname", later, BlameAccess, "hostname"},
		{rcpt, "454 4.7.1 <a@example.com>: Relay access denied", later, BlameRecipient, ""},
		{rcpt, "554 5.7.1 <a@example.com>: Relay access denied", later, BlameNobody, "mynetworks"},
		{rcpt, "550 5.7.1 <a@example.com>... Relaying denied. Proper authentication required.", later, BlameAccess, "sign-in"},
		{rcpt, "550 5.7.1 <a@example.com>... Relaying denied", later, BlameNobody, "permitted"},
		{rcpt, "550 relay not permitted", later, BlameNobody, "Exim"},
		{rcpt, "553 5.7.1 <a@example.com>: Sender address rejected: not owned by user b", later, BlameSender, "smtpd_sender_login_maps"},
		{rcpt, "450 4.1.8 <a@nowhere>: Sender address rejected: Domain not found", later, BlameSender, "DNS"},
		{rcpt, "450 4.1.2 <a@nowhere>: Recipient address rejected: Domain not found", later, BlameRecipient, ""},
		{rcpt, "550 5.1.2 <a@nowhere>: Recipient address rejected: Domain not found", gone, BlameRecipient, ""},
		{rcpt, "550 5.1.0 <a@example.com>: Sender address rejected: User unknown in virtual mailbox table", later, BlameSender, "says why"},
		{rcpt, "450 4.1.7 <a@example.com>: Sender address rejected: unverified address", later, BlameSender, "says why"},
		{rcpt, "550 Sender verify failed", later, BlameSender, "exists"},
		{mail, "550 5.7.1 a@example.com not allowed to send as b@example.com", later, BlameSender, "permission"},
		{mail, "501 5.1.7 Bad sender address syntax", later, BlameSender, ""},
		{rcpt, "550 5.1.8 sender domain invalid", later, BlameSender, ""},
		{dot, "550 5.7.23 SPF validation failed", later, BlameSender, "SPF"},
		{dot, "550 5.7.24 SPF validation error", later, BlameSender, "record"},
		{rcpt, "550 5.7.25 Reverse DNS validation failed", later, BlameSender, "reverse DNS"},
		{rcpt, "550 5.7.27 Sender address has null MX", later, BlameSender, "null MX"},
		{mail, "450 4.7.1 Error: too much mail from 192.0.2.1", later, BlameUpstream, "smtpd_client_message_rate_limit"},
		{rcpt, "450 4.7.1 Error: too many recipients from 192.0.2.1", later, BlameUpstream, "smtpd_client_message_rate_limit"},
		{rcpt, "452 4.5.3 Error: too many recipients", later, BlameRecipient, ""},
		{greet, "421 4.7.0 mx.example.com Error: too many connections from 192.0.2.1", later, BlameUpstream, "Nothing"},
		{dot, "550 5.7.30 REQUIRETLS support required", gone, BlameContent, ""},
		{rcpt, "504 5.5.2 <user@host>: Recipient address rejected: need fully-qualified address", gone, BlameRecipient, ""},
		// Servers that announce SIZE and refuse it: the next message would fare no better.
		{mail, "501 5.5.4 Syntax error in parameters or arguments (invalid SIZE parameter)", later, BlameAccess, `without = ["SIZE"]`},
	} {
		o := said(t, c.stage, c.line)
		v := Judge(&o, false)
		got := map[spool.Status]string{spool.Pending: later, spool.Bounced: gone, spool.Delivered: "delivered"}[v.Status]
		if got != c.want || v.Blame != c.blame {
			t.Errorf("stage %d: %s\n got %s, blame %s; want %s, blame %s", c.stage, c.line, got, v.Blame, c.want, c.blame)
		}
		a, ok := Advise(&o)
		switch {
		case ok != (c.told != "") || !strings.Contains(a.String(), c.told):
			t.Errorf("stage %d: %s\n is told as %q, want %q", c.stage, c.line, a, c.told)
		case ok && a.Blame != v.Blame:
			t.Errorf("%s: the advice blames %s, the verdict %s", c.line, a.Blame, v.Blame)
		}
		if r := lookUp(&o, parseEnhanced(&o)); r != nil {
			seen[r] = true
		}
	}
	for i := range replies {
		if r := &replies[i]; !seen[r] {
			t.Errorf("no reply of this list finds {%d %s %q}: it is never asked, or not tested", r.code, r.enhanced, r.text)
		}
	}
}

// What the table tells is whole: no meaning without a remedy, both sentences,
// and sources that can be read.
func TestRepliesAreWhole(t *testing.T) {
	for i := range replies {
		r := &replies[i]
		if r.text != strings.ToLower(r.text) {
			t.Errorf("%q can never match: it is not in lower case", r.text)
		}
		if (r.meaning == "") != (r.remedy == "") || r.source != "" && r.meaning == "" {
			t.Errorf("{%d %s %q} has a meaning without a remedy, or the reverse", r.code, r.enhanced, r.text)
		}
		for _, sentence := range []string{r.meaning, r.remedy} {
			if sentence != "" && !strings.HasSuffix(sentence, ".") {
				t.Errorf("%q is no sentence", sentence)
			}
		}
		if r.source != "" && !strings.HasPrefix(r.source, "https://") {
			t.Errorf("%q is no address", r.source)
		}
	}
}

func TestAdviseOfNothingKnown(t *testing.T) {
	for _, o := range []spool.Outcome{
		replyAt(spool.StageDot, 250, "5.7.139", "ok"),
		replyAt(spool.StageRcpt, 550, "5.1.1", "no such user"),
		{Stage: spool.StageSignIn, Cause: "no mechanism in common"},
		{Stage: spool.StageMail, Code: 550, Enhanced: "5.7.60", Unsupported: true},
	} {
		if a, ok := Advise(&o); ok {
			t.Errorf("%+v: %+v", o, a)
		}
	}
}

// The replies that the documents list mean what the documents say.
func TestDocumentedReplies(t *testing.T) {
	pages, err := filepath.Glob("../docs/upstreams/*.md")
	if err != nil || len(pages) < 4 {
		t.Fatal(pages, err)
	}
	row := regexp.MustCompile("(?m)^\\| `([45][0-9][0-9] [^|]+)` \\| (.*) ?\\|$")
	n := 0
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range row.FindAllStringSubmatch(string(content), -1) {
			n++
			told := ""
			for _, stage := range []spool.Stage{spool.StageSignIn, spool.StageMail, spool.StageDot} {
				o := said(t, stage, m[1])
				if a, ok := Advise(&o); ok {
					told = a.String()
					break
				}
			}
			if got := strings.TrimSpace(m[2]); told == "" || got != told {
				t.Errorf("%s: %s\n page %s\n code %s", filepath.Base(page), m[1], got, told)
			}
		}
	}
	if n < 40 {
		t.Errorf("the pages list %d replies", n)
	}
}

// The null sender can only be sent another way, whatever the upstream calls it.
func TestAdviseNullSender(t *testing.T) {
	for _, line := range []string{
		"554 Transaction failed: Missing email address", "501 5.1.7 Invalid MAIL FROM address provided",
		"550 5.7.1 null sender refused", "553 <>: sender rejected", "501 Bad address syntax", "450 4.1.8 sender domain missing",
	} {
		o := said(t, spool.StageMail, line)
		if a, ok := AdviseSender("", &o); !ok || !strings.Contains(a.Remedy, `from = ["<>"]`) || a.Blame != Judge(&o, false).Blame {
			t.Errorf("%s: %+v", line, a)
		}
		if a, _ := AdviseSender("a@example.com", &o); strings.Contains(a.Remedy, "<>") {
			t.Errorf("%s from an ordinary sender: %+v", line, a)
		}
	}
	for _, line := range []string{"530 5.7.0 Authentication required", "451 4.3.0 later", "552 5.3.4 too large"} {
		o := said(t, spool.StageMail, line)
		if a, _ := AdviseSender("", &o); strings.Contains(a.Remedy, "<>") {
			t.Errorf("%s is not about the sender: %+v", line, a)
		}
	}
}
