package daemon

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"time"

	"postern/cmd/console"
	"postern/config"
	"postern/config/wire"
	"postern/spool"
)

const (
	// releasedOnce is how long a captured message is not sent on again by the same
	// upstream.
	releasedOnce = 7 * 24 * time.Hour
	// maxReleasedHeader is how much of a message is looked at for its header.
	maxReleasedHeader = 256 << 10
)

// release makes a captured message one of the queue, for an upstream that mail
// leaves the machine by. It asks no route and no rule about senders: an operator
// decides. A *spool.Repeated: it was released to that upstream before.
func (d *daemon) release(ctx context.Context, r *console.Release) (spool.ID, error) {
	up := d.state.Load().cfg.Upstreams[r.Upstream]
	if up == nil || up.Provider == config.CaptureProvider {
		return 0, fmt.Errorf("there is no upstream %s that mail leaves the machine by", wire.Line(r.Upstream))
	}
	env := &spool.Envelope{
		From: r.From, Accepted: time.Now(), Listener: config.ConsoleListener, Peer: r.Client.Peer, User: r.Operator,
		Key: &spool.Key{Name: spool.NameKey("captured", r.Upstream+" "+r.Name), Until: time.Now().Add(releasedOnce)},
	}
	for _, address := range append([]string{r.From}, r.To...) {
		if !deliverable(address) {
			return 0, fmt.Errorf("%s is no address", wire.Quote(address))
		}
		env.SMTPUTF8 = env.SMTPUTF8 || !wire.IsASCII(address)
	}
	for _, to := range r.To {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: to, Upstreams: []string{r.Upstream}})
	}
	if len(env.Recipients) == 0 {
		return 0, errors.New("it has no recipients")
	}
	if err := d.queue.Known(ctx, env.Key); err != nil {
		return 0, err // before the content is read
	}
	draft, err := d.queue.Create(ctx)
	if err != nil {
		return 0, err
	}
	content := &seen{env: env}
	if _, err = io.Copy(draft, io.TeeReader(bufio.NewReaderSize(r.Content, 64<<10), content)); err == nil {
		err = content.end()
	}
	if err != nil {
		draft.Discard()
		return 0, err
	}
	if err := draft.Commit(ctx, env); err != nil {
		return 0, err
	}
	return draft.ID(), nil
}

// deliverable tells whether an address can stand in an envelope; the null
// reverse-path can.
func deliverable(address string) bool {
	if address == "" {
		return true
	}
	fault := wire.CheckMailbox(address, true)
	return fault == wire.NoFault || fault == wire.NoDomain
}

// seen looks at content on its way into the spool, and notes in the envelope what
// an upstream has to know of it.
type seen struct {
	env    *spool.Envelope
	header []byte // the beginning
	last   byte
	bare   bool // a CR or LF by itself
}

func (s *seen) Write(p []byte) (int, error) {
	if room := maxReleasedHeader - len(s.header); room > 0 {
		s.header = append(s.header, p[:min(room, len(p))]...)
	}
	for _, c := range p {
		switch {
		case c > 127:
			s.env.Has8Bit = true
		case c == 0:
			s.bare = true
		}
		if (c == '\n') != (s.last == '\r') {
			s.bare = true
		}
		s.last = c
	}
	return len(p), nil
}

func (s *seen) end() error {
	if s.bare || s.last != '\n' {
		return errors.New("it is not made of lines that end in CRLF, as mail has to be")
	}
	if s.env.Has8Bit {
		s.env.Body = spool.Body8BitMIME
	}
	end, _, _ := wire.HeaderEnd(s.header, 0)
	header := s.header[:end]
	s.env.SMTPUTF8 = s.env.SMTPUTF8 || !wire.IsASCII(header) // RFC 6532
	wire.EachField(header, func(name, value []byte, _, _ int) {
		switch textproto.CanonicalMIMEHeaderKey(string(name)) {
		case "Message-Id":
			s.env.MessageID = wire.MessageID(value)
		case "Auto-Submitted":
			s.env.Auto = !bytes.EqualFold(bytes.TrimSpace(value), []byte("no"))
		}
	})
	return nil
}
