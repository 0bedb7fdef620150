package signin

import "testing"

// What is, or may come to, NTLM stays under TLS.
func TestIntegratedWithoutTLS(t *testing.T) {
	r := &Request{Auth: "integrated", Host: "mail.corp.example", Offered: []string{"GSSAPI", "GSS-SPNEGO", "NTLM"}, AllowClear: true}
	found, err := choose(r)
	if err != nil || len(found) != 1 || found[0].name != "GSSAPI" {
		t.Error(found, err)
	}
}
