package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"postern/queue/budget"
	"postern/spool/statefile"
)

// What is known of an upstream beside its mail, and outlives the process, lies
// in the state folder:
//
//	budget/NAME   what its rates have counted; see package budget
//	pause/NAME    whether an operator has paused it
//
// Without a state folder it is known for as long as the process lives.
func (q *Queue) folder(name string) *statefile.Folder {
	dir := q.cfg.Load().StateDir
	if dir == "" {
		return nil
	}
	return &statefile.Folder{Dir: filepath.Join(dir, name)}
}

// pause is whether an operator has paused an upstream, and who last changed it.
type pause struct {
	Paused bool      `json:"paused"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// maxPause bounds the file of a pause, in bytes.
const maxPause = 4096

// remember reads what is known of the upstream. Nobody else has the lane yet.
func (l *lane) remember() {
	var failed error
	l.pause, failed = l.q.readPause(l.name)
	if l.pause.Paused {
		c := LaneChange{Upstream: l.name, State: l.visible(), Previous: Up, By: l.pause.By}
		l.after(func() { l.q.events.LaneChanged(c) })
	}
	l.budget, _ = budget.Open(nil, l.name, nil)
	if failed != nil {
		l.after(func() { l.q.events.StateFailed(l.name, failed) })
	}
	l.limit()
}

// limit puts the rates of the configuration in force. mu is held.
func (l *lane) limit() {
	switch {
	case l.up == nil:
	case l.limited:
		l.budget.SetRates(l.up.Rate)
	case len(l.up.Rate) > 0:
		l.limited = true
		opened, err := budget.Open(l.q.folder("budget"), l.name, l.up.Rate)
		l.budget = opened
		if err != nil {
			l.after(func() { l.q.events.StateFailed(l.name, err) })
		}
	}
}

// keepBudget makes durable what the rates have counted.
func (l *lane) keepBudget() {
	err := l.budget.Close()
	l.mu.Lock()
	defer l.unlock()
	l.forgetful(err)
}

// readPause reads whether an upstream is paused. Where an operator has said
// something that cannot be read or understood any more it is: mail that waits
// can still be sent.
func (q *Queue) readPause(upstream string) (pause, error) {
	folder := q.folder("pause")
	if folder == nil {
		return pause{}, nil
	}
	name := statefile.SafeName(upstream)
	content, err := folder.Read(name, maxPause)
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
	case !folder.Has(name):
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
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	err := d.Decode(&p)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("more follows what was written")
		}
	}
	if err != nil {
		return pause{}, fmt.Errorf("the file %w: %w", statefile.ErrForm, err)
	}
	if p.Paused == nil || p.By == nil || p.At == nil {
		return pause{}, fmt.Errorf("the file %w: something is missing", statefile.ErrForm)
	}
	return pause{*p.Paused, *p.By, *p.At}, nil
}

// keepPause makes durable what operators have last told l.
func (l *lane) keepPause() error {
	folder := l.q.folder("pause")
	if folder == nil {
		return nil
	}
	l.pauseWrite.Lock() // the last to write has the last word
	defer l.pauseWrite.Unlock()
	l.mu.Lock()
	p := l.pause
	l.mu.Unlock()
	content, err := json.Marshal(p)
	if err == nil {
		err = folder.Prepare()
	}
	if err == nil {
		err = folder.Write(statefile.SafeName(l.name), append(content, '\n'))
	}
	return err
}
