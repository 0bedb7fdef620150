package directory

import (
	"errors"
	"sync"
	"time"
)

const (
	// fresh is how long an answer is used without asking again: a message for
	// each row of a table asks for the same group each time.
	fresh = time.Minute
	// maxAnswers and maxKept bound what is kept: answers, and entries in them.
	maxAnswers = 1_000
	maxKept    = 200_000
)

// Answers keeps what a directory said. It may be used concurrently.
type Answers struct {
	age time.Duration // beyond which nothing is used; zero: nothing is kept

	mu    sync.Mutex
	byKey map[string]*heard
	kept  int // entries
}

type heard struct {
	value any
	size  int
	when  time.Time
}

// NewAnswers keeps answers until they are so old; zero: none.
func NewAnswers(age time.Duration) *Answers { return &Answers{age: age} }

// Get is the answer to a question that was just heard, or what ask says and how
// many entries it has. Where ask fails with an *Away, it is an answer that is not
// too old, and its age.
func (a *Answers) Get(key string, ask func() (value any, size int, err error)) (any, time.Duration, error) {
	if h := a.heard(key); h != nil && time.Since(h.when) < min(fresh, a.age) {
		return h.value, 0, nil
	}
	value, size, err := ask()
	var away *Away
	if errors.As(err, &away) {
		if h := a.heard(key); h != nil && time.Since(h.when) < a.age {
			return h.value, time.Since(h.when), nil
		}
	}
	if err != nil {
		return nil, 0, err
	}
	a.keep(key, value, size)
	return value, 0, nil
}

func (a *Answers) heard(key string) *heard {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byKey[key]
}

// keep keeps an answer, and gives up what is too old, else the oldest, where
// there is no room.
func (a *Answers) keep(key string, value any, size int) {
	if a.age <= 0 || size > maxKept {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byKey == nil {
		a.byKey = map[string]*heard{}
	}
	a.drop(key)
	if len(a.byKey) >= maxAnswers || a.kept+size > maxKept {
		for k, h := range a.byKey {
			if time.Since(h.when) > a.age {
				a.drop(k)
			}
		}
	}
	for len(a.byKey) >= maxAnswers || a.kept+size > maxKept {
		oldest := ""
		for k, h := range a.byKey {
			if oldest == "" || h.when.Before(a.byKey[oldest].when) {
				oldest = k
			}
		}
		a.drop(oldest)
	}
	a.byKey[key] = &heard{value, size, time.Now()}
	a.kept += size
}

func (a *Answers) drop(key string) {
	if h := a.byKey[key]; h != nil {
		a.kept -= h.size
		delete(a.byKey, key)
	}
}
