package daemon

import (
	"strings"
	"testing"
	"time"

	"postern/cmd/alert"
	"postern/config"
	"postern/relay/oauth"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
)

// TestEnds: each certificate of a file is told of once, from three weeks before
// its end; a sign-in only where nobody but a person renews it.
func TestEnds(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ca, dir := upstreamtest.NewAuthority(t), t.TempDir()
	pair := func(name string, left time.Duration) string {
		cert, _ := upstreamtest.WritePair(t, dir, name, ca.IssueUntil(t, now.Add(left), name+".example"))
		return cert
	}
	soon, ended, good := pair("soon", 10*24*time.Hour+time.Minute), pair("ended", -time.Hour), pair("good", 22*24*time.Hour)
	cfg := &config.Config{
		Listeners: []config.Listener{{Name: "a", CertFile: soon}, {Name: "b", CertFile: soon}, {Name: "c", CertFile: good}, {Name: "d"}},
		Upstreams: map[string]*config.Upstream{},
	}
	cfg.Console.Listener.CertFile = dir + "/gone.pem"
	for name, status := range map[string]string{"client": "", "token": "ends", "renewable": "renewed"} {
		up := &config.Upstream{Account: config.Account{Name: name}}
		if status != "" {
			up.OAuth = &config.OAuth{Flow: "device"}
		}
		cfg.Upstreams[name] = up
	}
	cfg.Upstreams["client"].CertFile = ended
	token := func(up *config.Upstream) *oauth.Status {
		return &oauth.Status{Present: true, Renewable: up.Name == "renewable", Expires: now.Add(48 * time.Hour)}
	}
	var e ends
	passed := 0
	observe := e.observe(func(upstream.Event) { passed++ })
	for name, left := range map[string]time.Duration{"token": 20 * 24 * time.Hour, "client": 22 * 24 * time.Hour, "gone": time.Hour} {
		observe(&upstream.Opened{Upstream: name, CertificateEnds: now.Add(left)})
	}
	observe(&upstream.Opened{Upstream: "client"})
	observe(&upstream.Closed{})
	if passed != 5 {
		t.Errorf("%d events are passed on, not 5", passed)
	}
	if l := e.upstreamsEnd(cfg, now); len(l) != 1 || l[0].Subject != "upstream token" || !strings.HasSuffix(l[0].Text, "ends on 2026-12-19") {
		t.Errorf("%+v", l)
	}
	if end := e.ofUpstream("client"); !end.Equal(now.Add(22*24*time.Hour)) || !e.ofUpstream("renewable").IsZero() {
		t.Errorf("the certificate of client ends on %v", end)
	}
	found := append(certificatesEnd(cfg, now), signInsEnd(cfg, token, now)...)
	want := []struct {
		key      alert.Key
		severity alert.Severity
		text     string
	}{
		{alert.Key{Kind: "certificate-ends", Subject: soon}, alert.Warning, "the certificate of the listener a: CN=soon.example, issued by"},
		{alert.Key{Kind: "certificate-ends", Subject: dir + "/gone.pem"}, alert.Critical, "the certificate of the listener console: "},
		{alert.Key{Kind: "certificate-ends", Subject: ended}, alert.Critical, "the certificate of the client at the upstream client: CN=ended.example"},
		{alert.Key{Kind: "sign-in-ends", Subject: "token"}, alert.Warning, "the sign-in of the upstream token ends: "},
	}
	if len(found) != len(want) {
		t.Fatalf("%d are told of: %+v", len(found), found)
	}
	for _, name := range []string{"early", "soon", "over"} {
		left := map[string]time.Duration{"early": 22, "soon": 20, "over": -1}[name]
		cfg.Upstreams[name] = &config.Upstream{Account: config.Account{Name: name, OAuth: &config.OAuth{ClientSecretEnds: now.Add(left * 24 * time.Hour)}}}
	}
	cfg.Books = []config.Book{{Name: "team", Directory: config.Directory{Account: config.Account{OAuth: &config.OAuth{ClientSecretEnds: now.Add(time.Hour)}}}}}
	found = append(found, secretsEnd(cfg, now)...)
	want = append(want, want[0], want[0], want[0])
	for i, w := range []struct {
		subject, text string
		severity      alert.Severity
	}{
		{"upstream over", `of the upstream "over" the client secret ended on 2026-11-28`, alert.Critical},
		{"upstream soon", `of the upstream "soon" the client secret ends on 2026-12-19, in 20 days`, alert.Warning},
		{"book team", `of the book "team" the client secret ends on 2026-11-29, in 0 days`, alert.Warning},
	} {
		one := &want[len(want)-3+i]
		one.key, one.severity, one.text = alert.Key{Kind: "client-secret-ends", Subject: w.subject}, w.severity, w.text
	}
	if len(found) != len(want) {
		t.Fatalf("%d are told of: %+v", len(found), found)
	}
	for i, w := range want {
		if f := found[i]; f.Key != w.key || f.Severity != w.severity || !strings.HasPrefix(f.Text, w.text) || f.Remedy == "" || f.Command == "" {
			t.Errorf("%+v\nwant %+v", f, w)
		}
	}
}
