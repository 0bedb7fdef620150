package addressbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/relay/carddav"
	"postern/relay/graph"
	"postern/relay/webclient"
	"postern/spool"
	"postern/spool/statefile"
)

const (
	// maxMirror bounds what is kept on disk of one server, in bytes.
	maxMirror = 128 << 20
	// mirrorPause is how long a server that has failed isn't asked again.
	mirrorPause = time.Minute
	// mirrorWait is how long whoever asks waits for what has changed, where there is
	// something to answer with.
	mirrorWait = 2 * time.Second
	// mirrorTime bounds how long it takes to hear all that has changed.
	mirrorTime = 10 * time.Minute
)

// mirror is a book on a CardDAV server. All of it is held here, and on disk, and
// the server is asked from time to time what has changed.
type mirror struct {
	set config.Book

	mu     sync.Mutex       // guards what follows
	tokens webclient.Tokens // nil: there are none
	read   bool             // what is on disk
	heard  *heard           // nil: nothing yet
	index  *Index           // of heard
	busy   chan struct{}    // closed when the server has been asked; nil: it isn't being asked
	stop   func()           // of busy
	ended  bool             // it is asked no more
	next   time.Time        // not asked before
	err    error            // of the last time; nil: it went well
}

// heard is what a server has told, as it is on disk. It is never changed.
type heard struct {
	Version     int                  `json:"version"`
	URL         string               `json:"url"`      // of the configuration
	Username    string               `json:"username"` // the same: another user has other books
	At          time.Time            `json:"at"`       // when all of it was current
	Collections []carddav.Collection `json:"collections"`
	Cards       map[string]*mirrored `json:"cards"` // by their path
}

// mirrored is one card.
type mirrored struct {
	Entry *Entry `json:"entry,omitempty"`
	Fault string `json:"fault,omitempty"`
	held  int
}

// mirrorVersion is that of heard. Of another one nothing is read: the server is
// asked for all again.
const mirrorVersion = 1

// UseTokens has the books that sign in by OAuth get their tokens from t.
func (b *Books) UseTokens(t webclient.Tokens) {
	for _, n := range b.list {
		switch one := n.asker.(type) {
		case *mirror:
			one.mu.Lock()
			one.tokens = t
			one.mu.Unlock()
		case *asked:
			if g, ok := one.source.(*graph.Graph); ok {
				g.UseTokens(t)
			}
		}
	}
}

func newMirror(c config.Book) *mirror { return &mirror{set: c} }

