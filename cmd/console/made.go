package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"postern/relay/merge"
	"postern/spool"
)

// Bounds of messages that were made and are not sent yet.
const (
	maxMade     = 4                // forms, of all users; the oldest goes
	maxMadeSize = 8 << 20          // bytes of all messages of a form
	madeAge     = 15 * time.Minute // what was typed is forgotten then
)

// made is what a form has made of a message file: its messages, as they would be
// sent.
type made struct {
	file string // the name of the message file
	back string // the form
	size int

	sending sync.Mutex // held while they are handed in
	mu      sync.Mutex // guards what was said of messages
	list    []*madeOne
}

// madeOne is one message. What was said of it is guarded by made.mu.
type madeOne struct {
	from    string
	to      []string
	utf8    bool
	key     string
	dsn     []string
	content []byte

	id      spool.ID // 0: it was not taken
	refused string   // why; empty: it was not handed in, or was taken
}

// Handed is a message that somebody sends at the console.
type Handed struct {
	Client   Client
	Operator string // "console:NAME"
	From     string
	To       []string
	UTF8     bool     // it needs SMTPUTF8
	Key      string   // it is taken once under this one
	DSN      []string // what its sender is told of; empty: what fails
	Remark   string   // for the log
	Content  []byte
}

// compose adds a message.
func (m *made) compose(one *merge.Filled, head *overHead, hostname string) error {
	mail := *one.Mail
	mail.Domain = hostname
	if head.from.Addr != "" {
		mail.From = head.from
	}
	if len(head.to) > 0 {
		mail.To = head.to
	}
	done, err := mail.Compose()
	if err != nil {
		return errOf(len(m.list)+1, err)
	}
	if m.size += int(min(done.Size(), maxMadeSize+1)); m.size > maxMadeSize {
		return fmt.Errorf("the messages have more than %d MiB, which is too much for the console: postern send takes more", maxMadeSize>>20)
	}
	var b bytes.Buffer
	if _, err := done.WriteTo(&b); err != nil {
		return errOf(len(m.list)+1, err)
	}
	o := &madeOne{key: one.Key, dsn: one.DSN, content: b.Bytes()}
	if o.from, o.to, o.utf8 = done.Envelope(); len(o.to) > maxWriteTo {
		return errOf(len(m.list)+1, fmt.Errorf("it is to more than %d addresses", maxWriteTo))
	}
	m.list = append(m.list, o)
	return nil
}

func errOf(n int, err error) error { return fmt.Errorf("message %d: %w", n, err) }

// send hands in what was not taken yet, one after the other, and returns how many
// were taken now.
func (m *made) send(ctx context.Context, id string, h Handed, submit func(context.Context, *Handed) (spool.ID, error)) (n int) {
	m.sending.Lock() // who presses twice waits, and sends nothing
	defer m.sending.Unlock()
	for i, o := range m.list {
		if m.stateOf(i).id != 0 {
			continue
		}
		if ctx.Err() != nil {
			return n
		}
		h.From, h.To, h.UTF8, h.Key, h.DSN, h.Content = o.from, o.to, o.utf8, o.key, o.dsn, o.content
		if h.Key == "" {
			h.Key = "console/" + id + "/" + strconv.Itoa(i)
		}
		taken, err := submit(ctx, &h)
		m.mu.Lock()
		if o.id, o.refused = taken, ""; err != nil {
			o.id, o.refused = 0, err.Error()
		} else {
			n++
		}
		m.mu.Unlock()
	}
	return n
}

// stateOf is what was said of a message, from 0.
func (m *made) stateOf(i int) (state struct {
	id      spool.ID
	refused string
}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state.id, state.refused = m.list[i].id, m.list[i].refused
	return state
}

func newMadeAll() *expiring[made] {
	s := newExpiring(maxMade, madeAge, func(*made) {})
	s.single = true
	return s
}

var errMadeOver = errors.New("this is over: fill in the form again")
