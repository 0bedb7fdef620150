package submission

import (
	"errors"
	"net/textproto"
	"slices"

	"postern/config"
	"postern/config/wire"
	"postern/relay/route"
	"postern/spool"
)

// copyTo notes who gets a copy by the route of a recipient.
func (m *Message) copyTo(list []string) {
	for _, to := range list {
		if !slices.Contains(m.archive, to) {
			m.archive = append(m.archive, to)
		}
	}
}

// addCopies adds those who get a copy because the administrator wants one, as
// recipients of the message: they are as durable as it. The sender's limits and
// rates don't count them, and the header is written already.
func (m *Message) addCopies(header []byte) *Refusal {
	h := wire.Values(header, m.policy.routes.Fields())
	var by []string
	if len(m.env.Recipients) > 0 {
		by = m.env.Recipients[0].Upstreams
	}
	for _, list := range [][]string{m.policy.archive, m.archive} {
		for _, name := range list {
			addresses, r := m.archived(name)
			if r != nil {
				return r
			}
			for _, to := range addresses {
				if r := m.addCopy(to, h, by); r != nil {
					return r
				}
			}
		}
	}
	return nil
}

// archived are the addresses that a name or an address stands for.
func (m *Message) archived(name string) ([]string, *Refusal) {
	if m.policy.names.Local(name) {
		x, refusal := m.expand(name, maxNotified)
		if refusal != nil {
			return nil, unarchived(refusal)
		}
		if x != nil {
			return x.Addresses, nil
		}
	}
	address, _ := m.policy.names.Complete(name)
	return []string{address}, nil
}

// unarchived is the refusal of a message because of a name of the administrator:
// its client can mend nothing, so it is temporary.
func unarchived(r *Refusal) *Refusal {
	out := trouble(errors.New("the archive: " + r.Sentence))
	if r.Cause != nil {
		out.Cause = r.Cause
	}
	return out
}

// addCopy adds one, unless it is a recipient. Routes are asked as for the
// recipients of the sender, and so staging holds for it as well. Where no route
// takes it, it goes by the upstreams by.
func (m *Message) addCopy(to string, h textproto.MIMEHeader, by []string) *Refusal {
	if m.repeated(to) {
		return nil
	}
	q := m.client.query(m.env.From, to)
	q.Header = h
	d := route.Own(m.policy.routes, q, by)
	if !d.Matched {
		d.Instead = config.OtherwiseRefuse
	}
	if d.Instead != "" {
		one := diversionOf(to, &d)
		one.copy = true
		m.diverted = append(m.diverted, one)
	}
	if !d.Matched {
		return nil
	}
	m.env.SMTPUTF8 = m.env.SMTPUTF8 || !wire.IsASCII(to)
	for _, r := range m.place(nil, spool.Recipient{Address: to, Upstreams: d.Upstreams}, &d) {
		r.Notify, r.Copy = spool.NotifyNever, true
		if !m.hold(weight(&r)) {
			return noMemory
		}
		m.keep(&r)
		m.copies++
	}
	return nil
}

// beginFile begins the copy in a folder. Its envelope is that of the message:
// copies for others are not in it, recipients whose mail is dropped are.
func (m *Message) beginFile() *Refusal {
	var to []string
	for _, r := range m.env.Recipients[:len(m.env.Recipients)-m.copies] {
		to = append(to, r.Address)
	}
	for _, v := range m.diverted {
		if v.instead == config.OtherwiseDrop && !v.copy {
			to = append(to, v.to)
		}
	}
	x, err := m.policy.folder.Create(m.draft.ID(), m.begun, m.env.From, to)
	if err != nil {
		return trouble(err)
	}
	m.file = x
	return nil
}

// filed says that the copy in a folder stays.
func (m *Message) filed() {
	if m.file != nil {
		m.file.Done()
		m.file = nil
	}
}
