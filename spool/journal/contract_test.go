package journal_test

import (
	"testing"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		s, sim := simulated(t, nil)
		return storetest.Harness{Store: s, Restart: func() spool.Store {
			again := open(t, journal.Options{Dir: "sim", FS: sim.Copy().FS()})
			t.Cleanup(func() { again.Close() })
			return again
		}}
	})
}
