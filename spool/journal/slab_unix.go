//go:build unix

package journal

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newSlab makes a slab that goes with x.
func newSlab(x *index) *slab {
	b, err := unix.Mmap(-1, 0, int(unsafe.Sizeof(slab{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return new(slab)
	}
	runtime.AddCleanup(x, func(b []byte) { unix.Munmap(b) }, b)
	return (*slab)(unsafe.Pointer(&b[0]))
}
