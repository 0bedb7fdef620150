package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"postern/spool"
)

// pause is whether an operator has paused an upstream, and who last changed it.
type pause struct {
	Paused bool      `json:"paused"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// readPause reads whether an upstream is paused. Where an operator has said
// something that cannot be read or understood any more it is: mail that waits
// can still be sent.
func (q *Queue) readPause(upstream string) (pause, error) {
	if q.state == nil {
		return pause{}, nil
	}
	f := spool.Fact{Kind: spool.KindPause, Name: upstream}
	content, err := q.state.Read(context.Background(), f)
	if errors.Is(err, fs.ErrNotExist) {
		return pause{}, nil
	}
	var p pause
	if err == nil {
		p, err = parsePause(content)
	}
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, spool.ErrAway), !q.state.Has(f):
		return pause{}, fmt.Errorf("whether an operator has paused the upstream is not known: %w", err)
	}
	return pause{Paused: true, At: time.Now()},
		fmt.Errorf("whether an operator has paused the upstream is not known, so it is paused until somebody runs `postern upstream resume %s`: %w", upstream, err)
}

// parsePause reads what keepPause has written, and nothing else.
func parsePause(content []byte) (pause, error) {
	var p struct {
		Paused *bool      `json:"paused"`
		By     *string    `json:"by"`
		At     *time.Time `json:"at"`
	}
	if err := spool.DecodeFact(content, &p); err != nil {
		return pause{}, err
	}
	if p.Paused == nil || p.By == nil || p.At == nil {
		return pause{}, fmt.Errorf("the file %w: something is missing", spool.ErrForm)
	}
	return pause{*p.Paused, *p.By, *p.At}, nil
}

// keepPause makes durable what operators have last told l. What can't be recorded
// is handed in by hearPause, where relays share it.
func (l *lane) keepPause() error {
	if l.q.state == nil {
		return nil
	}
	l.pauseWrite.Lock()
	defer l.pauseWrite.Unlock()
	err := l.writePause()
	if err != nil {
		l.mu.Lock()
		l.state.tenure.soon(time.Now())
		l.mu.Unlock()
		l.poke()
	}
	return err
}

// writePause writes the pause as it is. pauseWrite is held: the last to write has
// the last word.
func (l *lane) writePause() error {
	l.mu.Lock()
	p := l.state.pause
	l.mu.Unlock()
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	err = l.q.state.Write(context.Background(), spool.Fact{Kind: spool.KindPause, Name: l.name}, append(content, '\n'))
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.state.pause == p {
		l.state.untold = false
	}
	return err
}

// hearPause makes what this relay and others were told of the upstream one. What
// is recorded holds, but for what this relay was told later and could not record
// yet: that is recorded now. After an error all is as it was. The lane is not
// locked.
func (l *lane) hearPause() error {
	l.pauseWrite.Lock()
	defer l.pauseWrite.Unlock()
	asked := time.Now()
	there, err := l.q.readPause(l.name)
	if err != nil && !there.Paused {
		return err
	}
	l.mu.Lock()
	mine, untold := l.state.pause, l.state.untold
	l.mu.Unlock()
	switch {
	case err != nil && mine.Paused: // it is there, and nobody understands it
	case err != nil:
		l.q.tell(&StateFailed{l.name, err})
		l.putPause(there, mine)
	case untold && mine.At.After(there.At), mine.Paused && there.At.IsZero():
		if err := l.writePause(); err != nil {
			return err
		}
	case there != mine:
		l.putPause(there, mine)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.tenure.heard.Before(asked) {
		l.state.tenure.heard = asked
	}
	return nil
}

// putPause puts what was read in force, unless an operator has said something
// since it was compared with mine.
func (l *lane) putPause(there, mine pause) {
	l.mu.Lock()
	defer l.unlock()
	if l.state.pause != mine {
		return
	}
	l.state.untold = false
	if there.Paused == mine.Paused {
		l.state.pause = there
		return
	}
	l.pauseLocked(there)
}

// stopped tells, before a final dot, whether the upstream is paused. Where that was
// last heard of long ago, as the relay had stopped or was cut off, it is read anew.
func (l *lane) stopped() (bool, error) {
	l.mu.Lock()
	fresh := l.q.state == nil || l.state.tenure.hears(time.Now())
	l.mu.Unlock()
	if !fresh {
		if err := l.hearPause(); err != nil {
			return false, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !fresh && l.state.pause.Paused, nil
}
