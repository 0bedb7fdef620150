package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "postern.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const fromEnvironment = `hostname = "${RELAY_NAME:-relay.example}"
spool.dir = "${SPOOL:-/tmp}/queue"
[[listener]]
address = "127.0.0.1:${PORT_IN:-2525}"
max_recipients = "${MOST}"
require_auth = "${AUTH:-false}"
allow = ["${NET}"]
[upstream.office]
host = "${SMTP_HOST}"
port = "${SMTP_PORT:-587}"
tls = "verify"
username = "$${USER}"
password = "${SMTP_PASSWORD}"
[[route]]
from = ["*"]
upstream = ["office"]
`

// Variables of the environment stand in for any value, numbers too; what they
// hold is only text, and a secret stays one.
func TestValuesFromTheEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"MOST": "200", "NET": "10.1.0.0/16", "SMTP_HOST": "mail.example", "SMTP_PASSWORD": "hunter2 ${X}", "RELAY_NAME": "",
	} {
		t.Setenv(name, value)
	}
	cfg, err := Load(writeConfig(t, fromEnvironment))
	if err != nil {
		t.Fatal(err)
	}
	up, l := cfg.Upstreams["office"], cfg.Listeners[0]
	if cfg.Hostname != "relay.example" || cfg.Spool.Dir != "/tmp/queue" || l.Target != "127.0.0.1:2525" || l.MaxRecipients != 200 ||
		l.RequireAuth || l.Allow[0].String() != "10.1.0.0/16" || up.Host != "mail.example" || up.Port != 587 || up.Username != "${USER}" {
		t.Errorf("%+v %+v", cfg, up)
	}
	if got, err := up.Password.Read(t.Context()); got != "hunter2 ${X}" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if up.Password.Literal() {
		t.Error("a password that came from the environment is said to stand in the file")
	}
	if got := cfg.Redacted()["upstream"].(map[string]any)["office"].(map[string]any)["password"]; got != redacted {
		t.Errorf("shown: %v", got)
	}
}

// A variable that is missing is one problem, with its place and its name.
func TestMissingVariableIsSaid(t *testing.T) {
	t.Setenv("MOST", "many")
	_, err := Load(writeConfig(t, fromEnvironment))
	if err == nil {
		t.Fatal("it is good")
	}
	for _, want := range []string{
		"postern.toml:5: listener[0].max_recipients: must be a whole number",
		"postern.toml:7: listener[0].allow[0]: NET is not set in the environment of this process",
		"postern.toml:9: upstream.office.host: SMTP_HOST is not set in the environment of this process (set it where postern starts, or write ${SMTP_HOST:-default})",
		"postern.toml:13: upstream.office.password: SMTP_PASSWORD is not set",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 4 {
		t.Errorf("%d problems:\n%v", n, err)
	}
}

// Commands find the daemon though a variable is missing that only it needs.
func TestLocateNeedsOnlyItsOwnVariables(t *testing.T) {
	file := writeConfig(t, fromEnvironment)
	if place, err := Locate(file); err != nil || place.SpoolDir != "/tmp/queue" {
		t.Errorf("%+v, %v", place, err)
	}
	file = writeConfig(t, `control.socket = "${RUN_DIR}/s"`)
	if _, err := Locate(file); err == nil || !strings.Contains(err.Error(), "RUN_DIR is not set") {
		t.Error(err)
	}
}

// A line for the shell keeps what the shell expands.
func TestShellKeepsItsVariables(t *testing.T) {
	t.Setenv("PASSWORD_OF_OFFICE", "hunter2")
	cfg, err := Load(writeConfig(t, `[upstream.office]
host = "mail.example"
username = "u"
password_command = "echo ${PASSWORD_OF_OFFICE}"
password_command_env = ["PASSWORD_OF_OFFICE"]
[[route]]
from = ["*"]
upstream = ["office"]
`))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cfg.Upstreams["office"].Password.Read(t.Context()); got != "hunter2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
