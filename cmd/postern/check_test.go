package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/explanation"
)

const checkedFile = `state_dir = %DIR%
[spool]
dir = %DIR%
[control]
socket = %DIR%
[[listener]]
address = "127.0.0.1:0"
users = { good = "$2a$04$abcdefghijklmnopqrstuuxFkqxu6oQ6kY7rXkR2QhN0b0x1y2z3e", late = "%BAD%" }
[upstream.here]
provider = "capture"
[[route]]
from = ["*"]
upstream = ["here"]
`

func writeChecked(t *testing.T, stored string) string {
	t.Helper()
	dir := t.TempDir()
	quoted, _ := json.Marshal(filepath.Join(dir, "x"))
	text := strings.ReplaceAll(strings.ReplaceAll(checkedFile, "%DIR%", string(quoted)), "%BAD%", stored)
	file := filepath.Join(dir, "postern.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What a stored password of a client costs is judged where it is verified, and
// yet reported by check.
func TestCheckLooksAtStoredPasswords(t *testing.T) {
	greedy := "$argon2id$v=19$m=99999999,t=2,p=1$iGaiUMhuxVvm292us2g0SQ$sR4XXqFCSHVCBivG6yIthD31mV9+X5bEcabr2mvoyIs"
	file := writeChecked(t, greedy)
	r := perform(t, "", "check", "--config", file)
	if r.code != exitConfig || !strings.Contains(r.stderr, "listener[0].users.late") || strings.Contains(r.stderr, "sR4XX") {
		t.Errorf("%+v", r)
	}
	r = perform(t, "", "check", "--json", "--config", file)
	var report checked
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if r.code != exitConfig || report.OK || len(report.Problems) != 1 || report.Effective != nil {
		t.Errorf("%d %+v", r.code, report)
	}
}

// The configuration in effect is shown with its defaults and without secrets.
func TestCheckShowsWhatIsInEffect(t *testing.T) {
	file := writeChecked(t, "$2a$04$abcdefghijklmnopqrstuuxFkqxu6oQ6kY7rXkR2QhN0b0x1y2z3e")
	r := perform(t, "", "check", "--json", "--config", file)
	var report checked
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	if !report.OK || report.Effective["retry"] == nil {
		t.Errorf("%+v", r)
	}
	if strings.Contains(r.stdout, "$2a$") {
		t.Error("a stored password is shown")
	}
}

// What a provider has filled in is named, and what to make in its console.
func TestCheckNamesPresets(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	quoted, _ := json.Marshal(dir)
	file := filepath.Join(dir, "postern.toml")
	text := "state_dir = " + string(quoted) + `
[spool]
dir = "` + filepath.Join(dir, "spool") + `"
[control]
socket = "` + filepath.Join(dir, "s") + `"
[[listener]]
address = "127.0.0.1:0"
[upstream.grid]
provider = "sendgrid"
password_file = "key"
port = 2525
[[route]]
from = ["*", "<>"]
upstream = ["grid"]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := perform(t, "", "check", "--config", file)
	if want := "grid: sendgrid fills in auth = auto, host = smtp.sendgrid.net, tls = verify, username = apikey\n  Make an API key"; r.code != 0 || !strings.Contains(r.stdout, want) {
		t.Errorf("%+v", r)
	}
	r = perform(t, "", "check", "--json", "--config", file)
	var report checked
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatal(err)
	}
	p := report.Presets["grid"]
	if p.Provider != "sendgrid" || p.Filled["host"] != "smtp.sendgrid.net" || p.Filled["port"] != nil || p.Create == "" {
		t.Errorf("%+v", p)
	}
	r = perform(t, "", "explain", "--from", "a@example.com", "--config", file)
	if want := "grid: sendgrid, smtp.sendgrid.net port 2525, tls verify, auth auto as apikey"; !strings.Contains(r.stdout, want) {
		t.Errorf("%+v", r)
	}
}

// The rates of a provider are in effect, unless the file has its own, and
// explain says by what an upstream will be signed in to, and why.
func TestExplainShowsWhatIsInEffect(t *testing.T) {
	file := filepath.Join(t.TempDir(), "postern.toml")
	const text = `
[upstream.theirs]
provider = "microsoft365"
username = "billing@example.com"
[upstream.theirs.oauth]
flow = "device"
tenant = "example.com"
client_id = "1"

[upstream.ours]
provider = "gmail"
username = "someone@gmail.com"
password_env = "GMAIL_PASSWORD"
rate = ["10/1m", "400 recipients/1d"]

[upstream.plant]
host = "mail.plant.example"
port = 25
tls = "opportunistic"
username = "relay"
password_env = "GMAIL_PASSWORD"

[[route]]
from = ["*"]
upstream = ["theirs", "ours", "plant"]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GMAIL_PASSWORD", "hunter2")
	r := perform(t, "", "check", "--file-only", "--config", file)
	for _, want := range []string{
		`theirs: microsoft365 fills in auth = xoauth2, host = smtp.office365.com, max_connections = 3, port = 587, rate = ["30/1m", "10000 recipients/1d"],`,
		`ours: gmail fills in auth = auto, host = smtp.gmail.com, max_recipients = 100, port = 587, tls = verify`,
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	r = perform(t, "", "explain", "--from", "a@example.com", "--config", file)
	golden(t, "explain-effect", r.stdout)
	r = perform(t, "", "explain", "--from", "a@example.com", "--json", "--config", file)
	var report explanation.Recipient
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatal(err)
	}
	ours := report.Upstreams["ours"]
	if report.Upstreams["theirs"].Settings["max_connections"] != 3.0 || len(ours.Mechanisms) != 15 ||
		ours.Mechanisms[0] != (explanation.Foreseen{Mechanism: "SCRAM-SHA-512-PLUS"}) || strings.Contains(r.stdout, "hunter2") {
		t.Errorf("%+v", report.Upstreams)
	}
}
