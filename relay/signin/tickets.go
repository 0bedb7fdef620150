package signin

import "encoding/binary"

// soundTickets tells whether every length and count in a file of tickets is
// within the file. The library allocates what they say, up to 128 GB, before
// it looks, and nothing survives that. Only the versions 3 and 4 of the form
// are taken, which MIT Kerberos and Heimdal have written since 1996.
func soundTickets(content []byte) bool {
	if len(content) < 2 || content[0] != 5 || content[1] != 3 && content[1] != 4 {
		return false
	}
	w := &walk{rest: content[2:]}
	keyType := 2
	switch content[1] {
	case 3:
		keyType = 4 // it is there twice
	case 4:
		n := w.short()
		if n%12 != 0 { // the library knows one kind of field, of this length
			return false
		}
		w.skip(n)
	}
	w.principal()
	for len(w.rest) > 0 && !w.bad {
		w.principal()
		w.principal()
		w.skip(keyType)
		w.text()
		w.skip(4*4 + 1 + 4) // times, whether it is a session key, flags
		for range 2 {       // addresses, authorization data
			for range w.count() {
				w.skip(2)
				w.text()
			}
		}
		w.text()
		w.text()
	}
	return !w.bad
}

// walk goes over bytes without keeping any. Once bad it is at the end.
type walk struct {
	rest []byte
	bad  bool
}

func (w *walk) skip(n int) {
	if n > len(w.rest) {
		w.rest, w.bad = nil, true
		return
	}
	w.rest = w.rest[n:]
}

func (w *walk) short() int {
	at := w.rest
	if w.skip(2); w.bad {
		return 0
	}
	return int(binary.BigEndian.Uint16(at))
}

// count reads a number of things of one byte or more.
func (w *walk) count() int {
	at := w.rest
	if w.skip(4); w.bad {
		return 0
	}
	n := int64(binary.BigEndian.Uint32(at))
	if n > int64(len(w.rest)) {
		w.rest, w.bad = nil, true
		return 0
	}
	return int(n)
}

func (w *walk) text() { w.skip(w.count()) }

func (w *walk) principal() {
	w.skip(4) // the type of the name
	n := w.count()
	w.text()
	for range n {
		w.text()
	}
}
