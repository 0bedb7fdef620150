package sign

import (
	"crypto/sha256"
	"io"
	"runtime"
	"sync"

	"postern/spool"
)

// maxRemembered is of how many messages the signatures are remembered: some
// 1 KB each.
const maxRemembered = 4096

// Bench is where messages are signed: a few at a time, so that sessions that
// have nothing to sign find a processor, and each once, however often and over
// however many sessions it is sent. Its methods may be called concurrently.
type Bench struct {
	places chan struct{}

	mu    sync.Mutex
	made  map[form]*made
	order []form // of made, the oldest first
}

// form is what was signed: of a message whose body never changes, by whom, with
// what header, and in which encoding. Keys of another configuration are another
// Domain.
type form struct {
	id        spool.ID
	domain    *Domain
	header    [sha256.Size]byte
	converted uint8
}

type made struct {
	done   chan struct{} // closed once the rest is known
	fields []byte
	err    error
}

// NewBench has room for one message less at a time than there are processors.
func NewBench() *Bench {
	return &Bench{places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)), made: map[form]*made{}}
}

// Message is what is to be signed.
type Message struct {
	ID     spool.ID
	Header []byte    // fields, each with CRLF at its end
	Body   io.Reader // behind the empty line
	// Converted is 0 for the body of the spool, and another number for each way
	// in which it can be converted.
	Converted uint8
}

// Sign returns DKIM-Signature fields that are to stand before the header, with
// CRLF at the end of each. They belong to the bench. An error is that of
// reading Body, or ErrEmptyLines; then nothing is remembered.
func (b *Bench) Sign(d *Domain, m *Message) ([]byte, error) {
	f := form{m.ID, d, sha256.Sum256(m.Header), m.Converted}
	b.mu.Lock()
	one := b.made[f]
	if one != nil {
		b.mu.Unlock()
		<-one.done
		return one.fields, one.err
	}
	one = &made{done: make(chan struct{})}
	b.remember(f, one)
	b.mu.Unlock()

	finished := false
	defer func() {
		if !finished { // a panic
			one.err = io.ErrUnexpectedEOF
		}
		if one.err != nil {
			b.forget(f, one)
		}
		close(one.done)
	}()
	b.places <- struct{}{}
	defer func() { <-b.places }()
	one.fields, one.err = d.sign(m)
	finished = true
	return one.fields, one.err
}

// remember is called with mu held.
func (b *Bench) remember(f form, one *made) {
	if len(b.order) >= maxRemembered {
		delete(b.made, b.order[0])
		b.order = b.order[1:]
	}
	b.made[f] = one
	b.order = append(b.order, f)
}

func (b *Bench) forget(f form, one *made) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.made[f] == one {
		delete(b.made, f)
		for i := range b.order {
			if b.order[i] == f {
				b.order = append(b.order[:i], b.order[i+1:]...)
				break
			}
		}
	}
}
