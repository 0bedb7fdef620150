//go:build unix

package postgres

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// forgotten: a relay that left is forgotten, unless it lives, or has mail that nobody
// has taken over.
func forgotten(t *testing.T, url string) {
	ctx := t.Context()
	opts := Options{URL: url, Relay: "gone", Term: time.Second, Grace: -1}
	gone, err := Open(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	opts.Relay = "stays"
	stays, err := Open(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer stays.Close()
	var needed *Needed
	if err := Forget(ctx, url, "gone"); !errors.As(err, &needed) || len(needed.Lanes) > 0 {
		t.Errorf("it lives: %v", err)
	}
	if err := Forget(ctx, url, "never"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	put(t, gone, envelope("a@example.com", "office"), strings.NewReader("body"))
	if _, err := gone.Lease(ctx, "office"); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Lease(ctx, "empty"); err != nil {
		t.Fatal(err)
	}
	gone.abandon() // as a kill does
	within(t, "its lease is over", func() bool {
		err := Forget(ctx, url, "gone")
		return errors.As(err, &needed) && len(needed.Lanes) == 1 && needed.Lanes[0] == "office"
	})
	within(t, "another one takes over", func() bool { _, err := stays.Lease(ctx, "office"); return err == nil })
	if err := Forget(ctx, url, "gone"); err != nil {
		t.Error(err)
	}
	if all, err := stays.Relays(ctx); err != nil || len(all) != 1 || all[0].Name != "stays" {
		t.Errorf("%+v, %v", all, err)
	}
	opts.Relay = "gone"
	again, err := Open(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if all, err := stays.Relays(ctx); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
}
