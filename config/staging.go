package config

import (
	"slices"
	"strconv"

	"postern/config/alias"
	"postern/config/wire"
)

// Staging keeps what a route takes from leaving to whom it is addressed to. The
// zero value keeps nothing.
type Staging struct {
	// Redirect are addresses that get the mail in place of its recipients, those
	// apart that AllowTo matches; empty: nothing is redirected.
	Redirect []string
	// AllowTo are patterns of the recipients that mail may go to; empty: where
	// Redirect is set nobody, else everybody.
	AllowTo []string
	// Otherwise is what becomes of mail to others, where Redirect is empty.
	Otherwise Otherwise
}

// Otherwise is what becomes of mail that may not go to its recipient.
type Otherwise string

// The values of otherwise. Of a Decision of routes there is one more.
const (
	OtherwiseRefuse   Otherwise = "refuse"   // the client is told
	OtherwiseCapture  Otherwise = "capture"  // it is kept in the Maildir of the capture server
	OtherwiseDrop     Otherwise = "drop"     // it is accepted, and counted
	OtherwiseRedirect Otherwise = "redirect" // it goes to Redirect
)

func (s *Staging) keys() []key {
	return []key{
		{name: "redirect", value: redirectList.at(&s.Redirect), unset: "none", help: "Addresses that get the mail in place of its recipients."},
		{name: "allow_to", value: patternList.at(&s.AllowTo), unset: "anybody", help: "Address patterns of the only recipients that mail goes out to."},
		{name: "otherwise", value: choice(&s.Otherwise, OtherwiseRefuse, OtherwiseCapture, OtherwiseDrop), unset: `"refuse" with allow_to`, help: "What happens to mail for other recipients."},
	}
}

func (s *Staging) check(t *table) {
	switch {
	case t.has("redirect"):
		t.refuse("has no effect beside redirect", "what allow_to does not match is redirected; remove one of them", "otherwise")
	case !t.has("allow_to"):
		t.refuse("has no effect without allow_to", `set allow_to = ["*@example.com"]`, "otherwise")
	case s.Otherwise == "":
		s.Otherwise = OtherwiseRefuse
	}
}

// readRedirect reads an address that mail goes to.
func readRedirect(f field, s string) (string, bool) {
	t, err := alias.ParseTarget(s)
	if err != nil || wire.CheckMailbox(t.Address, true) != wire.NoFault {
		return "", f.problem(strconv.QuoteToASCII(s)+" is not an address", "such as qa@example.com")
	}
	return t.Address, true
}

// addCapture adds the upstream that otherwise = "capture" leads to.
func (d *document) addCapture(cfg *Config) {
	i := slices.IndexFunc(cfg.Routes, func(r Route) bool { return r.Otherwise == OtherwiseCapture })
	if i < 0 {
		return
	}
	switch up := cfg.Upstreams[captureName]; {
	case up == nil:
		up = DefaultUpstream(captureName)
		up.Provider = CaptureProvider
		cfg.Upstreams[captureName] = up
	case up.Provider != CaptureProvider:
		d.problem(joinKey("upstream", captureName), `has a name that otherwise = "capture" of a route needs`, `give it another name, or provider = "capture"`)
	}
}
