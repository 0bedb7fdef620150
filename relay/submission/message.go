package submission

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"postern/relay/archive"
	"postern/relay/route"
	"postern/relay/storm"
	"postern/spool"
)

// Message is one message on its way in. It belongs to one goroutine. Whoever
// begins one ends it by Commit or Discard.
//
// It is the writer that the content goes through on its way to the draft: it
// holds the header back until that is whole, decides by it, and then lets
// everything pass.
type Message struct {
	agent  *Agent
	policy *Policy // as of Begin
	client *Client
	draft  spool.Draft // nil: it has ended
	env    *spool.Envelope
	begun  time.Time

	protocol string
	name     string              // of Envelope
	remark   string              // the same
	written  time.Time           // the same
	seen     map[string]struct{} // recipients, once there are several
	count    int                 // of recipients, with those that were repeated
	late     bool                // some recipient waits for the header
	looked   int32               // milliseconds that address books were asked
	diverted []diversion         // recipients that a route does not let mail go to
	archive  []string            // who gets a copy by the routes of recipients
	copies   int                 // of the recipients, at the end of them
	file     *archive.File       // a copy; nil: none is wanted, or it has ended
	priority *int                // the highest that a route of a recipient sets; nil: none does
	holding  holding             // memory
	first    spool.ID            // of the message with the same key that was taken before; 0: none
	reserved bool                // the key, for this message
	like     *storm.Mail         // what it may be one too many of; nil: that is not counted

	inBody  bool
	led     bool   // skip is known
	held    []byte // the header, where it did not come in one piece
	lines   int    // how far held was looked at: the start of a line
	skip    int    // octets before the header that are dropped; until led, how far they were looked at
	size    int64  // octets from the client
	drafted int    // octets that the draft may hold in memory

	err      *Refusal // final
	accepted Accepted // what is told of it, kept here for the event
}

// TooMany refuses more recipients than a message may have.
var TooMany = refuse(452, 5, 3, "too many recipients")

var (
	signInFirst  = refuse(530, 7, 0, "sign in first")             // RFC 4954 §6
	noRecipients = refuse(554, 5, 1, "no recipient was accepted") // RFC 5321 §3.3
	tooLate      = refuse(503, 5, 1, "recipients come before the content")
	ended        = refuse(503, 5, 1, "the message has ended")
	errNoPolicy  = errors.New("there are no routes yet")
)

// Begin begins a message of c, which is read until the message ends and is
// not changed meanwhile. ctx bounds how long the store is waited for. Where the
// message is Repeated, nothing more of it has to be handed in before Commit.
func (a *Agent) Begin(ctx context.Context, c *Client, e Envelope) (*Message, error) {
	p := a.policy.Load()
	from, complete := p.sender(e.From)
	m := &Message{
		agent: a, policy: p, client: c, begun: time.Now(), protocol: e.Protocol,
		name: e.Name, remark: e.Remark, written: e.Written,
		env: &spool.Envelope{
			From:       from,
			Body:       e.Body,
			SMTPUTF8:   e.SMTPUTF8,
			RequireTLS: e.RequireTLS,
			Return:     e.Return,
			EnvelopeID: e.EnvelopeID,
			DeliverBy:  e.DeliverBy,
			NotBefore:  e.NotBefore,
			Priority:   min(e.Priority, c.Settings.MaxPriority),
			Listener:   c.Listener,
			Peer:       c.Peer,
			User:       c.User,
			UnixUser:   c.UnixUser,
			Helo:       c.Helo,
		},
	}
	r := e.delay(m.begun)
	if r == nil {
		r = a.admit(p, c, from, complete)
	}
	if r == nil && e.Key != "" {
		r = m.beginKey(ctx, &e)
	}
	if r == nil && m.first == 0 {
		var err error
		if m.draft, err = a.accept.Create(ctx); err != nil {
			r = trouble(err)
		}
	}
	if r != nil {
		m.end()
		a.Refuse(c, AtSender, from, r)
		return nil, r
	}
	return m, nil
}

