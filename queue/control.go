package queue

import (
	"postern/queue/pace"
	"reflect"
	"time"

	"postern/config"
)

// visible is the state that is shown. mu is held.
func (l *lane) visible() State {
	switch {
	case l.up == nil:
		return Missing
	case l.pause.Paused:
		return Paused
	case l.health.state == Up && l.pace.Slowed():
		return Slowed
	}
	return l.health.state
}

// endAll tells every session to end after what it is at. mu is held.
func (l *lane) endAll() {
	for f := range l.feeds {
		f.finish()
	}
}

// stop lets nothing more begin.
func (l *lane) stop() {
	l.mu.Lock()
	defer l.unlock()
	if l.stopping {
		return
	}
	l.stopping = true
	close(l.quit)
	l.endAll()
	l.returnReady()
}

// retire ends a lane without work; false: it has sessions still.
func (l *lane) retire() bool {
	l.mu.Lock()
	defer l.unlock()
	if len(l.feeds) > 0 || l.claiming || len(l.ready)+len(l.fresh) > 0 || l.stopping {
		return false
	}
	l.stopping = true
	close(l.quit)
	l.after(l.keepBudget)
	return true
}

// apply puts other settings in force; nil: there are none of that name any
// more. A lane that is down is probed at once in any case: a reload is what
// follows a repair, also where only a password file has changed.
func (l *lane) apply(up *config.Upstream) {
	l.mu.Lock()
	defer l.unlock()
	now := time.Now()
	previous, since := l.visible(), l.since()
	changed := !reflect.DeepEqual(up, l.up)
	if changed {
		l.gen++
		l.endAll()
		l.returnReady()
		l.growAt, l.growStep, l.barren = time.Time{}, 0, 0
		l.senders = holdoffs{}
		l.pace = pace.Pace{}
		if (up == nil) != (l.up == nil) {
			l.health = health{state: Up, since: now, lastSuccess: l.health.lastSuccess}
		}
	}
	l.up = up
	if changed {
		l.limit()
		l.connections = connections{}
	}
	l.endAll() // also where only a secret or a certificate has changed, or the name's address
	if l.health.state != Up {
		l.health.probeAt, l.health.probing, l.health.asked = now, false, true
	}
	l.announce(previous, since, now, "")
	l.hot = true
	l.poke()
}

// setPause stops or resumes the lane for an operator; false: it was so already.
func (l *lane) setPause(paused bool, by string) bool {
	l.mu.Lock()
	defer l.unlock()
	if l.pause.Paused == paused {
		return false
	}
	now := time.Now()
	previous, since := l.visible(), l.since()
	l.pause = pause{Paused: paused, By: by, At: now}
	if paused {
		l.endAll()
		l.returnReady()
		l.health.probing = false
	} else if l.health.state != Up {
		l.health.probeAt, l.health.asked = now, true
	}
	l.hot = true
	l.poke()
	l.announce(previous, since, now, by)
	return true
}

// probeNow brings the next probe and everything refused forward.
func (l *lane) probeNow() {
	l.mu.Lock()
	defer l.unlock()
	l.senders = holdoffs{}
	l.growAt = time.Time{}
	if l.health.state != Up {
		l.health.probeAt, l.health.asked = time.Now(), true
	}
	l.hot = true
	l.poke()
}
