//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// TestKill is the short form of the run that docs/reliability.md quotes.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the real binary for some seconds")
	}
	cycles := "20"
	if v := os.Getenv("POSTERN_KILL_CYCLES"); v != "" {
		cycles = v
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"kill", "-cycles", cycles}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out.Bytes(), errs.Bytes())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Promised == 0 || r.Kills == 0 {
		t.Fatalf("nothing was tried: %+v", r)
	}
	t.Logf("%d kills, %d promised, %d duplicates, %d sent twice by the client", r.Kills, r.Promised, r.Duplicates, r.Twice)
}

// TestBooksCatchLies holds the accountant to account: each kind of damage has
// to turn up in the balance.
func TestBooksCatchLies(t *testing.T) {
	honest := func() *books {
		b := newBooks()
		b.sent("1", "d1")
		b.promised("1", "q1")
		b.received("1", "q1", "d1")
		return b
	}
	if err := honest().close(nil).verdict(); err != nil {
		t.Fatalf("honest books: %v", err)
	}
	for name, damage := range map[string]func(*books){
		"lost":        func(b *books) { b.sent("2", "d2"); b.promised("2", "q2") },
		"changed":     func(b *books) { b.received("1", "q1", "dX") },
		"unknown":     func(b *books) { b.received("9", "q9", "d9") },
		"unexplained": func(b *books) { b.received("1", "q1", "d1") },
	} {
		b := honest()
		damage(b)
		if b.close(nil).verdict() == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
	b := honest()
	b.received("1", "q1", "d1")
	if err := b.close(map[string]bool{"q1": true}).verdict(); err != nil {
		t.Errorf("an explained duplicate: %v", err)
	}
}
