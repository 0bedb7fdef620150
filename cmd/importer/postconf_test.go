package importer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPostconfAgrees: Postfix's own program reads the same values, with names,
// continued lines and conditions in them.
func TestPostconfAgrees(t *testing.T) {
	postconf, err := exec.LookPath("postconf")
	if err != nil {
		if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
			t.Fatal("postconf is required")
		}
		t.Skip("postconf (of postfix) is not installed")
	}
	dir := t.TempDir()
	main := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(main, []byte(`# a comment
myhostname = app1.example.com
myorigin = $mydomain
own = one
relayhost = [${own}.$(mydomain)]:587
# within
mynetworks = 127.0.0.0/8,
   # within a list
	192.0.2.0/24

  $own/32
header_size_limit = ${own?7}${none?8}
body_checks_size_limit = ${none:9}${own:10}
smtp_helo_name = ${own?{$myhostname}:{x}}
mydestination = ${none?{x}:{y.$mydomain}} $$own
mydestination = ${none?{x}:{y.$mydomain}}, localhost
smtp_sasl_auth_enable=yes
smtp_tls_policy_maps =
`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "master.cf"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := newSource(dir, "/etc/postfix").read(main)
	if err != nil {
		t.Fatal(err)
	}
	p := readParams(f)
	for _, name := range []string{"myhostname", "mydomain", "myorigin", "relayhost", "mynetworks", "header_size_limit", "body_checks_size_limit", "smtp_helo_name", "mydestination", "smtp_sasl_auth_enable", "smtp_tls_policy_maps", "inet_interfaces", "default_transport"} {
		out, err := exec.Command(postconf, "-c", dir, "-x", "-h", name).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := strings.Join(strings.Fields(string(out)), " ")
		if got := strings.Join(strings.Fields(p.get(name).Value), " "); got != want {
			t.Errorf("%s is %q, and postconf says %q", name, got, want)
		}
	}
}
