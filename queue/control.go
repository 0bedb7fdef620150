package queue

import (
	"reflect"
	"time"

	"postern/config"
	"postern/queue/pace"
)

// stop lets nothing more begin.
func (l *lane) stop() {
	l.mu.Lock()
	defer l.unlock()
	if l.state.stopping {
		return
	}
	l.state.stopping = true
	close(l.quit)
	l.state.sessions.endAll()
	l.returnReadyLocked()
}

// retire ends a lane without work; false: it has sessions still.
func (l *lane) retire() bool {
	l.mu.Lock()
	defer l.unlock()
	s := &l.state
	if len(s.sessions.all) > 0 || s.work.claiming || len(s.work.ready)+len(s.work.fresh) > 0 || s.stopping {
		return false
	}
	s.stopping = true
	close(l.quit)
	l.afterLocked(l.keepBudget)
	return true
}

// apply puts other settings in force; nil: there are none of that name any
// more. A lane that is down is probed at once in any case: a reload is what
// follows a repair, also where only a password file has changed.
func (l *lane) apply(up *config.Upstream) {
	read := l.openBudget(up)
	l.mu.Lock()
	defer l.unlock()
	now, s := time.Now(), &l.state
	was := s.shown()
	changed := !reflect.DeepEqual(up, s.up)
	if changed {
		s.gen++
		l.returnReadyLocked()
		s.sessions.renewed()
		s.senders, s.pace, s.connections = holdoffs{}, pace.Pace{}, connections{}
		if (up == nil) != (s.up == nil) {
			s.health = health{state: Up, since: now, lastSuccess: s.health.lastSuccess}
		}
	}
	s.up = up
	if changed {
		l.limitLocked(up, read)
	}
	s.sessions.endAll() // also where only a secret or a certificate has changed, or the name's address
	s.health.probing = false
	s.health.askedFor(now)
	l.announceLocked(was, now, "")
	s.work.hot = true
	l.poke()
}

// setPause stops or resumes the lane for an operator. Relays that share the lane
// go by who was told last, so it is later than whatever is known.
func (l *lane) setPause(paused bool, by string) {
	l.mu.Lock()
	defer l.unlock()
	s := &l.state
	p := pause{Paused: paused, By: by, At: time.Now().Round(0)}
	if !p.At.After(s.pause.At) {
		p.At = s.pause.At.Add(1)
	}
	s.untold = true
	if s.pause.Paused == paused {
		s.pause = p
		return
	}
	l.pauseLocked(p)
}

// pauseLocked stops or resumes the lane.
func (l *lane) pauseLocked(p pause) {
	now, s := time.Now(), &l.state
	was := s.shown()
	s.pause = p
	if p.Paused {
		s.sessions.endAll()
		l.returnReadyLocked()
		s.health.probing = false
	} else {
		s.health.askedFor(now)
	}
	s.work.hot = true
	l.poke()
	l.announceLocked(was, now, p.By)
}

// probeNow brings the next probe and everything refused forward.
func (l *lane) probeNow() {
	l.mu.Lock()
	defer l.unlock()
	s := &l.state
	s.senders = holdoffs{}
	s.sessions.growAt = time.Time{}
	s.health.askedFor(time.Now())
	s.work.hot = true
	l.poke()
}
