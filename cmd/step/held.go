package step

import (
	"bytes"
	"io"
	"os"

	"postern/config/wire"
)

// heldMemory is how many bytes of a message are held in memory.
const heldMemory = 1 << 20

// Held is a message that is kept until it was handed in: in memory, and what
// does not fit there in a file without a name. It is written once, then read
// any number of times. The zero Held is empty.
type Held struct {
	mem  bytes.Buffer
	file *os.File // what mem does not hold
	size int64
	bit8 bool
}

// Size is how many bytes were written.
func (h *Held) Size() int64 { return h.size }

// Write implements io.Writer.
func (h *Held) Write(p []byte) (int, error) {
	h.size += int64(len(p))
	h.bit8 = h.bit8 || !wire.IsASCII(p)
	if h.file == nil && h.mem.Len()+len(p) <= heldMemory {
		return h.mem.Write(p)
	}
	if h.file == nil {
		f, err := os.CreateTemp("", "postern-raw-*")
		if err != nil {
			return 0, err
		}
		os.Remove(f.Name()) // a kill leaves nothing behind; Windows waits for Close
		h.file = f
	}
	return h.file.Write(p)
}

// WriteTo implements io.WriterTo.
func (h *Held) WriteTo(w io.Writer) (int64, error) {
	k, err := w.Write(h.mem.Bytes())
	n := int64(k)
	if err != nil || h.file == nil {
		return n, err
	}
	rest, err := io.Copy(w, io.NewSectionReader(h.file, 0, h.size))
	return n + rest, err
}

// Close removes what was kept.
func (h *Held) Close() {
	if h.file != nil {
		h.file.Close()
		os.Remove(h.file.Name())
	}
}
