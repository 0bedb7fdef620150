package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"postern/spool"
)

const (
	// windowCommands and windowBytes bound what is sent ahead of the replies,
	// so that neither side ever waits with full buffers for the other
	// (RFC 2920 §3.1).
	windowCommands = 100
	windowBytes    = 8 << 10
)

// What a round of an honest upstream may take as a whole: RFC 5321 §4.5.3.2
// gives each command minutes, and a thousand of them would be days. Each of
// its two halves has twice the limit of one wait, and as much more as there is
// to do.
const (
	// timeForRecipient is for each recipient: some upstreams hold back each of
	// their replies to who sends much.
	timeForRecipient = 10 * time.Second
	// leastRate is in bytes of content a second: about what ten connections have
	// of a line with 100 kbit/s.
	leastRate = 1 << 10
)

// forCommands bounds the commands of a round with so many recipients, and their
// replies.
func (l *limits) forCommands(recipients int) time.Duration {
	return 2*l.command + time.Duration(recipients)*timeForRecipient
}

// forMessage bounds how long a message may have taken before another round of it
// begins: what is left of its recipients comes again.
func (l *limits) forMessage(tx *transaction) time.Duration {
	return l.forCommands(len(tx.d.Pending)) + l.forContent(tx.form.Content.Size())
}

// forContent bounds the sending of so many bytes, without the answer to the
// final dot.
func (l *limits) forContent(size int64) time.Duration {
	return 2*l.data + time.Duration(size/leastRate)*time.Second
}

// transaction is one message on its way. Its storage is used again for the
// next but one.
type transaction struct {
	d        *spool.Delivery
	form     Form // Content is nil once it is closed
	needs    demands
	outcomes []spool.Outcome // one for each of d.Pending
	known    []bool          // parallel to outcomes: it is final
	dry      bool            // a rehearsal: DATA is not to follow
	begun    time.Time       // when its first round began; zero: it did not yet

	// The round under way. A message to more recipients than the upstream
	// takes at once has several.
	todo     []int // positions in d.Pending
	rest     []int // positions left for the next round
	reset    bool  // RSET comes first
	sent     int   // commands written
	replied  int   // replies to them
	mailed   bool  // MAIL was accepted
	refused  bool  // MAIL was refused
	accepted int   // recipients
	proceed  bool  // 354
}

// The commands of a round, in the order in which they go out.
type step int

const (
	stepReset step = iota
	stepMail
	stepRcpt
	stepData
)

// total is the number of commands of the round. BDAT is none of them: it
// can't be sent before it is known that somebody wants it.
func (tx *transaction) total() int {
	n := 1 + len(tx.todo)
	if tx.reset {
		n++
	}
	if !tx.needs.binary && !tx.dry {
		n++
	}
	return n
}

// at is the k-th command of the round, and its position in todo.
func (tx *transaction) at(k int) (step, int) {
	if tx.reset {
		k--
	}
	switch {
	case k < 0:
		return stepReset, 0
	case k == 0:
		return stepMail, 0
	case k <= len(tx.todo):
		return stepRcpt, k - 1
	}
	return stepData, 0
}

func (tx *transaction) rcpt(pos int) *spool.Recipient {
	return &tx.d.Envelope.Recipients[tx.d.Pending[pos]]
}

// decide records the outcome of one recipient.
func (tx *transaction) decide(pos int, o *spool.Outcome) {
	tx.outcomes[pos], tx.known[pos] = *o, true
}

// decideAll records the outcome of everybody who has none.
func (tx *transaction) decideAll(o *spool.Outcome) {
	for pos, known := range tx.known {
		if !known {
			tx.decide(pos, o)
		}
	}
}

// decideRound records the outcome of those of this round who have none.
func (tx *transaction) decideRound(o *spool.Outcome) {
	for _, pos := range tx.todo {
		if !tx.known[pos] {
			tx.decide(pos, o)
		}
	}
}

// prepare makes tx the transaction of d. False: d is settled already, because
// it can't be carried to this upstream, and nothing was sent.
func (s *session) prepare(tx *transaction, d *spool.Delivery) bool {
	*tx = transaction{
		d: d, outcomes: make([]spool.Outcome, len(d.Pending)),
		known: append(tx.known[:0], make([]bool, len(d.Pending))...),
		todo:  tx.todo[:0], rest: tx.rest[:0],
	}
	content, err := s.feed.Content(d)
	if err != nil {
		tx.decideAll(&spool.Outcome{Text: "the message could not be read from the spool", Cause: describe(err)})
		s.settle(tx)
		return false
	}
	tx.form = Form{Upstream: s.up, Delivery: d, SevenBit: !s.ext.eightBit, NoUTF8: d.Envelope.SMTPUTF8 && !s.ext.smtpUTF8, From: d.Envelope.From, Content: content, EightBit: d.Envelope.Has8Bit}
	all := s.form(tx)
	if all == nil {
		all = s.check(tx)
	}
	for pos := range d.Pending {
		o := s.usable(tx, tx.rcpt(pos)) // what is about the address says more than what is about the message
		if o == nil {
			o = all
		}
		if o != nil {
			tx.decide(pos, o)
			continue
		}
		tx.rest = append(tx.rest, pos)
	}
	if !s.nextRound(tx) {
		s.settle(tx)
		return false
	}
	return true
}

