//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/spool/postgres/postgrestest"
)

const fleetFiles = "../../packaging/fleet"

// TestFleetFilesConfiguration: the configuration that is given with the compose
// file is the one in the manifests, and passes check.
func TestFleetFilesConfiguration(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(fleetFiles, "postern.toml"))
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := os.ReadFile(filepath.Join(fleetFiles, "kubernetes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	inset := "  postern.toml: |\n"
	for line := range strings.Lines(string(text)) {
		if line != "\n" {
			line = "    " + line
		}
		inset += line
	}
	if !strings.Contains(string(manifests), inset+"---\n") {
		t.Error("the ConfigMap in kubernetes.yaml is not postern.toml")
	}
	server := postgrestest.Start(t, "fsync=off")
	t.Setenv("RELAY", "mx1")
	own := strings.ReplaceAll(string(text), "/run/secrets/", "DIR/")
	own = strings.ReplaceAll(own, "0.0.0.0:2525", "127.0.0.1:0") // a relay may run here
	h := newHarness(t, "state_dir = \"DIR/state\"\n"+strings.Replace(own, "[spool]", "[control]\nsocket = \"DIR/control.sock\"\n\n[spool]", 1))
	for name, secret := range map[string]string{"database.url": server.Database(t), "office.pw": "secret"} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.must("database", "migrate")
	h.must("check")
}

// TestFleetFilesCompose has Compose read its file.
func TestFleetFilesCompose(t *testing.T) {
	compose, err := exec.LookPath("docker-compose")
	if err != nil {
		if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
			t.Fatal("docker-compose is required: apt-get install docker-compose")
		}
		t.Skip("docker-compose is not here: apt-get install docker-compose")
	}
	out, err := exec.CommandContext(t.Context(), compose, "-f", filepath.Join(fleetFiles, "compose.yaml"), "config").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"cluster_name=db1", "PRIMARY: db1", "NAME: db2", "RELAY: mx1", "RELAY: mx2", "read_only: true"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
