package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/relay/oauth"
	"postern/relay/upstream"
	"postern/spool"
)

// signIn tells which mechanism was chosen and why, and what came of it.
func (e *examination) signIn(now time.Time) {
	if o := e.up.OAuth; o != nil && !o.ClientSecretEnds.IsZero() {
		e.add(ClientSecret(e.up.Name, o.ClientSecretEnds, now))
	}
	if t := e.taken(upstream.StepToken); t != nil && t.Fault != nil {
		e.fail(UpstreamToken, t, fmt.Sprintf("`postern upstream login %s` shows more.", e.up.Name))
	}
	t, s := e.taken(upstream.StepSignIn), e.r.SignIn
	switch token := e.taken(upstream.StepToken); {
	case t == nil && token != nil && token.Fault != nil && token.Fault == e.r.Fault:
		e.skip(UpstreamSignIn, "without a token there is nothing to sign in with")
	case t == nil:
		e.skip(UpstreamSignIn, "it did not come to the sign-in")
	case s == nil && t.Fault == nil:
		e.add(Finding{ID: UpstreamSignIn, Status: OK, Text: "no sign-in is configured"})
	default:
		e.mechanism(s)
		e.signedIn(t)
	}
}

// mechanism tells of the choice.
func (e *examination) mechanism(s *upstream.SignIn) {
	f := Finding{ID: UpstreamMechanism, Status: OK, Facts: map[string]any{"auth": s.Auth, "offered": s.Offered, "mechanism": s.Mechanism}}
	f.Text = fmt.Sprintf("auth = %q takes %s", s.Auth, s.Mechanism)
	if s.Mechanism == "" {
		f.Status = Failed
		f.Text = fmt.Sprintf("auth = %q finds no mechanism", s.Auth)
		f.Remedy = "The upstream offers " + orNothing(s.Offered) + "; set auth to one of them that the configuration has the means for."
	}
	var next, passed []string
	for _, v := range s.Verdicts {
		switch {
		case v.Mechanism == s.Mechanism, s.Auth == "auto" && !slices.Contains(s.Offered, v.Mechanism):
		case v.Obstacle == "":
			next = append(next, v.Mechanism)
		default:
			passed = append(passed, v.Mechanism+" "+v.Obstacle)
		}
	}
	if s.Mechanism != "" && s.Auth == "auto" {
		f.Text += ", the strongest that both sides can do"
	}
	if len(s.Offered) > 0 {
		f.Text += "; offered: " + strings.Join(s.Offered, " ")
	}
	if len(next) > 0 {
		f.Text += "; next would be " + strings.Join(next, ", ")
	}
	if len(passed) > 0 {
		f.Text += "; " + strings.Join(passed, "; ")
	}
	e.add(f)
}

func (e *examination) signedIn(t *upstream.Taken) {
	if t.Fault == nil {
		who := ""
		if e.up.Username != "" {
			who = " as " + e.up.Username
		}
		e.add(Finding{ID: UpstreamSignIn, Status: OK, Took: took(t.Took), Text: "signed in" + who})
		return
	}
	remedy := "Check the username and where its password comes from; a second try with a wrong password can lock the account."
	if t.Fault.Outcome.Code == 0 {
		remedy = "See docs/upstreams.md, \"Signing in\"."
	}
	if strings.Contains(t.Fault.Outcome.Cause, "clock") {
		remedy = "Set the clock of this machine by NTP: Kerberos allows five minutes."
	}
	e.fail(UpstreamSignIn, t, remedy)
}

// tokenSoon is how long before its end a token that nobody can renew is a
// warning.
const tokenSoon = 7 * 24 * time.Hour

// Token judges the stored access token of the upstream with this name.
func Token(name string, st *oauth.Status, now time.Time) Finding {
	f := Finding{ID: UpstreamToken, Status: OK, Subject: name, Text: "there is an access token"}
	if !st.Expires.IsZero() {
		f.Facts = map[string]any{"expires": st.Expires.UTC()}
		f.Text += ", good until " + st.Expires.Local().Format(time.DateTime)
	}
	switch {
	case st.Problem != "":
		f.Status, f.Text = Failed, st.Problem
		if st.NeedsLogin {
			f.Remedy = fmt.Sprintf("`postern upstream login %s`", name)
		}
	case !st.Present:
		f.Text = "no access token is stored; one is got when it is needed"
	case st.Renewable && !st.LoginEnds.IsZero() && st.LoginEnds.Sub(now) < tokenSoon:
		f.Status = Warning
		f.Text = "the provider ends the login on " + st.LoginEnds.Local().Format(time.DateTime) + ", whether it is used or not"
		f.Remedy = fmt.Sprintf("`postern upstream login %s`, before that; see docs/oauth.md, \"What Postern does with tokens\".", name)
	case st.Renewable:
		f.Text += ", renewed by itself"
	case !st.Expires.IsZero() && st.Expires.Sub(now) < tokenSoon:
		f.Status = Warning
		f.Text += ", and cannot be renewed by itself"
		f.Remedy = fmt.Sprintf("`postern upstream login %s`", name)
	}
	return f
}

// Secret judges whether the password of the upstream could be read. source
// says where it comes from; elsewhere means that only the daemon has it.
func Secret(name, source string, elsewhere bool, err error) Finding {
	f := Finding{ID: UpstreamSecret, Status: OK, Subject: name, Text: source + " can be read"}
	switch {
	case err == nil:
	case elsewhere:
		f.Status, f.Text = Skipped, err.Error()
		f.Remedy = "Only the daemon's own environment has it. Run this command with the same: for a unit of systemd, `systemd-run -p LoadCredential=… -p EnvironmentFile=… --pipe --wait postern …`."
	default:
		f.Status, f.Text = Failed, err.Error()
		f.Remedy = "Make it readable for the user of the daemon, and for nobody else."
	}
	return f
}

// answeredBy tells whether an outcome is the upstream's own.
func answeredBy(o *spool.Outcome) bool { return o.Code != 0 && !o.Unsupported }

// secretSoon is how long before its end the secret of a client is a warning: a new
// one is often somebody else's to make.
const secretSoon = 21 * 24 * time.Hour

// ClientSecret judges when the secret ends by which a client proves to its
// provider of tokens who it is. ends is not zero.
func ClientSecret(name string, ends, now time.Time) Finding {
	day := ends.UTC().Format(time.DateOnly)
	f := Finding{ID: UpstreamOAuth, Status: OK, Subject: name, Text: "the client secret ends on " + day, Facts: map[string]any{"ends": day}}
	const remedy = "Make a new secret at the provider, put it in the place of the old one, set client_secret_ends to its end, and reload."
	switch left := ends.Sub(now); {
	case left <= 0:
		f.Status, f.Text, f.Remedy = Failed, "the client secret ended on "+day+", by client_secret_ends", remedy
	case left < secretSoon:
		f.Status, f.Text, f.Remedy = Warning, fmt.Sprintf("%s, in %d days", f.Text, int(left.Hours()/24)), remedy
	}
	return f
}
