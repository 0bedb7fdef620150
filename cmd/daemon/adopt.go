package daemon

import (
	"context"
	"fmt"
	"io"
	"net/textproto"
	"slices"

	"postern/relay/route"
	"postern/spool"
)

// Adopt makes a message of another relay's spool durable here. Recipients whose
// upstreams are all unknown here are routed anew; where no route takes them, they
// wait for what they were to go by.
func (d *daemon) Adopt(ctx context.Context, m *spool.Detail, content io.Reader, operator string) (spool.ID, error) {
	if m.Envelope.Key != nil {
		if err := d.store.Known(ctx, m.Envelope.Key); err != nil {
			return 0, err // before the content is read
		}
	}
	st := d.state.Load()
	for i := range m.Envelope.Recipients {
		r := &m.Envelope.Recipients[i]
		known := func(name string) bool { return st.cfg.Upstreams[name] != nil }
		if slices.ContainsFunc(r.Upstreams, known) {
			continue
		}
		e := m.Envelope
		q := route.Query{From: e.From, To: r.Address, Listener: e.Listener, User: e.User, UnixUser: e.UnixUser, Header: textproto.MIMEHeader{}}
		if anew := st.routes.Recipient(q).Upstreams; len(anew) > 0 {
			r.Upstreams = anew
		}
	}
	draft, err := d.store.Create(ctx)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(draft, content)
	if want := m.Size - int64(len(m.Envelope.Prefix)); err == nil && n != want {
		err = fmt.Errorf("%w: %d bytes of content, and not %d", spool.ErrInvalid, n, want)
	}
	if err != nil {
		draft.Discard()
		return 0, err
	}
	old := m.ID
	if err := d.store.Adopt(ctx, draft, m); err != nil {
		return 0, err
	}
	d.events.Adopted(draft.ID(), old, m.Envelope, operator)
	return draft.ID(), nil
}
