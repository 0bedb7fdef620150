package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"postern/config"
)

// In short, an upstream is one line and what is wrong.
func TestShort(t *testing.T) {
	up := &config.Upstream{Account: config.Account{Name: "office"}}
	good := []Finding{
		{ID: UpstreamLane, Status: Skipped}, {ID: UpstreamConnect, Status: OK, Took: 2}, {ID: UpstreamSignIn, Status: OK, Took: 3},
		{ID: UpstreamSender, Status: OK}, {ID: UpstreamSender, Status: OK},
	}
	with := func(f ...Finding) []Finding { return append(slices.Clone(good), f...) }
	for _, c := range []struct {
		name string
		list []Finding
		want []string
	}{
		{"good", good, []string{"ok upstream.session"}},
		{"a warning and a refused sender", with(Finding{ID: UpstreamTLS, Status: Warning}, Finding{ID: UpstreamSender, Status: Failed}),
			[]string{"ok upstream.session", "warning upstream.tls", "failed upstream.sender"}},
		{"no session", []Finding{{ID: UpstreamConnect, Status: Failed}, {ID: UpstreamSignIn, Status: Skipped}},
			[]string{"failed upstream.session", "failed upstream.connect"}},
		{"no password here", []Finding{{ID: UpstreamSecret, Status: Skipped}, {ID: UpstreamSignIn, Status: Skipped}},
			[]string{"skipped upstream.session"}},
	} {
		var got []string
		for _, f := range Short(up, c.list) {
			got = append(got, string(f.Status)+" "+string(f.ID))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if f := Short(up, good)[0]; f.Took != 5 || f.Text != "a session could be opened; 2 senders may send" {
		t.Errorf("%+v", f)
	}
}

// A sign-in that failed for want of a password that only the daemon has is no
// failure; one that the upstream refused is.
func TestWithoutSecret(t *testing.T) {
	session := []Finding{{ID: UpstreamMechanism, Status: OK}, {ID: UpstreamSignIn, Status: Failed, Text: "password_env X: is not set"}}
	withoutSecret(session)
	if session[1].Status != Skipped || session[0].Status != OK {
		t.Errorf("%+v", session)
	}
	session = []Finding{{ID: UpstreamSignIn, Status: Failed, Facts: map[string]any{"code": 535}}}
	if withoutSecret(session); session[0].Status != Failed {
		t.Errorf("%+v", session)
	}
}

func TestSecretFiles(t *testing.T) {
	oauth := &config.OAuth{ServiceAccountFile: "/google.json", KeyFile: "/client.key"}
	cfg := &config.Config{
		Listeners: []config.Listener{{Name: "mail", KeyFile: "/listener.key"}, {Name: "other", KeyFile: "/listener.key"}},
		Upstreams: map[string]*config.Upstream{
			"b": {Account: config.Account{KeyFile: "/b.key", Kerberos: config.Kerberos{Keytab: "/b.keytab", CCache: "/b.cc"}, Password: config.NewSecret("literal")}},
			"a": {Account: config.Account{OAuth: oauth}},
		},
	}
	var got []string
	for _, f := range secretFiles(cfg) {
		got = append(got, string(f.id)+" "+f.path)
	}
	want := []string{"file.key /listener.key", "file.secret /google.json", "file.key /client.key", "file.key /b.key", "file.secret /b.keytab", "file.secret /b.cc"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestConfigurationThatIsNoProblemsAtAll(t *testing.T) {
	if list := Configuration("x", nil, errors.New("gone")); Exit(list) != badConfig || list[0].Remedy == "" {
		t.Errorf("%+v", list)
	}
}

// What lies in the state folder is looked at, each part that is there.
func TestPartsOfTheStateFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has access lists instead of modes")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"oauth", "tls", "budget", "pause"} {
		path := filepath.Join(dir, part)
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o770)); err != nil {
			t.Fatal(err)
		}
		for _, f := range lookAtFiles(&config.Config{StateDir: dir}, nil, -1) {
			want := OK
			if f.Subject == path {
				want = Failed
			}
			if f.Status != want {
				t.Errorf("%s: %+v", part, f)
			}
		}
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// What an upstream makes the doctor do wrong is a finding about it.
func TestDefectIsAFinding(t *testing.T) {
	found := guarded("office", func() []Finding { panic("index\x1b[2J out of range") })
	if len(found) != 1 || found[0].Status != Failed || found[0].Subject != "office" || Exit(found) == 0 {
		t.Errorf("%+v", found)
	}
	if !strings.Contains(found[0].Text, "out of range") || strings.Contains(found[0].Text, "\x1b") {
		t.Errorf("%q", found[0].Text)
	}
}