// nextRound moves what is left into a new round. False: nothing is.
func (s *session) nextRound(tx *transaction) bool {
	n := len(tx.rest)
	if s.ext.maxRcpt > 0 {
		n = min(n, s.ext.maxRcpt) // RFC 9422 §4.2
	}
	tx.todo = append(tx.todo[:0], tx.rest[:n]...)
	tx.rest = append(tx.rest[:0], tx.rest[n:]...)
	for _, pos := range tx.todo {
		tx.known[pos] = false
	}
	tx.reset, s.dirty = s.dirty, false
	tx.sent, tx.replied, tx.accepted = 0, 0, 0
	tx.mailed, tx.refused, tx.proceed = false, false, false
	return n > 0
}

// carry takes tx to its end and settles it. Where next is not nil, a message
// that is due by then begins behind its final dot; chained tells that.
func (s *session) carry(ctx context.Context, tx, next *transaction) (chained bool, _ *broken) {
	for {
		b := s.converse(tx)
		if b == nil {
			chained, b = s.content(tx, next)
		}
		if b != nil {
			if chained {
				s.giveBack(next) // nothing of it was answered
			}
			return false, s.abandon(tx, b)
		}
		if len(tx.rest) == 0 || ctx.Err() != nil || s.exhausted() {
			break
		}
		if !s.feed.Again(tx.d) || time.Since(tx.begun) > s.limits.forMessage(tx) {
			tx.leaveOut()
			break
		}
		s.nextRound(tx)
	}
	// Left over where the session has to end between two rounds.
	tx.decideAll(&spool.Outcome{
		Stage: spool.StageRcpt, Text: "not tried yet", Cause: "the session ended before the turn of this recipient",
	})
	s.settle(tx)
	return chained, nil
}

// leaveOut takes the recipients that are left out of the delivery, which is
// then settled without them.
func (tx *transaction) leaveOut() {
	pending, outcomes, known := []int{}, tx.outcomes[:0], tx.known[:0]
	for pos, n := range tx.d.Pending {
		if !slices.Contains(tx.rest, pos) {
			pending, outcomes, known = append(pending, n), append(outcomes, tx.outcomes[pos]), append(known, tx.known[pos])
		}
	}
	tx.d.Pending, tx.outcomes, tx.known, tx.rest = pending, outcomes, known, tx.rest[:0]
}

// converse sends the commands of a round and takes their replies, until
// either the content or nothing is to follow.
func (s *session) converse(tx *transaction) *broken {
	s.whole = within(s.limits.forCommands(len(tx.todo)))
	defer func() { s.whole = whole{} }()
	if tx.begun.IsZero() {
		tx.begun = time.Now()
	}
	for {
		s.fill(tx)
		if err := s.flush(s.limits.command); err != nil {
			return s.silence(tx, err)
		}
		if tx.replied == tx.sent {
			break
		}
		r, err := s.read(s.limits.command)
		if err != nil {
			return s.silence(tx, err)
		}
		if b := s.apply(tx, &r); b != nil {
			return b
		}
	}
	s.dirty = tx.mailed && !tx.proceed
	if !s.quiet() {
		b := lost(spool.StageData, "the dialogue is out of step", protocolError("more replies than commands"))
		b.astray = true
		return b
	}
	return nil
}

// fill writes commands as far as the window allows. It waits until half of
// the window is free, so that the rest goes out in large pieces.
func (s *session) fill(tx *transaction) {
	window := 1
	if s.ext.pipelining {
		window = windowCommands
	}
	if (tx.sent-tx.replied)*2 > window {
		return
	}
	for base := len(s.out); tx.sent < tx.total() && tx.sent-tx.replied < window && len(s.out)-base < windowBytes; tx.sent++ {
		step, i := tx.at(tx.sent)
		if tx.refused || step == stepData && tx.sent == tx.replied && tx.accepted == 0 {
			return // nobody is left to send it to
		}
		switch step {
		case stepReset:
			s.out = append(s.out, "RSET\r\n"...)
		case stepMail:
			s.mails++
			s.out = s.appendMail(s.out, tx)
		case stepRcpt:
			s.out = s.appendRcpt(s.out, tx.rcpt(tx.todo[i]))
		case stepData:
			s.out = append(s.out, "DATA\r\n"...)
		}
	}
}