// admit decides about a sender. complete is that it has a domain.
func (a *Agent) admit(p *Policy, c *Client, from string, complete bool) *Refusal {
	if c.Settings.RequireUser && c.User == "" {
		return signInFirst
	}
	if p == nil {
		return trouble(errNoPolicy)
	}
	if !complete {
		return NeedsDomain(from, true)
	}
	if r := p.refusal(c, from); r != nil {
		return r
	}
	return a.overRate(c, messages)
}

// Add adds recipients. Each is refused by itself: where one is, those before
// it were added, and others may still be.
func (m *Message) Add(to ...Recipient) error {
	for i := range to {
		if r := m.add(&to[i]); r != nil {
			r = r.of(to[i].Address)
			m.agent.Refuse(m.client, AtRecipient, m.env.From, r)
			return r
		}
	}
	return nil
}

func (m *Message) add(to *Recipient) *Refusal {
	switch {
	case m.first != 0:
		return nil
	case m.draft == nil:
		return ended
	case m.size > 0:
		return tooLate
	case m.count >= m.client.Settings.MaxRecipients:
		return TooMany // RFC 5321 §4.5.3.1.10
	}
	if m.policy.names.Local(to.Address) {
		if x, refusal := m.expand(to.Address, m.client.Settings.MaxRecipients); x != nil || refusal != nil {
			return m.addAll(to, x, refusal)
		}
	}
	address, complete := m.policy.names.Complete(to.Address)
	if !complete || len(address) != len(to.Address) {
		if x, refusal := m.called(to.Address); x != nil || refusal != nil {
			return m.addAll(to, x, refusal)
		}
	}
	if !complete && !strings.EqualFold(address, "postmaster") { // RFC 5321 §4.5.1 has none there
		return NeedsDomain(address, false)
	}
	if m.repeated(address) {
		m.count++
		return nil // it is delivered once, as Postfix does
	}
	r, d, refusal := m.route(address)
	if refusal != nil {
		return refusal
	}
	r.Notify, r.ORcpt = to.Notify, to.ORcpt
	if d.Instead != "" {
		return m.addDiverted(r, &d)
	}
	if refusal := m.agent.overRate(m.client, recipients); refusal != nil {
		return refusal
	}
	if !m.hold(weight(&r)) {
		return noMemory
	}
	m.keep(&r)
	m.copyTo(d.Archive)
	return nil
}

// route finds the way of a recipient, as far as it is known before the header.
func (m *Message) route(address string) (spool.Recipient, route.Decision, *Refusal) {
	d := m.policy.routes.Recipient(m.client.query(m.env.From, address))
	switch {
	case d.Reject != "":
		return spool.Recipient{}, d, forbid(d.Reject)
	case !d.Matched && !d.NeedsHeader:
		return spool.Recipient{}, d, forbid("<" + address + "> no route maps this recipient; `postern explain` shows why")
	}
	m.late = m.late || !d.Matched
	m.raise(d.Priority)
	m.watch(&d)
	return spool.Recipient{Address: address, Upstreams: d.Upstreams}, d, nil
}

// keep adds a recipient that the message does not have.
func (m *Message) keep(r *spool.Recipient) {
	m.env.Recipients = append(m.env.Recipients, *r)
	m.count++
	if m.seen != nil {
		m.seen[foldDomain(r.Address)] = struct{}{}
	}
}

// watch notes a route that is to take mail now and then.
func (m *Message) watch(d *route.Decision) {
	if d.Watched && !slices.Contains(m.accepted.Watched, d.Route) {
		m.accepted.Watched = append(m.accepted.Watched, d.Route)
	}
}

// raise notes the priority that a route sets, which counts for the message as
// a whole. RFC 6710 §4.1 leaves it to us to set one.
func (m *Message) raise(priority *int) {
	if priority != nil && (m.priority == nil || *priority > *m.priority) {
		m.priority = priority
	}
}

