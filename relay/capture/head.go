package capture

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"postern/config/wire"
	"postern/relay/letter"
)

const (
	// maxHead is how many bytes of a message are read for its Head.
	maxHead = 32 << 10
	// maxPrefix is how many the fields of an Envelope may have.
	maxPrefix = 1 << 20
	// maxText is how many bytes of a field a Head has.
	maxText = 200
	// shownRecipients is how many recipients a Head has.
	shownRecipients = 3
)

// Head is what a list shows of a message. Its texts are decoded, on one line and
// harmless, and may be cut.
type Head struct {
	At       time.Time // when it was captured
	Size     int64     // bytes of the file
	Sender   string    // reverse-path
	To       []string  // the first recipients of the envelope
	More     int       // further ones, as far as they were read
	Upstream string    // that it was meant for
	From     string
	Subject  string
}

// Head reads what a list shows of a message. ErrGone: it is not there any more.
func (b *Box) Head(k *Kept) (*Head, error) {
	if h := k.head.Load(); h != nil {
		return h, nil
	}
	f, err := b.Open(k)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxHead))
	if err != nil {
		return nil, err
	}
	h := headOf(text)
	h.Size, h.At = info.Size(), k.At
	if h.At.IsZero() {
		h.At = info.ModTime()
	}
	b.keep(k, h)
	return h, nil
}

// keep remembers a head; where there are too many, the others are forgotten.
func (b *Box) keep(k *Kept, h *Head) {
	if b.heads.Add(1) > maxHeads {
		b.mu.Lock()
		for _, other := range b.kept {
			other.head.Store(nil)
		}
		b.mu.Unlock()
		b.heads.Store(1)
	}
	k.head.Store(h)
}

func headOf(text []byte) *Head {
	env, n, _ := prefixOf(text)
	h := &Head{Sender: env.From, To: env.To, Upstream: env.Upstream}
	if len(h.To) > shownRecipients {
		h.More = len(h.To) - shownRecipients
		h.To = append([]string(nil), h.To[:shownRecipients]...)
	}
	end, _, _ := wire.HeaderEnd(text[n:], 0)
	wire.EachField(text[n:n+end], func(name, value []byte, _, _ int) {
		switch place := map[string]*string{"from": &h.From, "subject": &h.Subject}[strings.ToLower(string(name))]; {
		case place != nil && *place == "":
			*place = strings.Clone(wire.Abridged(letter.Decode(value), maxText, "…"))
		}
	})
	return h
}

// Envelope is what a message was captured with.
type Envelope struct {
	From     string
	To       []string
	Upstream string
}

// errNoEnvelope is the error of a file that another program has written.
var errNoEnvelope = errors.New("it has no envelope: it was not captured, or was changed since")

// Whole opens a message as it came: its envelope, and where in the file its content
// begins. Whoever calls it closes the file. ErrGone: it is not there any more.
func (b *Box) Whole(k *Kept) (f *os.File, env *Envelope, begins int64, err error) {
	if f, err = b.Open(k); err != nil {
		return nil, nil, 0, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPrefix))
	if err != nil {
		f.Close()
		return nil, nil, 0, err
	}
	e, n, err := prefixOf(text)
	if err != nil {
		f.Close()
		return nil, nil, 0, err
	}
	return f, e, int64(n), nil
}

// prefixOf is the envelope that the server writes in front of a message, as far as
// it is there, and its length in bytes.
func prefixOf(text []byte) (env *Envelope, length int, err error) {
	env, rest := &Envelope{}, text
	next := func(name string) (value string, ok bool) {
		after, ok := bytes.CutPrefix(rest, []byte(name+": "))
		n := bytes.Index(after, []byte("\r\n"))
		if !ok || n < 0 {
			return "", false
		}
		rest = after[n+2:]
		return wire.Line(string(after[:n])), true
	}
	from, ok := next("Return-Path")
	if !ok {
		return env, 0, errNoEnvelope
	}
	env.From = strings.TrimSuffix(strings.TrimPrefix(from, "<"), ">")
	for to, ok := next("Delivered-To"); ok; to, ok = next("Delivered-To") {
		env.To = append(env.To, to)
	}
	if env.Upstream, ok = next("X-Postern-Upstream"); !ok {
		return env, 0, errNoEnvelope
	}
	return env, len(text) - len(rest), nil
}
