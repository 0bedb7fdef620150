package spool

import (
	"context"
	"io"
	"time"
)

// ID names one accepted message for as long as anybody may ask about it. IDs
// of one spool grow strictly, also over restarts and over a clock that jumps
// back, so ID order is the order of acceptance. The zero ID names nothing.
type ID uint64

// BodyType is the BODY parameter of MAIL (RFC 6152, RFC 3030).
type BodyType string

// The body types that a client can declare; the empty one means that it
// declared nothing, which RFC 6152 §3 reads as 7BIT.
const (
	BodyUndeclared BodyType = ""
	Body7Bit       BodyType = "7BIT"
	Body8BitMIME   BodyType = "8BITMIME"
	BodyBinaryMIME BodyType = "BINARYMIME"
)

// Notify is the set of events of which a sender wants a delivery status
// notification (RFC 3461 §4.1). Zero means that the client did not say, which
// is failure and, at our discretion, delay.
type Notify uint8

// The events of RFC 3461 §4.1. NotifyNever excludes the others.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// DeliverBy is the BY parameter of MAIL (RFC 2852).
type DeliverBy struct {
	Deadline time.Time // absolute: the time of acceptance plus by-time
	Return   bool      // by-mode R: past the deadline the message is returned; false is N, the sender is told
	Trace    bool      // by-trace T
}

// Envelope is everything about a message that is not in its content. It is
// written once, when the message is accepted, and never changes afterwards.
//
// Addresses are kept in wire form: as the client sent them between < and >,
// source route removed, quotes and escapes untouched, checked against
// RFC 5321 §4.1.2, so that they can be written to the next hop byte by byte.
type Envelope struct {
	From       string // reverse-path; empty is the null reverse-path <>
	Recipients []Recipient
	Accepted   time.Time // when the final dot was read

	// ESMTP parameters that have to reach the upstream, or be answered for.
	Body       BodyType
	SMTPUTF8   bool       // RFC 6531
	RequireTLS bool       // RFC 8689
	Return     string     // RET: "FULL", "HDRS" or empty (RFC 3461 §4.3)
	EnvelopeID string     // ENVID in wire form (xtext) or empty (RFC 3461 §4.4)
	DeliverBy  *DeliverBy // nil: no deadline
	Priority   int        // MT-PRIORITY, -9 to 9, 0 is ordinary (RFC 6710)

	// What was seen of the content while it was taken in.
	Has8Bit   bool   // a byte above 127 in the content
	MessageID string // value of its Message-ID field, with angle brackets
	Auto      bool   // Auto-Submitted other than "no" (RFC 3834): never answered

	// Where it came from, for routes, logs and Received.
	Listener string // configured name of the listener; "internal" for our own DSNs
	Peer     string // "192.0.2.1:4711" or "unix:user"
	User     string // authenticated user, or empty
	UnixUser string // user name of a unix socket's peer, or empty
	Helo     string // argument of EHLO or HELO

	Hold bool // accepted on hold: not delivered until released
	// Storm is the ID of the first of the messages alike that were put on hold
	// with this one because they were too many; 0: it is none of them. It is a
	// name: there need be no such message any more.
	Storm ID

	// NotBefore is when delivery begins; zero, or not after Accepted: at once. No
	// share of the message is due before it, whatever a settlement says.
	NotBefore time.Time

	// Key, where it isn't nil, keeps the message from being accepted twice.
	Key *Key

	// Prefix is lines of a header, each with CRLF at its end, that stand before
	// the content whenever it is read: what was signed or rewritten after the
	// content had been written. At most 64 KiB, ErrInvalid beyond.
	Prefix []byte
}

// Recipient is one forward-path of an envelope with the upstreams that its
// route names.
type Recipient struct {
	Address string // forward-path in wire form
	// Upstreams are names, in failover order, of at least one upstream. They
	// are looked up at each attempt: an edited upstream applies to mail that
	// is already queued, and a vanished one defers.
	Upstreams []string
	Notify    Notify
	// ORcpt is ORCPT in wire form, "rfc822;xtext" (RFC 3461 §4.2), or empty.
	ORcpt string
	// Copy: the sender does not know of this recipient, who gets a copy because
	// the administrator wants it. Notify is NotifyNever then.
	Copy bool
	// Redirected: it gets the message in place of others, to whom a route lets no
	// mail go.
	Redirected bool
}

