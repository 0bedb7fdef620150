package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A reload leaves as it is what only changes at a restart, and names it.
func TestKeepUntilRestart(t *testing.T) {
	base := func() *Config {
		c := Default()
		c.Spool.Dir, c.Control.Socket, c.Control.HealthMaxAge = "/s", "/c", time.Minute
		return c
	}
	next := base()
	next.Hostname = "other.example.com"
	next.Control.HealthMaxAge = time.Hour
	if got, kept := KeepUntilRestart(base(), next); len(kept) > 0 || got.Hostname != next.Hostname || got.Control.HealthMaxAge != time.Hour {
		t.Errorf("%v, %+v", kept, got)
	}
	next = base()
	next.Spool = Spool{Dir: "/other", MaxSize: 1 << 20, MinFree: 1 << 20}
	next.Control = Control{Socket: "/other", Mode: 0o600, Group: "mail", Metrics: "127.0.0.1:1", HealthMaxAge: time.Hour}
	next.StateDir, next.Log.Format = "/other", "json"
	got, kept := KeepUntilRestart(base(), next)
	want := base()
	if got.Spool != want.Spool || got.Control.Socket != want.Control.Socket || got.Control.Mode != want.Control.Mode ||
		got.Control.Group != want.Control.Group || got.Control.Metrics != want.Control.Metrics ||
		got.StateDir != want.StateDir || got.Log.Format != want.Log.Format || got.Control.HealthMaxAge != time.Hour {
		t.Errorf("in force: %+v", got)
	}
	for _, key := range []string{"spool.dir", "spool.max_size", "spool.min_free", "state_dir", "control.socket",
		"control.mode", "control.group", "control.metrics", "log.format"} {
		if !slices.ContainsFunc(kept, func(k string) bool { return strings.HasPrefix(k, key+" ") }) {
			t.Errorf("%s is not named in %q", key, kept)
		}
	}
	if next.Spool.Dir != "/other" {
		t.Error("the file's configuration was changed")
	}
}