// repeated tells whether the message has the recipient already. Domains are
// the same in capitals (RFC 5321 §2.4); what stands before them is for its own
// domain to compare.
func (m *Message) repeated(to string) bool {
	to = foldDomain(to)
	if m.seen != nil {
		_, ok := m.seen[to]
		return ok
	}
	for i := range m.env.Recipients {
		if foldDomain(m.env.Recipients[i].Address) == to {
			return true
		}
	}
	if n := len(m.env.Recipients); n >= 16 {
		m.seen = make(map[string]struct{}, 4*n)
		for i := range m.env.Recipients {
			m.seen[foldDomain(m.env.Recipients[i].Address)] = struct{}{}
		}
	}
	return false
}

// foldDomain is addr with its domain in lower case; without a capital letter
// it is addr itself.
func foldDomain(addr string) string {
	at := strings.LastIndexByte(addr, '@') + 1
	return addr[:at] + strings.ToLower(addr[at:])
}

// Commit ends the content and makes the message durable. It returns nil only
// then: from that moment on the message survives the end of the process and of
// the machine. After an error nothing was accepted. Where the message is
// Repeated, the ID is that of the first one, and nothing is kept of this one.
//
// The caller vouches that the content was written to its end.
func (m *Message) Commit(ctx context.Context) (spool.ID, error) {
	if m.first != 0 && m.err == nil {
		return m.again()
	}
	if r := m.finish(); r != nil {
		return 0, r
	}
	m.env.Accepted = time.Now()
	if m.priority != nil {
		m.env.Priority = *m.priority
	}
	if m.env.Key != nil {
		m.env.Key.Until = m.env.Accepted.Add(m.policy.remember)
	}
	if m.file != nil {
		place, err := m.file.Keep()
		if err != nil {
			return 0, m.fail(trouble(err))
		}
		m.accepted.Archived = place
	}
	d := m.draft
	id := d.ID()
	if len(m.env.Recipients) == 0 { // all were dropped
		m.err = ended
		m.filed()
		m.end()
		m.tell(id)
		return id, nil
	}
	m.guard(id)
	m.draft, m.err = nil, ended // whatever Commit answers
	if err := d.Commit(ctx, m.env); err != nil {
		m.unguard()
		if r := m.repeats(err); r != nil {
			return 0, m.fail(r)
		}
		return m.again()
	}
	m.guarded(id)
	m.filed()
	m.end()
	m.tell(id)
	return id, nil
}

// Repeated tells that a message with the same key was taken before: from Begin
// on where that had the key, else after Commit.
func (m *Message) Repeated() bool { return m.first != 0 }

// tell tells that the message was accepted.
func (m *Message) tell(id spool.ID) {
	m.accepted = Accepted{
		Client: m.client, ID: id, From: m.env.From, Recipients: len(m.env.Recipients) - m.copies, Copies: m.copies, Size: m.size,
		MessageID: m.env.MessageID, Took: time.Since(m.begun), Repeated: m.Repeated(),
		Remark: m.remark, Written: m.written, Archived: m.accepted.Archived, Watched: m.accepted.Watched, Storm: m.env.Storm,
	}
	m.agent.events(&m.accepted)
	if len(m.diverted) > 0 {
		m.tellDiverted(id)
	}
}

// Discard ends the message; nothing of it is kept. It does nothing where the
// message has ended.
func (m *Message) Discard() {
	if m.err == nil {
		m.err = ended
	}
	m.end()
}

// fail ends the message by a refusal, and tells of it.
func (m *Message) fail(r *Refusal) *Refusal {
	m.err = r
	m.end()
	m.agent.Refuse(m.client, AtContent, m.env.From, r)
	return r
}

// end gives back what the message holds.
func (m *Message) end() {
	m.held = nil
	if m.file != nil {
		m.file.Close()
		m.file, m.accepted.Archived = nil, ""
	}
	m.unreserve()
	m.holding.end(m.agent.memory, m.client.connection)
	if d := m.draft; d != nil {
		m.draft = nil
		d.Discard()
	}
}
