package storetest

import (
	"testing"
	"time"

	"postern/spool"
)

func TestShared(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		both := NewShared(time.Hour, "one", "two")
		return Harness{Store: both[0], Other: both[1], Expire: both[0].Expire,
			Restart: func() spool.Store { both[0].Crash(); return both[0] }}
	})
}

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		m := NewMemory()
		return Harness{Store: m, Restart: func() spool.Store { m.Crash(); return m }}
	})
}