// apply takes one reply for the command that it answers. An error ends the
// session.
func (s *session) apply(tx *transaction, r *reply) *broken {
	step, i := tx.at(tx.replied)
	stage := [...]spool.Stage{spool.StageMail, spool.StageMail, spool.StageRcpt, spool.StageData}[step]
	if s.rushed(tx, step, r) {
		b := answered(stage, r)
		b.stalled, b.rushed = true, true
		s.goPlain(b)
		return b
	}
	if r.code == 421 || !plausible(step, r.code) {
		return answered(stage, r)
	}
	tx.replied++
	switch step {
	case stepReset:
		if !r.positive() {
			return answered(stage, r)
		}
	case stepMail:
		tx.mailed, tx.refused = r.positive(), !r.positive()
		if tx.refused {
			o := outcomeOf(stage, r)
			tx.decideAll(&o)
			tx.rest = tx.rest[:0]
		}
	case stepRcpt:
		if !tx.refused { // else it says no more than that there was no MAIL
			tx.applyRcpt(tx.todo[i], r)
		}
	case stepData:
		if tx.proceed = r.code/100 == 3; !tx.proceed && tx.accepted > 0 {
			o := outcomeOf(stage, r)
			tx.decideRound(&o)
		}
	}
	return nil
}

func (tx *transaction) applyRcpt(pos int, r *reply) {
	if r.positive() {
		tx.accepted++
		return
	}
	o := outcomeOf(spool.StageRcpt, r)
	tx.decide(pos, &o)
	// RFC 5321 §4.5.3.1.10: those beyond the upstream's limit go in a
	// transaction of their own.
	if tx.accepted > 0 && (r.code == 452 || r.code == 552) && (r.enhanced == "" || r.enhanced[1:] == ".5.3") {
		tx.rest = append(tx.rest, pos)
	}
}

// plausible tells whether code can answer step at all. What can't means that
// the two sides no longer talk about the same command.
func plausible(step step, code int) bool {
	switch code / 100 {
	case 2:
		return step != stepData
	case 3:
		return step == stepData
	}
	return code/100 == 4 || code/100 == 5
}

// silence is a command without a reply.
func (s *session) silence(tx *transaction, err error) *broken {
	stage := spool.StageMail
	if tx.replied < tx.total() {
		step, _ := tx.at(tx.replied)
		stage = [...]spool.Stage{spool.StageMail, spool.StageMail, spool.StageRcpt, spool.StageData}[step]
	}
	b := lost(stage, fmt.Sprintf("no answer to %s", [...]string{"MAIL", "RCPT", "DATA"}[stage-spool.StageMail]), err)
	late := (*overdue)(nil)
	if s.ext.pipelining && tx.sent-tx.replied > 1 && errors.Is(err, os.ErrDeadlineExceeded) && !errors.As(err, &late) {
		b.stalled = true
		s.goPlain(b)
	}
	return b
}

// abandon ends tx with the session. A message that a used connection did not
// even answer MAIL for is given back untried: the connection had ended
// before.
func (s *session) abandon(tx *transaction, b *broken) *broken {
	if b.astray {
		tx.doubtRefusals()
	}
	untouched := len(tx.rest) == 0 && !tx.anyKnown()
	if b.rushed { // nothing that it said of this round was about the message
		for _, pos := range tx.todo {
			tx.known[pos] = false
		}
		untouched = !tx.anyKnown()
	}
	switch {
	case untouched && b.stalled:
		s.giveBack(tx)
		b.err = errBetween
		return b
	case untouched && s.messages > 0 && b.gone && tx.replied == 0 && b.outcome.Stage == spool.StageMail:
		s.giveBack(tx)
		b.err = errBetween
		return b
	}
	tx.decideAll(&b.outcome)
	s.settle(tx)
	return b
}

// doubtRefusals takes back what was refused for good in this round: it may
// have been the answer to another command.
func (tx *transaction) doubtRefusals() {
	for _, pos := range tx.todo {
		if o := &tx.outcomes[pos]; tx.known[pos] && o.Code >= 500 && o.Stage >= spool.StageMail {
			tx.known[pos] = false
		}
	}
}

func (tx *transaction) anyKnown() bool {
	for _, known := range tx.known {
		if known {
			return true
		}
	}
	return false
}

// settle ends tx with its outcomes.
func (s *session) settle(tx *transaction) {
	for i := range tx.outcomes {
		o := &tx.outcomes[i]
		o.Remote = s.target
		if o.Stage == spool.StageDot && o.Code/100 == 2 {
			o.DSNRelayed, o.ByRelayed = s.ext.dsn, tx.needs.by
		}
	}
	tx.closeContent()
	s.messages++
	s.feed.Settle(tx.d, tx.outcomes)
}

// giveBack releases tx: nothing of it counts as tried.
func (s *session) giveBack(tx *transaction) {
	tx.closeContent()
	s.feed.Release(tx.d)
}

func (tx *transaction) closeContent() {
	if tx.form.Content != nil {
		_ = tx.form.Content.Close() // it was read, or nobody needs it
		tx.form.Content = nil
	}
}
