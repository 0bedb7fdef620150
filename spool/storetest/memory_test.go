package storetest

import (
	"testing"
	"time"

	"postern/spool"
)

func TestShared(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		both := NewShared(time.Hour, "one", "two")
		h := harness(both[0])
		h.Other, h.Expire = both[1], both[0].Expire
		return h
	})
}

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) Harness { return harness(NewMemory()) })
}

func harness(m *Memory) Harness {
	m.Limit(50)
	m.LimitKeys(20)
	f := &Faulty{Store: m}
	return Harness{Store: f, Most: 50, Keys: 20, Away: f.Away, Restart: func() spool.Store { m.Crash(); return f }}
}
