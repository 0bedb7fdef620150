package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"postern/config"
)

// Directory is one that can be asked. It may be used concurrently. Close ends
// the connection that it keeps.
type Directory struct {
	name    string
	set     config.Directory
	servers []*server
	answers *Answers
	most    int64 // bytes that a server may send for one question

	mu      sync.Mutex
	idle    *session
	closing *time.Timer
	away    *Away     // why nobody was to be asked
	until   time.Time // when the next one may try
}

// Away is the error of a directory that can't be asked now. Another attempt may
// end well: nothing is known of whoever was asked for.
type Away struct {
	Name string
	Text string
	Hint string // may be empty
	Err  error  // the cause; may be nil
}

func (e *Away) Error() string { return e.Name + " can't be asked now: " + e.Text }

func (e *Away) Unwrap() error { return e.Err }

// Unusable is the error of a group that can't be taken apart, whenever it is
// asked for.
type Unusable struct{ Text, Hint string }

func (e *Unusable) Error() string { return e.Text }

// TooMany is the error of a group with more addresses than are wanted.
type TooMany struct{ Limit int }

func (e *TooMany) Error() string {
	return fmt.Sprintf("the group has more than the %d addresses that are wanted", e.Limit)
}

// Answer is what was found.
type Answer struct {
	Entries []*Entry
	// More: there are others beyond the limit.
	More bool
	// Incomplete tells why the directory has not said all; empty: it has.
	Incomplete string
	// Elsewhere are servers that have parts of the directory and were not
	// asked, since the settings don't name them.
	Elsewhere []string
	// Age is that of an answer that stands in for a directory that is away.
	Age time.Duration
}

// New makes a directory of settings. name is what it is called in errors.
// Nobody is asked yet.
func New(name string, set config.Directory) *Directory {
	d := &Directory{name: name, set: set, answers: NewAnswers(set.Cache), most: maxSession}
	for _, s := range set.Servers {
		d.servers = append(d.servers, &server{DirectoryServer: s})
	}
	return d
}

// Close ends the connection that is kept. The directory may be asked again.
func (d *Directory) Close() {
	d.mu.Lock()
	s := d.idle
	d.idle = nil
	d.mu.Unlock()
	if s != nil {
		s.close()
	}
}

// Find are the entries with an address that a text means, as the directory
// understands it, at most limit.
func (d *Directory) Find(ctx context.Context, text string, limit int) (*Answer, error) {
	return d.answer(ctx, fmt.Sprintf("find %d %s", limit, text), func(ctx context.Context, s *session) (*Answer, error) {
		return d.people(ctx, s, s.schema.find(d.set.Filter, text), limit, func(e *Entry) bool { return len(e.Addresses) > 0 || e.Kind != Person })
	})
}

// Exact are the people that have an address, or else exactly a name or a
// nickname, and the groups that do: at most limit.
func (d *Directory) Exact(ctx context.Context, text string, limit int) (*Answer, error) {
	return d.answer(ctx, fmt.Sprintf("exact %d %s", limit, text), func(ctx context.Context, s *session) (*Answer, error) {
		return d.people(ctx, s, s.schema.exact(d.set.Filter, text), limit, func(e *Entry) bool { return e.Is(text) })
	})
}

// Groups are those of a name, an address or a nickname; all that have an
// address, or can be written to by their members, for an empty name.
func (d *Directory) Groups(ctx context.Context, name string, limit int) (*Answer, error) {
	return d.answer(ctx, fmt.Sprintf("groups %d %s", limit, name), func(ctx context.Context, s *session) (*Answer, error) {
		return d.people(ctx, s, s.schema.groups(name), limit, func(e *Entry) bool {
			return e.Kind != Person && (name == "" || e.Is(name))
		})
	})
}

// Prefix are the people with an address whose name, or a word of it, begins with
// a text.
func (d *Directory) Prefix(ctx context.Context, text string, limit int) (*Answer, error) {
	return d.answer(ctx, fmt.Sprintf("prefix %d %s", limit, text), func(ctx context.Context, s *session) (*Answer, error) {
		return d.people(ctx, s, s.schema.prefix(d.set.Filter, text), limit, func(e *Entry) bool {
			return e.Kind == Person && len(e.Addresses) > 0 && e.Begins(text)
		})
	})
}

// people searches, and takes the entries that are wanted and not hidden.
func (d *Directory) people(ctx context.Context, s *session, filter string, limit int, wanted func(*Entry) bool) (*Answer, error) {
	out := &Answer{}
	got, err := d.search(ctx, s, query{base: s.base, filter: filter, attrs: s.schema.attributes(), page: limit + 1}, func(raw *rawEntry) bool {
		e := s.schema.entry(raw)
		if e.hidden || !wanted(e) {
			return true
		}
		if len(out.Entries) >= limit {
			out.More = true
			return false
		}
		out.Entries = append(out.Entries, e)
		return true
	})
	out.Incomplete, out.Elsewhere = got.incomplete, got.elsewhere
	return out, err
}

// answer asks, and keeps what it hears; or takes what was heard before.
func (d *Directory) answer(ctx context.Context, key string, question func(context.Context, *session) (*Answer, error)) (*Answer, error) {
	v, age, err := d.answers.Get(key, func() (any, int, error) {
		var out *Answer
		err := d.ask(ctx, 4, func(ctx context.Context, s *session) (err error) {
			out, err = question(ctx, s)
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		return out, len(out.Entries), nil
	})
	if err != nil {
		return nil, err
	}
	out := *v.(*Answer)
	out.Age = age
	return &out, nil
}

// ask has a session answer a question; where the session ends before it has,
// another one, until every server has had its turn. searches bounds the time.
func (d *Directory) ask(ctx context.Context, searches int, question func(context.Context, *session) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(searches)*d.set.Timeout)
	defer cancel()
	for tries := 0; tries < len(d.servers); {
		s, err := d.session(ctx)
		if err != nil {
			return err
		}
		s.frames.grant(d.most)
		err = s.run(ctx, func(ctx context.Context) error { return question(ctx, s) })
		var b *broken
		if !errors.As(err, &b) {
			d.keep(s)
			return err
		}
		s.close()
		if !b.elsewhere || ctx.Err() != nil {
			return d.told(s.server, err)
		}
		if !s.kept { // a kept one may have been ended long ago
			s.server.failed(err)
			tries++
		}
	}
	return d.rest(d.whyAway())
}

// told is an error of a server, for whoever asked.
func (d *Directory) told(s *server, err error) *Away {
	text, hint := explain(err)
	return &Away{Name: d.name, Text: s.URL + ": " + text, Hint: hint, Err: err}
}

func (d *Directory) whyAway() *Away {
	var why []string
	for _, s := range d.servers {
		if text := s.why(); text != "" {
			why = append(why, s.URL+": "+text)
		}
	}
	return &Away{Name: d.name, Text: strings.Join(why, "; "), Hint: "postern book test " + d.name + " asks each server"}
}