// Status is what has become of one recipient.
type Status uint8

// A recipient begins as Pending and ends in exactly one of the others.
const (
	Pending   Status = iota
	Delivered        // the upstream answered 2xx to the final dot
	Bounced          // failed; the DSN, where one is due, is durable
	Removed          // removed by an operator
)

// Stage is the step of a session at which an outcome arose.
type Stage uint8

// The stages in the order of a session. StageLocal is a decision of our own,
// without an upstream: a lifetime that is over, an upstream that vanished.
const (
	StageLocal   Stage = iota
	StageResolve       // looking up the host
	StageConnect       // opening the connection
	StageTLS           // STARTTLS or the handshake
	StageGreet         // banner, EHLO
	StageSignIn        // AUTH
	StageMail          // MAIL
	StageRcpt          // RCPT
	StageData          // DATA, up to the 354
	StageBody          // sending the content, before the final dot
	StageDot           // the final dot, or BDAT LAST, was sent
)

var stages = [...]string{"local", "resolve", "connect", "tls", "greet", "sign-in", "mail", "rcpt", "data", "body", "dot"}

// String is the name of the stage in lists, logs and metrics.
func (s Stage) String() string {
	if int(s) < len(stages) {
		return stages[s]
	}
	return "unknown"
}

// Outcome is what one attempt came to for one recipient: facts only. What
// they mean for the message is decided in one place, by the queue.
type Outcome struct {
	Stage    Stage
	Code     int    // reply code; 0: the upstream did not answer
	Enhanced string // enhanced status code "5.1.1"; empty: none given
	Text     string // reply text, or our own sentence; UTF-8, control bytes replaced, at most 1,000 bytes
	// Cause says why there is no answer (an error of the network, of TLS, of
	// the configuration); empty where Code is not 0.
	Cause string
	// Remote is the host and port that was talked to, "mx.example.com:587".
	Remote string
	// Unsupported means that the upstream lacks an extension that this
	// message cannot do without (8BITMIME, SMTPUTF8, REQUIRETLS, SIZE, …) and
	// that nothing was sent. Code and Enhanced hold the status to report.
	Unsupported bool
	// DSNRelayed is true where the upstream offered DSN and so took over the
	// duty to report success (RFC 3461 §5.2.2).
	DSNRelayed bool
	// ByRelayed is true where the deadline of RFC 2852 was handed on.
	ByRelayed bool
	// Verdict as the queue recorded it; Pending means deferred. Sessions
	// leave it alone.
	Verdict Status
}

// Token names one claim among all that a store has ever handed out. The zero
// Token names none.
type Token struct {
	Epoch uint64 // of the lease under which the claim was made
	Claim uint64 // number of the claim among all of the store, from 1
}

// Delivery is a claim: one message on its way to one upstream, with the
// recipients that it still owes there. Whoever holds it is its only holder
// and gives it back by exactly one Settle.
type Delivery struct {
	ID       ID
	Token    Token
	Share    int // which of the message's shares: recipients with the same Upstreams form one
	Upstream string
	Attempt  int // number of this attempt, from 1
	// Failover is the index in Upstreams of Upstream.
	Failover int
	// InDoubt means that an earlier attempt had sent its final dot and that
	// its outcome is not known: this one may make a duplicate.
	InDoubt  bool
	Warned   bool // a delay notification was already sent
	Envelope *Envelope
	// Pending are indexes into Envelope.Recipients, ascending. The holder may
	// leave some out: what it settles then says nothing about those, and they
	// are due again with the share.
	Pending []int
	Size    int64 // bytes of the content
}

// Settlement ends a claim, or changes what is known of a share.
type Settlement struct {
	// Outcomes has one entry for each of Delivery.Pending, in that order,
	// with Verdict set. Empty: the attempt did not take place (a shutdown);
	// the share is due again at Due and the attempt does not count.
	Outcomes []Outcome
	// Due is when the recipients left Pending are to be tried next.
	Due time.Time
	// Failover is the index in Upstreams to try then.
	Failover int
	// Hold puts what is left on hold.
	Hold bool
	// Kept says, with Hold, that it failed and there is nobody to tell: Due is
	// then how long it is kept.
	Kept bool
	// Warned records that a delay notification was made.
	Warned bool
	// Answered tells, where there are no Outcomes, that nothing is in doubt: a
	// final dot that went out was refused.
	Answered bool
}

