package config

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const password = "hunter2 & co."

func TestSecretNeverShows(t *testing.T) {
	s := NewSecret(password)
	type hidden struct{ inner Secret }
	type shown struct{ Password Secret }
	asJSON := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	up := DefaultUpstream("office")
	up.Password = s
	forms := map[string]string{
		"String": s.String(), "GoString": s.GoString(),
		"v": fmt.Sprintf("%v", s), "+v": fmt.Sprintf("%+v", s), "#v": fmt.Sprintf("%#v", s),
		"s": fmt.Sprintf("%s", s), "q": fmt.Sprintf("%q", s), "x": fmt.Sprintf("%x", s), "d": fmt.Sprintf("%d", s),
		"pointer": fmt.Sprintf("%+v", &s), "hidden": fmt.Sprintf("%+v", hidden{s}), "hidden#": fmt.Sprintf("%#v", hidden{s}),
		"field": fmt.Sprintf("%+v", shown{s}), "upstream": fmt.Sprintf("%+v", up), "upstream#": fmt.Sprintf("%#v", up),
		"json": asJSON(s), "json field": asJSON(shown{s}), "json hidden": asJSON(hidden{s}), "json key": asJSON(map[Secret]int{s: 1}),
		"source": s.Source(), "error": fmt.Errorf("about %v", s).Error(),
	}
	for name, form := range forms {
		for _, leak := range []string{password, "hunter2", fmt.Sprintf("%x", "hunter2")} {
			if strings.Contains(form, leak) {
				t.Errorf("%s shows the secret: %s", name, form)
			}
		}
	}
	if got := s.String(); got != "[secret]" {
		t.Errorf("String() = %q", got)
	}
	if got := fmt.Sprint(Secret{}); got != "" {
		t.Errorf("no secret prints %q", got)
	}
	if got, err := s.Read(t.Context()); got != password || err != nil {
		t.Errorf("Read() = %q, %v", got, err)
	}
}

func fileSecret(t *testing.T, content string, mode os.FileMode) Secret {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return Secret{&secretSource{kind: secretFile, value: path}}
}

func TestSecretFromFile(t *testing.T) {
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		want, wrong   string
	}{
		{"plain", password, 0o600, password, ""},
		{"newline", password + "\n", 0o640, password, ""},
		{"windows newline", password + "\r\n", 0o600, password, ""},
		{"blanks around", " " + password + " \t\r\n\n", 0o600, password, ""},
		{"byte order mark", "\ufeff" + password + "\n", 0o600, password, ""},
		{"only a byte order mark", "\ufeff\r\n", 0o600, "", "is empty"},
		{"UTF-16", "\xff\xfeh\x00u\x00\n\x00", 0o600, "", "is UTF-16"},
		{"UTF-16 without a mark", "h\x00u\x00n\x00", 0o600, "", "NUL"},
		{"no-break space at the end", password + "\u00a0\n", 0o600, "", "U+00A0, a blank that is no space"},
		{"zero width space", "hunter\u200b2\n", 0o600, "", "the invisible character U+200B"},
		{"second byte order mark", "\ufeff\ufeff" + password, 0o600, "", "the invisible character U+FEFF"},
		{"tag character", password + "\U000e0041", 0o600, "", "the invisible character U+E0041"},
		{"direction", "\u202e" + password, 0o600, "", "the invisible character U+202E"},
		{"escape", password + "\x1b[0m", 0o600, "", "the control character U+001B"},
		{"Latin-1 stays", "gr\xfc\xdfe", 0o600, "gr\xfc\xdfe", ""},
		{"umlauts stay", "grüße", 0o600, "grüße", ""},
		{"empty", "", 0o600, "", "is empty"},
		{"only newline", "\n", 0o600, "", "is empty"},
		{"two lines", password + "\nmore\n", 0o600, "", "more than one line"},
		{"nul", password + "\x00", 0o600, "", "NUL"},
		{"large", strings.Repeat("x", maxSecret+1), 0o600, "", "larger than"},
		{"readable by others", password, 0o644, "", "mode 0644"},
		{"writable by others", password, 0o602, "", "mode 0602"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && strings.Contains(c.wrong, "mode") {
				t.Skip("Windows has no such modes")
			}
			s := fileSecret(t, c.content, c.mode)
			got, err := s.Read(t.Context())
			checkRead(t, got, err, c.want, c.wrong)
		})
	}
}

