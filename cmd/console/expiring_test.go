package console

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// What goes, whether it is too old, one too many or not wanted, is ended; what is
// taken is not.
func TestExpiring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended []string // guarded by the mu of s
		s := newExpiring(3, time.Minute, func(name *string) { ended = append(ended, *name) })
		add := func(owner, name string) (id string) {
			time.Sleep(time.Second)
			return s.add(owner, &name)
		}
		gone := func(want ...string) {
			t.Helper()
			s.mu.Lock()
			defer s.mu.Unlock()
			if !slices.Equal(ended, want) {
				t.Errorf("ended: %q, want %q", ended, want)
			}
			ended = nil
		}
		add("a", "first")
		second, third := add("a", "second"), add("b", "third")
		gone()
		fourth := add("a", "fourth")
		gone("first")
		if s.find(third, "a") != nil || s.take(third, "a") != nil || s.find(third, "b") == nil || s.find("nothing", "") != nil {
			t.Error("a session has what is another's")
		}
		if s.take(second, "a") == nil || s.take(second, "a") != nil {
			t.Error("it is not taken once")
		}
		s.forgetOf("b", func(name *string) bool { return *name == "fourth" })
		s.forgetOf("a", func(name *string) bool { return *name == "other" })
		gone()
		s.forgetOf("b", func(*string) bool { return true })
		gone("third")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if gone("fourth"); s.find(fourth, "a") != nil {
			t.Error("it is there for ever")
		}
	})
}

// A draft that is forgotten gives up its walk and its login.
func TestDraftsEnd(t *testing.T) {
	_, s := newRelay(t)
	ctx, cancel := context.WithCancel(t.Context())
	walking, stop := context.WithCancel(t.Context())
	s.drafts.add("a", &draft{cancel: cancel, test: "office"})
	s.drafts.add("a", &draft{walk: &walk{cancel: stop}})
	s.drafts.forgetOf("a", (*draft).defines)
	if walking.Err() == nil || ctx.Err() != nil {
		t.Error("the walk goes on, or the login does not")
	}
	for range maxDrafts {
		s.drafts.add("b", &draft{})
	}
	if ctx.Err() == nil {
		t.Error("the login goes on")
	}
}