// Ending is a claim and what settles it.
type Ending struct {
	Delivery   *Delivery
	Settlement Settlement
}

// Settled is what a settlement came to.
type Settled struct {
	// Over says that nothing of the message is owed any more. Of settlements of
	// several shares at a time it is told by the last one alone.
	Over bool
	// Before says that what was to be settled had been settled before, so that
	// nothing was changed. Over is then told in any case.
	Before bool
}

// Notice is a message about another one, for Notify.
type Notice struct {
	Draft    Draft
	Envelope *Envelope
}

// Draft is a message on its way in. It belongs to one goroutine. Whoever
// creates one ends it by Commit or Discard.
type Draft interface {
	// ID is the name that the message will have.
	ID() ID
	// Write adds to the content. An error is final: only Discard may follow.
	io.Writer
	// Commit makes the message durable and returns nil only then: from that
	// moment on it survives the end of the process and of the machine. After
	// an error nothing was accepted and nothing will be delivered. A context
	// that is done before Commit begins is such an error; one that ends later
	// may be overtaken by the commit, which is then answered as it is. Where
	// the answer of a store on a network was lost, it may keep the message until
	// it knows: whoever sent it sends it again, and it may go twice. It may
	// be called once, and Discard is not needed after it.
	//
	// A *Repeated: the Key of env is remembered, and the message is dropped. Of
	// several commits with the same key, also at the same moment and by several
	// relays, one succeeds; the others wait for it, and where it fails for the
	// next. ErrManyKeys: the key can't be remembered.
	Commit(ctx context.Context, env *Envelope) error
	// Discard drops the message. It does nothing after Commit.
	Discard()
}

// Content is the content of a message (header and body, CRLF line ends, no
// dot-stuffing), behind the Prefix of its envelope. It stays readable after the message was settled, until
// closed. It may be read by several at once.
type Content interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Summary is what is known of a share without reading the disk.
type Summary struct {
	ID       ID
	Share    int
	Accepted time.Time
	// NotBefore is that of the envelope; zero where it isn't after Accepted.
	NotBefore time.Time
	Size      int64 // bytes of the content
	// Upstreams is the failover list of the share; shared, never to be changed.
	Upstreams []string
	Failover  int // index in Upstreams of the one to be tried next
	Pending   int // recipients still owed
	Attempts  int
	Due       time.Time
	Deadline  time.Time // of RFC 2852; zero: none
	Priority  int
	Held      bool
	Kept      bool // held because it failed, until Due
	Claimed   bool // an attempt is under way
	InDoubt   bool
	Warned    bool
}

// Begins is from when on the age of a share counts.
func (s *Summary) Begins() time.Time {
	if s.NotBefore.IsZero() {
		return s.Accepted
	}
	return s.NotBefore
}

// Begins is from when on the age of a message counts.
func (e *Envelope) Begins() time.Time {
	if e.NotBefore.After(e.Accepted) {
		return e.NotBefore
	}
	return e.Accepted
}

// Detail is everything that the spool knows about one message.
type Detail struct {
	ID       ID
	Size     int64 // bytes of the content
	Envelope *Envelope
	// Recipients runs parallel to Envelope.Recipients.
	Recipients []RecipientState
}

// RecipientState is what has become of one recipient so far.
type RecipientState struct {
	Status   Status
	Share    int
	Upstream string // the one to be tried next, or the one that ended it
	Attempts int
	Due      time.Time // zero once it ended
	Held     bool
	Kept     bool // held because it failed, until Due
	InDoubt  bool
	Warned   bool     // a delay notification was made
	Last     *Outcome // nil: never tried
	LastAt   time.Time
}

// Fault is an error that ends or prevents a session with an upstream: it is
// about the upstream, not about any message.
type Fault struct {
	Outcome Outcome // the facts; Stage is never StageRcpt or later
	Err     error   // cause, may be nil
}

func (f *Fault) Error() string {
	s := "upstream " + f.Outcome.Remote + ": " + f.Outcome.Text
	if f.Outcome.Cause != "" {
		s += ": " + f.Outcome.Cause
	}
	return s
}

func (f *Fault) Unwrap() error { return f.Err }