func checkRead(t *testing.T, got string, err error, want, wrong string) {
	t.Helper()
	switch {
	case wrong == "" && err != nil:
		t.Fatal(err)
	case wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)):
		t.Fatalf("error %v, want one with %q", err, wrong)
	case wrong != "" && strings.Contains(err.Error(), "hunter2"):
		t.Fatalf("the error tells the secret: %v", err)
	case got != want:
		t.Errorf("got %q, want %q", got, want)
	}
}

// A file that was changed counts at the next read.
func TestSecretIsReadAnew(t *testing.T) {
	s := fileSecret(t, "old\n", 0o600)
	if got, err := s.Read(t.Context()); got != "old" || err != nil {
		t.Fatal(got, err)
	}
	if err := os.WriteFile(s.source.value, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(t.Context()); got != "new" || err != nil {
		t.Fatal(got, err)
	}
	if err := os.Remove(s.source.value); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context()); err == nil || !strings.Contains(err.Error(), s.source.value) {
		t.Fatalf("error %v does not name the file", err)
	}
}

func TestSecretFromCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("uses the programs of Unix")
	}
	shell := func(line string) []string { return []string{"/bin/sh", "-c", line} }
	for _, c := range []struct {
		name        string
		args        []string
		want, wrong string
	}{
		{"printed", []string{"printf", "%s\n", password}, password, ""},
		{"shell", shell("echo one | tr o O"), "One", ""},
		{"fails", shell("echo hunter2; echo hunter2 >&2; exit 3"), "", "exit status 3"},
		{"silent", shell("true"), "", "is empty"},
		{"missing", []string{"/nowhere/program"}, "", "cannot be run"},
		{"endless", shell("yes hunter2"), "", "printed more than"},
		{"two lines", shell("echo a; echo b"), "", "more than one line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Secret{&secretSource{kind: secretCommand, args: c.args}}
			got, err := s.Read(t.Context())
			checkRead(t, got, err, c.want, c.wrong)
		})
	}
}

func TestSecretFromEnvironment(t *testing.T) {
	env := Secret{&secretSource{kind: secretEnv, value: "POSTERN_TEST_PW"}}
	_, err := env.Read(t.Context())
	checkRead(t, "", err, "", "POSTERN_TEST_PW: is not set")
	t.Setenv("POSTERN_TEST_PW", password)
	got, err := env.Read(t.Context())
	checkRead(t, got, err, password, "")

	credential := Secret{&secretSource{kind: secretCredential, value: "office"}}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	_, err = credential.Read(t.Context())
	checkRead(t, "", err, "", "CREDENTIALS_DIRECTORY is not set")
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := os.WriteFile(filepath.Join(dir, "office"), []byte(password+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	got, err = credential.Read(t.Context())
	checkRead(t, got, err, password, "")
}

// A command that hangs is ended, also where a child of it holds the output
// open. Processes live outside of synctest, so this one takes its second.
func TestSecretCommandEndsInTime(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("uses the programs of Unix")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s := Secret{&secretSource{kind: secretCommand, args: []string{"/bin/sh", "-c", "sleep 3 & sleep 3"}}}
	_, err := s.Read(ctx)
	checkRead(t, "", err, "", "did not end in time")
}

func TestWhereASecretComesFrom(t *testing.T) {
	for kind, want := range map[secretKind]string{
		secretLiteral: "literal", secretFile: "/x", secretEnv: "environment", secretCredential: "environment", secretCommand: "",
	} {
		s := Secret{&secretSource{name: passwordKey, kind: kind, value: "/x"}}
		got := s.File()
		if s.FromEnvironment() {
			got += "environment"
		}
		if s.Literal() {
			got += "literal"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", kind, got, want)
		}
	}
	if s := (Secret{}); s.File() != "" || s.FromEnvironment() || s.Literal() {
		t.Error("no secret comes from somewhere")
	}
}
