package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"postern/cmd/alert"
	"postern/cmd/control"
	"postern/config"
	"postern/config/wire"
	"postern/relay/storm"
	"postern/spool"
	"postern/spool/statefile"
)

const (
	// stormFile has the storms that are known of, in the folder "storms" of the
	// state.
	stormFile = "open"
	// maxStormFile bounds it, in bytes.
	maxStormFile = 1 << 20
	// stormEvery is how often storms are looked at, and written where they have
	// changed.
	stormEvery = time.Second
	// stormLeft is how often is counted how many messages are still on hold.
	stormLeft = 10 * time.Second
	// stormPause is between attempts to queue a digest.
	stormPause = time.Minute
)

// storms is the guard, with what it needs of the daemon.
type storms struct {
	*storm.Guard
	folder *statefile.Folder
	tell   func(storm.Event)

	// What follows is of the goroutine that runs it.
	paused  map[spool.ID]time.Time // until when no digest is tried, by storm
	counted time.Time              // when left was
	others  others
	failed  bool // the last write did; the log has it

	mu   sync.Mutex       // guards what follows
	left map[spool.ID]int // messages that are on hold, of storms that have ended
}

// openStorms makes the guard, with what is known from before a restart.
func (d *daemon) openStorms(st *state, tell func(storm.Event)) {
	s := &d.storms
	s.Guard, s.tell = storm.New(tell), tell
	s.folder = &statefile.Folder{Dir: filepath.Join(st.cfg.StateDir, "storms")}
	s.paused, s.left = map[spool.ID]time.Time{}, map[spool.ID]int{}
	now := time.Now()
	s.Use(st.storms, now)
	text, err := s.folder.Read(stormFile, maxStormFile)
	var saved time.Time
	if err == nil {
		saved, err = s.Load(text, now)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		tell(&storm.NotSaved{Err: fmt.Errorf("what was held for storms before cannot be read; the messages are in the queue: %w", err)})
	}
	d.recoverOwnStorms(saved.Add(-stormSlack))
}

// stormSlack is how much older a message may be than what was written last and
// not be in it.
const stormSlack = 5 * time.Second

// recoverStorms finds what was put on hold since then, for storms that are not
// known because of a crash. took tells which messages are meant, and note takes
// each. It returns the storms.
func (d *daemon) recoverStorms(since time.Time, took func(spool.ID) bool, note func(storm, id spool.ID, accepted time.Time, m func() *storm.Mail)) (found map[spool.ID]bool) {
	found = map[spool.ID]bool{}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	last := spool.ID(0)
	_ = d.store.Find(ctx, spool.Query{Held: true}, func(s spool.Summary) bool { // the alert lacks what cannot be read
		if s.Kept || s.ID == last || s.Accepted.Before(since) || !took(s.ID) {
			return ctx.Err() == nil
		}
		last = s.ID
		if detail, err := d.store.Detail(ctx, s.ID); err == nil && detail.Envelope.Storm != 0 {
			env := detail.Envelope
			found[env.Storm] = true
			note(env.Storm, s.ID, env.Accepted, func() *storm.Mail {
				return &storm.Mail{From: env.From, Subject: d.subject(ctx, s.ID), To: env.Recipients}
			})
		}
		return ctx.Err() == nil
	})
	return found
}

// subject is the value of the Subject of a message; empty where it has none or
// cannot be read.
func (d *daemon) subject(ctx context.Context, id spool.ID) string {
	content, err := d.store.Content(ctx, id)
	if err != nil {
		return ""
	}
	defer content.Close()
	header, _ := io.ReadAll(io.NewSectionReader(content, 0, min(content.Size(), maxHeader)))
	if _, body, found := wire.HeaderEnd(header, 0); found {
		header = header[:body]
	}
	return wire.Values(header, []string{"Subject"}).Get("Subject")
}

// maxHeader bounds what is read of a message for its subject, in bytes.
const maxHeader = 256 << 10

// runStorms looks after storms until ctx is done.
func (d *daemon) runStorms(ctx context.Context) {
	ticker := time.NewTicker(stormEvery)
	defer ticker.Stop()
	for {
		d.lookAtStorms(ctx, time.Now())
		select {
		case <-ctx.Done():
			d.storms.save()
			return
		case <-ticker.C:
		}
	}
}

// lookAtStorms ends storms, sends digests and keeps what is known.
func (d *daemon) lookAtStorms(ctx context.Context, now time.Time) {
	s := &d.storms
	s.Look(now)
	for _, one := range s.Due(now) {
		if now.Before(s.paused[one.ID]) {
			continue
		}
		delete(s.paused, one.ID)
		if err := d.digest(ctx, &one, now); err != nil && ctx.Err() == nil {
			s.paused[one.ID] = now.Add(stormPause)
			s.tell(&storm.NotDigested{Storm: one, Err: err})
		}
	}
	if now.Sub(s.counted) >= stormLeft {
		s.counted = now
		d.countStorms(ctx)
	}
	if d.database != nil && now.Sub(s.others.looked) >= othersEvery {
		s.others.looked = now
		d.lookAtOthers(ctx)
	}
	s.save()
}

