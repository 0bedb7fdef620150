package verdict

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

// No key of the table is misspelt, and every entry is whole: no meaning without
// a remedy, both sentences, and sources that can be read.
func TestRepliesAreWhole(t *testing.T) {
	all, err := readReplies(repliesFile)
	if err != nil || len(all) < 100 {
		t.Fatal(len(all), err)
	}
	for i := range all {
		r := &all[i]
		if r.Text != strings.ToLower(r.Text) {
			t.Errorf("%q can never match: it is not in lower case", r.Text)
		}
		if (r.Meaning == "") != (r.Remedy == "") || r.Source != "" && r.Meaning == "" {
			t.Errorf("{%d %s %q} has a meaning without a remedy, or the reverse", r.Code, r.Enhanced, r.Text)
		}
		for _, sentence := range []string{r.Meaning, r.Remedy} {
			if sentence != "" && !strings.HasSuffix(sentence, ".") || strings.ContainsAny(sentence, "{}") {
				t.Errorf("%q is no sentence", sentence)
			}
		}
		if r.Source != "" && !strings.HasPrefix(r.Source, "https://") {
			t.Errorf("%q is no address", r.Source)
		}
		if r.Fails && r.blame != Recipient && r.blame != Content {
			t.Errorf("{%d %s %q} fails a recipient and blames %s", r.Code, r.Enhanced, r.Text, r.blame)
		}
	}
}

// The example of each entry of the table, word by word as a provider says it,
// finds that entry and no other one, and the verdict is what the entry says.
func TestExamplesOfReplies(t *testing.T) {
	all := replies()
	for i := range all {
		r := &all[i]
		name, line, _ := strings.Cut(r.Example, ": ")
		stage, err := stageNamed(name)
		if err != nil || line == "" {
			t.Errorf("{%d %s %q} has no example", r.Code, r.Enhanced, r.Text)
			continue
		}
		o := said(t, stage, line)
		switch found := lookUp(&o, EnhancedOf(&o)); {
		case found == nil:
			t.Errorf("%s\n is not found by its entry {%d %s %q}", r.Example, r.Code, r.Enhanced, r.Text)
		case found != r:
			t.Errorf("%s\n is found by {%d %s %q}, before its entry {%d %s %q}", r.Example, found.Code, found.Enhanced, found.Text, r.Code, r.Enhanced, r.Text)
		}
		if v := Of(&o, false); v.Status != r.status || v.Blame != r.blame {
			t.Errorf("%s\n got %+v; want status %d, blame %s", r.Example, v, r.status, r.blame)
		}
		if a, ok := Advise(&o); ok != (r.Meaning != "") || ok && (a.Blame != r.blame || a.Meaning != r.Meaning || a.Remedy != r.Remedy) {
			t.Errorf("%s\n is told as %+v", r.Example, a)
		}
	}
}

// A table that can't be read says where.
func TestBadReplies(t *testing.T) {
	for text, want := range map[string]string{
		"[[access]]\ncode = 5\nblames = \"sender\"":       "nobody reads [access.blames]",
		"[[access]]\ncode = 5\nblame = \"me\"":            `{5  ""}: no blame "me"`,
		"[[sender]]\ntext = \"x\"\nfrom = \"never\"":      `{0  "x"}: no stage "never"`,
		"[[sender]]\nenhanced = \"5.1\"\nuntil = \"end\"": `{0 5.1 ""}: no stage "end"`,
	} {
		if _, err := readReplies(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// More replies of the providers, beside the examples of the table; what they
// mean, and a word of what an administrator is told (empty: nothing).
func TestKnownReplies(t *testing.T) {
	const (
		gone  = "failed"
		later = "deferred"
	)
	sign, mail, rcpt, dot, greet := spool.StageSignIn, spool.StageMail, spool.StageRcpt, spool.StageDot, spool.StageGreet
	for _, c := range []struct {
		stage spool.Stage
		line  string
		want  string
		blame Blame
		told  string
	}{
		// Microsoft 365 and Exchange.
		{mail, "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", later, Access, "Check the account"},
		{mail, "550 5.7.30 Basic authentication is not supported for Client Submission.", later, Access, "xoauth2"},
		{dot, "550 5.7.30 Basic authentication is not supported for Client Submission.", later, Access, "xoauth2"},
		{mail, "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM [AM6PR0732BE0065.eurprd07.prod.outlook.com]", later, Access, "xoauth2"},
		{dot, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", later, Upstream, "max_connections"},

		// Google.
		{mail, "550 5.7.26 Unauthenticated email from example.com is not accepted due to domain's DMARC policy.", later, Sender, ""},

		// Amazon SES.
		{dot, "454 Throttling failure: Maximum sending rate exceeded.", later, Upstream, "SES"},
		{mail, "421 Too many concurrent SMTP connections", later, Upstream, "Nothing"},

		// Others.
		{rcpt, "525 5.7.13 Este remetente nao tem permissao para enviar e-mails.", later, Access, "disabled"},

		// Postfix, Sendmail, Exim and the words of the RFCs.
		{sign, "454 4.7.0 Temporary authentication failure: Connection lost to authentication server", later, Upstream, "Nothing"},
		{greet, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", later, Access, "block list"},
		{rcpt, "450 4.7.1 <app1>: Client host rejected: Greylisted for 5 minutes", later, Recipient, ""},
		{rcpt, "454 4.7.1 <a@example.com>: Relay access denied", later, Recipient, ""},
		{rcpt, "550 5.7.1 <a@example.com>... Relaying denied. Proper authentication required.", later, Access, "sign-in"},
		{rcpt, "450 4.1.2 <a@nowhere>: Recipient address rejected: Domain not found", later, Recipient, ""},
		{rcpt, "450 4.7.1 Error: too many recipients from 192.0.2.1", later, Upstream, "smtpd_client_message_rate_limit"},
		{rcpt, "452 4.5.3 Error: too many recipients", later, Recipient, ""},
		{greet, "421 4.7.0 mx.example.com Error: too many connections from 192.0.2.1", later, Upstream, "Nothing"},
		{rcpt, "504 5.5.2 <user@host>: Recipient address rejected: need fully-qualified address", gone, Recipient, ""},
		// Servers that announce SIZE and refuse it: the next message would fare no better.
	} {
		o := said(t, c.stage, c.line)
		v := Of(&o, false)
		got := map[spool.Status]string{spool.Pending: later, spool.Bounced: gone, spool.Delivered: "delivered"}[v.Status]
		if got != c.want || v.Blame != c.blame {
			t.Errorf("stage %d: %s\n got %s, blame %s; want %s, blame %s", c.stage, c.line, got, v.Blame, c.want, c.blame)
		}
		a, ok := Advise(&o)
		switch {
		case ok != (c.told != "") || !strings.Contains(a.Meaning+" "+a.Remedy, c.told):
			t.Errorf("stage %d: %s\n is told as %q, want %q", c.stage, c.line, a, c.told)
		case ok && a.Blame != v.Blame:
			t.Errorf("%s: the advice blames %s, the verdict %s", c.line, a.Blame, v.Blame)
		}
	}
}

func TestAdviseOfNothingKnown(t *testing.T) {
	for _, o := range []spool.Outcome{
		at(spool.StageDot, 250, "5.7.139", "ok"),
		at(spool.StageRcpt, 550, "5.1.1", "no such user"),
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
	pages, err := filepath.Glob("../../docs/upstreams/*.md")
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
					told = a.Meaning + " " + a.Remedy
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
		if a, ok := AdviseSender("", &o); !ok || !strings.Contains(a.Remedy, `from = ["<>"]`) || a.Blame != Of(&o, false).Blame {
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
