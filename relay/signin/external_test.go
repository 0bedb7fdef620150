package signin

import (
	"errors"
	"testing"
)

func TestExternal(t *testing.T) {
	for name, want := range map[string]string{"": "AUTH EXTERNAL =", "relay": "AUTH EXTERNAL cmVsYXk="} {
		r := request("external", "PLAIN", "EXTERNAL")
		r.Username, r.Password, r.Certificate = name, nil, true
		got, lines, err := do(t, r, func(int, string) Reply { return say(235, "ok") })
		if err != nil || got != "EXTERNAL" || len(lines) != 1 || lines[0] != want {
			t.Errorf("%q: %q %v", name, lines, err)
		}
		var refused *Refused
		if _, _, err = do(t, r, func(int, string) Reply { return say(535, "no") }); !errors.As(err, &refused) {
			t.Errorf("%q: %v", name, err)
		}
		_, lines, err = do(t, r, func(_ int, line string) Reply {
			if line == "*" {
				return say(501, "cancelled")
			}
			return ask("and who are you?")
		})
		if err == nil || lines[len(lines)-1] != "*" {
			t.Errorf("%q: a challenge was answered: %q %v", name, lines, err)
		}
	}
}

// Without a certificate to show, or without TLS to show it in, nothing is said.
func TestExternalNeedsACertificate(t *testing.T) {
	for _, c := range []struct{ tls, certificate bool }{{true, false}, {false, true}} {
		r := request("external", "EXTERNAL")
		r.TLS, r.Certificate = c.tls, c.certificate
		if _, lines, err := do(t, r, nil); err == nil || len(lines) > 0 {
			t.Errorf("%+v: %q %v", c, lines, err)
		}
	}
}
