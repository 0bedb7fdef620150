package journal_test

import (
	"syscall"
	"testing"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/simdisk"
	"postern/spool/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		s, sim := simulated(t, func(o *journal.Options) { o.MaxMessages, o.MaxKeys = 50, 20 })
		away := func(away bool) {
			sim.SetFault(func(op simdisk.Op, _ string) error {
				if away && op != simdisk.OpRead {
					return syscall.EIO
				}
				return nil
			})
		}
		return storetest.Harness{Store: s, Most: 50, Keys: 20, Away: away, Restart: func() spool.Store {
			again := open(t, journal.Options{Dir: "sim", FS: sim.Copy().FS()})
			t.Cleanup(func() { again.Close() })
			return again
		}}
	})
}
