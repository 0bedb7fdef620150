package definition

import (
	"context"
	"errors"
	"net"
	"testing"
)

// records is a DNS of MX hosts by domain, and of domains with SRV records.
type records struct {
	mx  map[string]string
	srv map[string]string
}

func (r records) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	if host := r.mx[name]; host != "" {
		return []*net.MX{{Host: host}}, nil
	}
	return nil, errors.New("no such host")
}

func (r records) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if target := r.srv["_"+service+"._"+proto+"."+name]; target != "" {
		return "", []*net.SRV{{Target: target, Port: 465}}, nil
	}
	return "", nil, errors.New("no such host")
}

func TestSuggest(t *testing.T) {
	dns := records{
		mx: map[string]string{"firm.example.": "firm-example.mail.protection.outlook.com.", "school.example.": "ASPMX.L.GOOGLE.COM.",
			"trap.example.": "mx.notgoogle.com.", "own.example.": "mx.own.example."},
		srv: map[string]string{"_submissions._tcp.own.example.": "mail.own.example.", "_submission._tcp.none.example.": "."},
	}
	for address, want := range map[string]string{
		"a@Gmail.com": "provider gmail", "a@hotmail.com": "provider outlook.com", "a@firm.example": "provider microsoft365",
		"a@school.example": "provider gmail", "a@own.example": "host own.example",
		"a@trap.example": "", "a@none.example": "", "a@unknown.example": "", "apikey": "", "a@": "", "a@localhost": "", "a@b c.example": "",
	} {
		got := ""
		if s, ok := Suggest(t.Context(), dns, address); ok {
			got = s.Key + " " + s.Value
			if s.Why == "" {
				t.Errorf("%s: no reason", address)
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

// Every provider that is suggested can be set.
func TestSuggestedProvidersAreKnown(t *testing.T) {
	known := map[string]bool{}
	for _, k := range Keys(Upstream) {
		if k.Name == "provider" {
			for _, c := range k.Choices {
				known[c] = true
			}
		}
	}
	for domain, provider := range mailboxes {
		if !known[provider] {
			t.Errorf("%s: %s", domain, provider)
		}
	}
	for _, e := range exchangers {
		if !known[e.provider] {
			t.Errorf("%s: %s", e.suffix, e.provider)
		}
	}
}
