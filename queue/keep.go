package queue

import (
	"errors"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/queue/notice"
	"postern/spool"
)

// A message from <> that fails is most often a notification, and nobody can be
// told of it (RFC 5321 §6.1). Of a copy for the administrator the sender is not
// to know. Both are kept on hold, so that somebody sees what has failed, until an
// operator decides or their time or room is over.

// untold reports whether recipient i of a message is one of whose failure no
// sender is told.
func untold(env *spool.Envelope, i int) bool { return env.From == "" || env.Recipients[i].Copy }

// allUntold is untold for all that a claim names.
func allUntold(d *spool.Delivery) bool {
	return !slices.ContainsFunc(d.Pending, func(i int) bool { return !untold(d.Envelope, i) })
}

const (
	// keptMost and keptBytes bound what is kept, in messages and in bytes of
	// content.
	keptMost  = 1000
	keptBytes = 64 << 20
	// keptPart is the part of the room of the spool that is kept at most.
	keptPart = 10
)

// keptRoom is how much may be kept.
func keptRoom(s *config.Spool) (messages int, bytes int64) {
	messages, bytes = keptMost, keptBytes
	if s.MaxMessages > 0 {
		messages = min(messages, s.MaxMessages/keptPart)
	}
	if s.MaxSize > 0 {
		bytes = min(bytes, s.MaxSize/keptPart)
	}
	return messages, bytes
}

// keepFailed leaves the failed recipients of whom no sender is told pending, and
// says whether the share is to be kept: nothing of it is left to be tried.
// rest is that it has recipients which were not part of the attempt.
func keepFailed(d *spool.Delivery, outs []spool.Outcome, rest bool) bool {
	failed, deferred := false, rest
	for i := range outs {
		switch {
		case outs[i].Verdict == spool.Bounced && untold(d.Envelope, d.Pending[i]):
			outs[i].Verdict, failed = spool.Pending, true
		case outs[i].Verdict == spool.Pending:
			deferred = true
		}
	}
	return failed && !deferred
}

// keep puts a share that failed on hold. outs says why, and which recipients
// have not failed. The error is ErrLost.
func (q *Queue) keep(d *spool.Delivery, outs []spool.Outcome, now time.Time) (spool.Settlement, error) {
	s := spool.Settlement{Outcomes: outs, Due: now.Add(q.cfg.Load().Retry.Lifetime), Failover: d.Failover,
		Hold: true, Kept: true, Warned: d.Warned}
	var err error
	if n := q.tellPostmaster(d, outs, now, s.Due); n == nil {
		_, err = q.put(d, s)
	} else {
		told := s
		told.Warned = true // so that a retry which fails, too, tells nobody again
		_, _, err = q.putNotified([]*written{n}, []spool.Ending{{Delivery: d, Settlement: told}}, func(int) spool.Settlement { return s })
	}
	q.doubts.forget(d)
	q.wishes.forget(d)
	if errors.Is(err, spool.ErrLost) {
		return s, err
	}
	k := Kept{ID: d.ID, Upstream: d.Upstream, Until: s.Due}
	for i := range outs {
		if outs[i].Verdict == spool.Pending {
			k.Recipients++
			k.Outcome = outs[i]
		}
	}
	q.tell(&k)
	q.keeper.sweepBy(now.Add(sweepGap)) // it may be one too many
	return s, nil
}

// keepOld keeps a share whose time is over. Its last answer is part of the
// reason.
func (q *Queue) keepOld(d *spool.Delivery, detail *spool.Detail, why spool.Outcome, now time.Time) {
	outs := repeat(why, len(d.Pending))
	for i, r := range d.Pending {
		outs[i].Verdict = spool.Pending
		last := detail.Recipients[r].Last
		if last == nil {
			continue
		}
		if last.Stage == spool.StageLocal && strings.HasPrefix(last.Text, why.Text) {
			outs[i].Text = last.Text // it was kept before, and not tried since
		} else if text := notice.Answer(last); text != "" {
			outs[i].Text = notice.Plain(why.Text+"; the last answer: "+text, 1000)
		}
	}
	q.keep(d, outs, now)
}

// endKept ends what was kept too long, and the oldest of what is too much.
func (r *round) endKept() {
	most, bytes := keptRoom(&r.q.cfg.Load().Spool)
	var total int64
	for i := range r.kept {
		total += r.kept[i].Size
	}
	slices.SortStableFunc(r.kept, func(a, b spool.Summary) int { return a.Due.Compare(b.Due) })
	for n := range r.kept {
		s := &r.kept[n]
		left := len(r.kept) - n
		switch {
		case !r.now.Before(s.Due) && !r.now.Before(r.expireFrom):
			r.endOne(s, KeptTooLong)
		case left > 1 && (left > most || total > bytes):
			r.endOne(s, KeptTooMany)
		default:
			at := s.Due
			if at.Before(r.expireFrom) {
				at = r.expireFrom
			}
			r.wish(at)
			return
		}
		total -= s.Size
	}
}

// endOne ends one share that is kept.
func (r *round) endOne(s *spool.Summary, why string) {
	r.q.admin.Lock()
	defer r.q.admin.Unlock()
	detail, err := r.q.store.Detail(r.q.always, s.ID)
	if err != nil {
		r.q.storeFailed("detail", s.ID, err)
		return
	}
	if !slices.ContainsFunc(detail.Recipients, func(o spool.RecipientState) bool { return o.Share == s.Share && o.Kept }) {
		return // an operator decided meanwhile
	}
	d, err := r.q.store.Take(r.q.always, s.ID, s.Share)
	if err != nil {
		r.q.storeFailed("take", s.ID, err)
		return
	}
	o := spool.Outcome{Stage: spool.StageLocal, Verdict: spool.Bounced, Text: "nobody decided while it was kept"}
	if why == KeptTooMany {
		o.Text = "too many failed messages were kept, and it was the oldest"
	}
	over, err := r.q.put(d, spool.Settlement{Outcomes: repeat(o, len(d.Pending)), Failover: d.Failover, Warned: d.Warned})
	if errors.Is(err, spool.ErrLost) {
		return
	}
	r.q.tell(&KeptEnded{d.ID, d.Upstream, len(d.Pending), r.now.Sub(d.Envelope.Accepted), why})
	if over {
		r.q.finished(d, r.now, new(Finished))
	}
}
