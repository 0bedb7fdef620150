package storetest

import (
	"testing"

	"postern/spool"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		m := NewMemory()
		return Harness{Store: m, Restart: func() spool.Store { m.Crash(); return m }}
	})
}