// current is what is known, asked for anew where that is due. old is why, and
// since when, it isn't current; empty: it is.
func (m *mirror) current(ctx context.Context) (x *Index, old string, err error) {
	m.mu.Lock()
	if !m.read {
		m.read = true
		m.load()
	}
	now := time.Now()
	if m.busy == nil && !m.ended && !now.Before(m.next) {
		ctx, cancel := context.WithTimeout(context.Background(), mirrorTime)
		m.busy, m.stop = make(chan struct{}), cancel
		go m.refresh(ctx, m.busy, m.heard) // end waits for it
	}
	busy, known := m.busy, m.index != nil
	m.mu.Unlock()
	if busy != nil {
		wait := time.NewTimer(mirrorWait)
		defer wait.Stop()
		var enough <-chan time.Time
		if known {
			enough = wait.C
		}
		select {
		case <-busy:
		case <-enough:
		case <-ctx.Done():
			if !known {
				return nil, "", fmt.Errorf("the book %s is being read from its server for the first time", m.set.Name)
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.index == nil && m.err != nil:
		return nil, "", m.away(m.err)
	case m.index == nil:
		return nil, "", fmt.Errorf("the book %s is being read from its server for the first time", m.set.Name)
	case m.err != nil:
		return m.index, m.age(), nil
	}
	return m.index, "", nil
}

func (m *mirror) age() string { return ago(time.Since(m.heard.At)) }

func (m *mirror) away(err error) error {
	return fmt.Errorf("the book %s can't be asked now: %w", m.set.Name, err)
}

// refresh asks the server, and does not end with whoever wants to know.
func (m *mirror) refresh(ctx context.Context, done chan struct{}, before *heard) {
	next, index, err := m.askSafely(ctx, before)
	if err == nil && next != before {
		m.save(next)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err = err; err == nil {
		m.heard, m.index, m.next = next, index, time.Now().Add(m.set.Refresh)
	} else {
		m.next = time.Now().Add(min(mirrorPause, m.set.Refresh))
	}
	m.stop()
	m.busy = nil
	close(done)
}

// askSafely makes a defect met in what a server says an error of this book.
func (m *mirror) askSafely(ctx context.Context, before *heard) (next *heard, index *Index, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a defect of ours, met in its answers: %s", wire.Text(fmt.Sprint(v), 200))
		}
	}()
	return m.ask(ctx, before, nil)
}

// end ends what is under way, and waits for it. What is known stays.
func (m *mirror) end() {
	m.mu.Lock()
	m.ended = true
	busy := m.busy
	if busy != nil {
		m.stop()
	}
	m.mu.Unlock()
	if busy != nil {
		<-busy
	}
}

// Close ends what books do by themselves: no server is asked any more for what has
// changed. They still answer with what they know.
func (b *Books) Close() {
	for _, n := range b.list {
		if m, ok := n.asker.(*mirror); ok {
			m.end()
		}
	}
}

// ask asks the server for what has changed since before, which may be nil.
func (m *mirror) ask(ctx context.Context, before *heard, steps func(carddav.Step)) (*heard, *Index, error) {
	m.mu.Lock()
	tokens := m.tokens
	m.mu.Unlock()
	client, err := carddav.New(&m.set, tokens, steps)
	if err != nil {
		return nil, nil, err
	}
	next := &heard{Version: mirrorVersion, URL: m.set.URL, Username: m.set.Directory.Account.Username, Cards: map[string]*mirrored{}}
	var known []carddav.Collection
	if before != nil {
		known = before.Collections
		for path, c := range before.Cards {
			next.Cards[path] = c
		}
	}
	held := 0
	next.Collections, err = client.Sync(ctx, known, func(c carddav.Change) {
		if c.Text == "" && c.Fault == "" {
			delete(next.Cards, c.Path)
			return
		}
		next.Cards[c.Path] = m.take(c)
		held += next.Cards[c.Path].held
	})
	var refused *carddav.Refused
	if errors.As(err, &refused) && len(known) > 0 && (refused.Status == 404 || refused.Status == 410) {
		return m.ask(ctx, nil, steps) // the books are elsewhere now
	}
	switch {
	case err != nil:
		return nil, nil, err
	case held > maxHeld:
		return nil, nil, errors.New(overfull)
	}
	next.At = time.Now()
	return next, m.build(next), nil
}

// take reads a card.
func (m *mirror) take(c carddav.Change) *mirrored {
	if c.Fault != "" {
		return &mirrored{Fault: c.Fault}
	}
	of := &file{}
	if err := of.take(m.set.Name, c.Path, []byte(c.Text)); err != nil {
		return &mirrored{Fault: err.Error()}
	}
	return &mirrored{Entry: of.entry, Fault: of.fault, held: of.held}
}

// build makes the index, in the order of the paths.
func (m *mirror) build(h *heard) *Index {
	paths := make([]string, 0, len(h.Cards))
	for path := range h.Cards {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	var entries []*Entry
	var faults []Fault
	untold := 0
	for _, path := range paths {
		c := h.Cards[path]
		if c.Entry != nil {
			entries = append(entries, c.Entry)
		}
		switch {
		case c.Fault == "":
		case len(faults) < maxFaults:
			faults = append(faults, Fault{m.set.Name, path[strings.LastIndexByte(path, '/')+1:], c.Fault})
		default:
			untold++
		}
	}
	if untold > 0 {
		faults = append(faults, Fault{m.set.Name, "", fmt.Sprintf("%d more cards have faults", untold)})
	}
	return newIndex(entries, faults)
}

func (m *mirror) place() (*statefile.Folder, string) {
	return &statefile.Folder{Dir: m.set.Keep}, statefile.SafeName(m.set.Name) + ".json"
}

// load reads what an earlier process has heard. What can't be used is asked for
// again.
func (m *mirror) load() {
	if m.set.Keep == "" {
		return
	}
	folder, name := m.place()
	text, err := folder.Read(name, maxMirror)
	if err != nil {
		return
	}
	h := &heard{}
	if err := spool.DecodeFact(text, h); err != nil || h.Version != mirrorVersion || h.URL != m.set.URL ||
		h.Username != m.set.Directory.Account.Username || h.At.After(time.Now()) {
		return
	}
	for _, c := range h.Cards {
		if c == nil || c.Entry == nil && c.Fault == "" {
			return
		}
		if c.Entry != nil {
			c.Entry.Book = m.set.Name
		}
	}
	m.heard, m.index = h, m.build(h)
	if age := time.Since(h.At); age < m.set.Refresh {
		m.next = h.At.Add(m.set.Refresh)
	}
}

// save keeps what was heard. Whoever may not write to the folder, such as a
// command of another user, keeps nothing.
func (m *mirror) save(h *heard) {
	if m.set.Keep == "" {
		return
	}
	text, err := json.Marshal(h)
	if err != nil || len(text) > maxMirror {
		return
	}
	folder, name := m.place()
	if err := folder.Prepare(); err != nil && !errors.Is(err, fs.ErrExist) {
		return
	}
	_ = folder.Write(name, text)
}

// holding is what is known as a book in memory.
type holding struct{ x *Index }

func (h holding) Index() (*Index, error) { return h.x, nil }

func (m *mirror) find(ctx context.Context, text string, limit int) (*Found, error) {
	x, old, err := m.current(ctx)
	if err != nil {
		return nil, err
	}
	found, err := held{holding{x}}.find(ctx, text, limit)
	if err == nil && old != "" {
		found.Faults = append(slices.Clone(found.Faults), Fault{m.set.Name, "", "can't be asked now: this is what it said " + old})
	}
	return found, err
}

func (m *mirror) exact(ctx context.Context, text string, group bool) (resolved, error) {
	x, old, err := m.current(ctx)
	if err != nil {
		return resolved{}, err
	}
	r, err := held{holding{x}}.exact(ctx, text, group)
	if expand := r.expand; expand != nil && old != "" {
		r.expand = func(ctx context.Context, limit int) (*Expansion, error) {
			x, err := expand(ctx, limit)
			if err == nil {
				x.Age = old
			}
			return x, err
		}
	}
	return r, err
}

func (m *mirror) prefix(ctx context.Context, text string, limit int) ([]*Entry, error) {
	x, _, err := m.current(ctx)
	if err != nil {
		return nil, err
	}
	return x.Prefix(text, limit), nil
}

func (m *mirror) groups(ctx context.Context) ([]string, error) {
	x, _, err := m.current(ctx)
	if err != nil {
		return nil, err
	}
	return x.Groups(), nil
}

func (m *mirror) near(group bool, k string, changes int, into map[string]string) {
	m.mu.Lock()
	x := m.index
	m.mu.Unlock()
	if x != nil {
		held{holding{x}}.near(group, k, changes, into)
	}
}

// check asks the server for all of it, step by step, whatever is known.
func (m *mirror) check(ctx context.Context, c *Checked) {
	h, x, err := m.ask(ctx, nil, func(s carddav.Step) { c.Steps = append(c.Steps, s) })
	if err == nil {
		for _, b := range h.Collections {
			c.Collections = append(c.Collections, CheckedCollection{b.URL, b.Name, len(b.ETags)})
		}
		held{holding{x}}.check(ctx, c)
		return
	}
	c.Error = m.away(err).Error()
	c.Hint = carddav.Hint(err)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.read {
		m.read = true
		m.load()
	}
	if m.index != nil {
		c.Entries, c.Groups = len(m.index.Entries), len(m.index.groups)
		c.Faults = append(c.Faults, Fault{m.set.Name, "", "meanwhile it is what it said " + m.age()})
	}
}