// digest tells how many messages of a storm are on hold: the recipients of the
// last of them, or the postmaster.
func (d *daemon) digest(ctx context.Context, s *storm.Storm, now time.Time) error {
	whom := d.storms.Policy().Digest
	if whom == config.DigestNone {
		d.storms.Tell(s.ID, s.Held, now)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	detail, err := d.store.Detail(ctx, s.Last)
	switch {
	case errors.Is(err, spool.ErrNotFound): // an operator has decided
		d.storms.Tell(s.ID, s.Held, now)
		return nil
	case err != nil:
		return err
	}
	to := storm.Recipients(detail.Envelope)
	if whom == config.DigestPostmaster && len(to) > 0 {
		to = d.agent.Notify(d.state.Load().cfg.Submission.Postmaster, to[0].Upstreams)
	}
	if len(to) == 0 { // all of it is for others than its recipients, or may not leave
		d.storms.Tell(s.ID, s.Held, now)
		return nil
	}
	message := &storm.Digest{Storm: *s, Host: d.Hostname(), To: to, Now: now}
	text, messageID := message.Bytes()
	draft, err := d.queue.Create(ctx)
	if err != nil {
		return err
	}
	if _, err := draft.Write(text); err != nil {
		draft.Discard()
		return err
	}
	id := draft.ID()
	if err := draft.Commit(ctx, message.Envelope(messageID)); err != nil {
		return err
	}
	d.storms.Tell(s.ID, s.Held, now)
	s.Counted = s.Held
	d.storms.tell(&storm.Digested{Storm: *s, Notice: id.String()})
	return nil
}

// countStorms counts what is still on hold of storms that have ended, and
// forgets those of which nothing is.
func (d *daemon) countStorms(ctx context.Context) {
	for _, one := range d.storms.List() {
		if !one.Over() || one.Held > one.Counted {
			continue
		}
		n, err := d.stormLeft(ctx, &one)
		switch {
		case err != nil: // the next look may know
		case n == 0:
			d.storms.Forget(one.ID)
			fallthrough
		default:
			d.storms.mu.Lock()
			if d.storms.left[one.ID] = n; n == 0 {
				delete(d.storms.left, one.ID)
			}
			d.storms.mu.Unlock()
		}
	}
}

// stormLeft is how many messages are on hold among which those of a storm are;
// 0: none of the storm is. It reads as few envelopes as it can.
func (d *daemon) stormLeft(ctx context.Context, s *storm.Storm) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	found, last := false, spool.ID(0)
	ended := d.store.Find(ctx, spool.Query{Held: true, After: s.First - 1}, func(sum spool.Summary) bool {
		if sum.ID > s.Last {
			return false
		}
		if sum.Kept || sum.ID == last {
			return true
		}
		last = sum.ID
		if !found {
			detail, e := d.store.Detail(ctx, sum.ID)
			if e != nil || detail.Envelope.Storm != s.ID {
				return ctx.Err() == nil
			}
			found = true
		}
		n++
		return true
	})
	if ended == nil {
		ended = ctx.Err()
	}
	return n, ended
}

// waiting is how many messages of a storm are on hold, as far as was counted.
func (s *storms) waiting(one *storm.Storm) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.left[one.ID]; ok {
		return n
	}
	return one.Held
}

// save writes what is known, where that has changed. It tells of the first error
// in a row.
func (s *storms) save() {
	text := s.Save(time.Now())
	if text == nil {
		return
	}
	err := s.folder.Prepare()
	if err == nil {
		err = s.folder.Write(stormFile, text)
	}
	if err != nil {
		s.Unsaved()
		if !s.failed {
			s.tell(&storm.NotSaved{Err: err})
		}
	}
	s.failed = err != nil
}

// mostStorms bounds how many storms health tells one by one.
const mostStorms = 10

// judge is what is to be told of storms.
func (s *storms) judge() (all []finding) {
	list := s.List()
	for i := range list {
		one := &list[i]
		t := alert.Trouble{Key: alert.Key{Kind: stormHeld, Subject: one.ID.String()}, Severity: alert.Warning, Since: one.Began, Waiting: s.waiting(one)}
		state := "goes on"
		if one.Over() {
			state = "has ended"
		}
		t.Text = fmt.Sprintf("a program repeats itself: %d messages from <%s> to <%s> with subjects like %q were put on hold, and it %s",
			one.Held, one.From, one.To, one.Subject, state)
		t.Meaning = "More messages that are alike came than [storm] lets through. Those before went on; these wait until you decide, and none is lost."
		commands := storm.Commands(one.ID)
		t.Remedy = fmt.Sprintf("Stop or mend the program. Then let go what is wanted (%s) or remove it (%s).", commands[1], commands[2])
		t.Command = commands[0]
		f := finding{Trouble: t}
		if len(all) < mostStorms {
			f.weight = lesser
		}
		all = append(all, f)
	}
	return all
}

// status is how it stands with storms.
func (s *storms) status() (list []control.Storm) {
	for _, one := range s.List() {
		c := control.Storm{ID: one.ID.String(), From: one.From, Subject: one.Subject, To: one.To, Recipients: one.Recipients,
			Began: one.Began, Latest: one.Latest, Held: one.Held, Waiting: s.waiting(&one), Ended: moment(one.Ended)}
		list = append(list, c)
	}
	return list
}
