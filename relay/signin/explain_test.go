package signin

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"postern/config"
)

func TestExplain(t *testing.T) {
	ours, _ := connection(t, tls.VersionTLS13)
	show := func(r *Request) string {
		var b strings.Builder
		for _, v := range Explain(r) {
			fmt.Fprintf(&b, "%s %s\n", v.Mechanism, v.Obstacle)
		}
		return b.String()
	}
	r := request("auto", "PLAIN", "GSSAPI", "NTLM", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2")
	r.State, r.Host = &ours, "mail.example.com"
	const want = `SCRAM-SHA-256-PLUS 
SCRAM-SHA-256 
PLAIN 
EXTERNAL is not offered
GSSAPI needs a realm, a keytab or a ccache
GSS-SPNEGO is not offered
SCRAM-SHA-512-PLUS is not offered
SCRAM-SHA-1-PLUS is not offered
SCRAM-SHA-512 is not offered
SCRAM-SHA-1 is not offered
NTLM needs a domain
CRAM-MD5 is not offered
OAUTHBEARER is not offered
XOAUTH2 needs an oauth table
LOGIN is not offered
`
	if got := show(r); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	ahead := *r
	ahead.Offered, ahead.State = nil, nil
	for tls, want := range map[bool]string{
		true:  "SCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN",
		false: "SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5",
	} {
		ahead.TLS = tls
		var able []string
		for _, v := range Foresee(&ahead) {
			if v.Obstacle == "" {
				able = append(able, v.Mechanism)
			}
		}
		if got := strings.Join(able, " "); got != want {
			t.Errorf("before there is a connection, TLS %v: %s", tls, got)
		}
	}
	r.Domain, r.Kerberos.Realm = "CORP", "CORP.EXAMPLE.COM"
	if got := show(r); !strings.HasPrefix(got, "GSSAPI \nNTLM \nPLAIN \n") || !strings.Contains(got, "SCRAM-SHA-256 cannot check the password of a Windows domain\n") {
		t.Errorf("with a domain:\n%s", got)
	}
	r.TLS, r.State = false, nil
	if got := show(r); !strings.HasPrefix(got, "GSSAPI \nEXTERNAL") || !strings.Contains(got, "PLAIN would send the password in clear") {
		t.Errorf("without TLS:\n%s", got)
	}
	r.Auth, r.TLS, r.State = "scram-sha-256", true, &ours
	if got := show(r); got != "SCRAM-SHA-256-PLUS \nSCRAM-SHA-256 \n" {
		t.Errorf("by name:\n%s", got)
	}
	r.Auth, r.Host = "gssapi", "192.0.2.7"
	if got := show(r); !strings.Contains(got, "host is an address") {
		t.Errorf("by address:\n%s", got)
	}
	// What is explained is what is done.
	for _, auth := range []config.Mechanism{"auto", "scram-sha-256", "gssapi"} {
		r.Auth = auth
		first := Explain(r)[0]
		if found, err := choose(r); (err == nil) != (first.Obstacle == "") || err == nil && found[0].name != first.Mechanism {
			t.Errorf("%s: %v %v", auth, first, err)
		}
	}
}
