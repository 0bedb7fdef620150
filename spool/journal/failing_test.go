package journal_test

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestFailingIsTold: whichever step of the disk fails, the spool says that it
// can't be written until it can again: health and alerts go by that.
func TestFailingIsTold(t *testing.T) {
	for name, list := range map[string][]string{
		"write":  {"write .seg", "create .seg"},
		"sync":   {"sync .seg", "create .seg"},
		"header": {"sync .seg", "write .seg", "remove .seg"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, sim := simulated(t, nil)
				put(t, s, simple("a"), nil)
				failing(sim, syscall.EROFS, list...)
				for range 2 {
					if _, err := commit(t, s, 100); err == nil {
						t.Error("it is taken")
					}
					if u := usage(s); !errors.Is(u.Failing, syscall.EROFS) {
						t.Errorf("failing: %v", u.Failing)
					}
				}
				time.Sleep(2 * time.Second)
				put(t, s, simple("a"), nil)
				if u := usage(s); u.Failing != nil {
					t.Errorf("failing still: %v", u.Failing)
				}
			})
		})
	}
}
