package history

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"

	"postern/spool/disk"
)

// Query says what to look for.
type Query struct {
	// Text is the ID of a message, a Message-ID with or without < and >, an
	// address, or "@" with a domain. Case does not matter. Empty, with a bound of
	// time: all messages of that time, and refusals.
	Text string
	// Since and Until bound the time of what was told of it; zero: no bound.
	Since, Until time.Time
	// Limit is how many messages are found, the last ones; 0: 20.
	Limit int
	// Also are IDs of messages whose lives are wanted besides, beyond the limit: what
	// another relay has found.
	Also []string
}

// Life is what was told of one message, or, where ID is empty, of mail that was
// refused.
type Life struct {
	ID    string            `json:"id,omitempty"`
	Lines []json.RawMessage `json:"lines"` // in their order
	// Omitted is how many lines are not among them: those in the middle.
	Omitted int `json:"omitted,omitempty"`
}

// Found is the answer to a Query.
type Found struct {
	Lives []Life `json:"messages"`
	// More: there are others, from before those.
	More bool `json:"more,omitempty"`
	// From is the time of the oldest line that is kept; zero: there is none.
	From time.Time `json:"from,omitzero"`
	// Missing names the relays that share the queue and whose part is not among it,
	// and says why.
	Missing []string `json:"missing,omitempty"`
	// Damaged is how many files end within a line, or are not readable: those of
	// crashes.
	Damaged int `json:"damaged,omitempty"`
}

const (
	defaultLimit = 20
	maxLimit     = 1000
	maxLines     = 500 // of one life
)

// ErrQuery: a query that finds nothing for sure.
var ErrQuery = errors.New("name an ID, a Message-ID, an address, or @ and a domain, or a time")

// Search looks through all files of dir, which may be written meanwhile; a
// folder that is not there has none. It holds a block of a file at a time, and
// what it finds. The error is ErrQuery, that of ctx, or of the folder.
func Search(ctx context.Context, dir string, q Query) (*Found, error) {
	s := &search{query: q, known: map[string]bool{}, text: bytes.ToLower([]byte(strings.Trim(q.Text, "<> ")))}
	timeAlone := q.Text == "" && !(q.Since.IsZero() && q.Until.IsZero())
	if len(s.text) < 2 && !timeAlone || bytes.ContainsAny(s.text, "\"\\\n") {
		return nil, ErrQuery
	}
	if s.query.Limit <= 0 {
		s.query.Limit = defaultLimit
	}
	s.query.Limit = min(s.query.Limit, maxLimit)
	// Whoever searches may be root, and the folder is of the user of the relay.
	folder, err := disk.OpenFolder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &Found{}, nil
	} else if err != nil {
		return nil, err
	}
	defer folder.Close()
	s.folder = folder
	files, err := list(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	found := &Found{}
	if len(files) > 0 {
		found.From = files[0].begun
	}
	// First which messages it is, then all that was told of them: a line before
	// the one that is found may be of the same message.
	// Between, the files of other times tell which IDs a message has had.
	passes := []pass{{s.match, true, false}, {s.move, false, true}, {s.collect, true, true}}
	if q.Since.IsZero() && q.Until.IsZero() { // then the first often finds all
		s.recent = newRecent()
		for _, id := range q.Also {
			s.also = append(s.also, Life{ID: id})
		}
		passes[0].line = s.once
	}
	for i, pass := range passes {
		if i == 1 && s.recent != nil && s.complete() {
			break
		}
		damaged := 0
		for _, f := range files {
			if here := (q.Until.IsZero() || !f.begun.After(q.Until)) && !f.ends(files).Before(q.Since); here && !pass.here || !here && !pass.others {
				continue
			}
			whole, err := f.each(ctx, s.folder, pass.line)
			if err != nil {
				return nil, err
			}
			if !whole {
				damaged++
			}
		}
		found.Damaged = max(found.Damaged, damaged) // the second ends early where the first has found nothing
	}
	// Of what was looked for besides, there may be nothing.
	found.Lives, found.More = slices.DeleteFunc(s.lives, func(l Life) bool { return len(l.Lines) == 0 }), s.more
	return found, nil
}

// pass is one reading of files.
type pass struct {
	line         func([]byte) bool
	here, others bool // files of the time that is asked for, and of others
}

type search struct {
	folder *os.Root
	recent *recent // nil: lines are looked for by reading the files again
	also   []Life  // those of query.Also, while it is not

	query Query
	text  []byte
	lives []Life          // in the order of their first match, and no more than the limit
	known map[string]bool // the IDs among them, while they are matched
	at    map[string]int  // ID → index; made by the first collect
	// moved is by the IDs of before which ID messages have that were moved from
	// another spool, of those that a line which was looked at tells.
	moved map[string]string
	more  bool
	held  int // octets of lines
}

// maxHeld bounds the lines of an answer, in octets: what is told of 1,000 messages
// has a hundredth of it. Lines beyond it are omitted, and lives without a line, too. It
// is a variable for tests alone, which lower it.
var maxHeld = 64 << 20

// match looks whether a line is about what is looked for.
func (s *search) match(line []byte) bool {
	event, id := head(line)
	return s.matchOf(event, id, line)
}

// matchOf is match for a line of this event, with this ID.
func (s *search) matchOf(event, id, line []byte) bool {
	s.noteMove(event, line)
	if !names(line, s.text) || !s.within(line) {
		return true
	}
	if of := original(event, line); len(of) > 0 { // a notice is part of the life of what it is about
		id = of
	}
	if s.known[string(id)] {
		return true
	}
	if len(id) > maxID {
		return true
	}
	life := Life{ID: string(id)}
	if life.ID != "" {
		s.known[life.ID] = true
	} else if life.add(slices.Clone(line), &s.held); len(life.Lines) == 0 {
		s.more = true
		return true
	}
	s.lives = append(s.lives, life)
	if len(s.lives) > s.query.Limit {
		first := &s.lives[0]
		delete(s.known, first.ID)
		for _, l := range first.Lines {
			s.held -= len(l)
		}
		s.lives, s.more = s.lives[1:], true
	}
	return true
}

// collect takes the lines of the lives.
func (s *search) collect(line []byte) bool {
	if s.at == nil {
		for _, id := range s.query.Also {
			if !slices.ContainsFunc(s.lives, func(l Life) bool { return l.ID == id }) {
				s.lives = append(s.lives, Life{ID: id})
			}
		}
		s.join()
		s.at = map[string]int{}
		for i, l := range s.lives {
			if l.ID != "" {
				s.at[l.ID] = i
			}
		}
		for old := range s.moved {
			if i, ok := s.at[s.now(old)]; ok {
				s.at[old] = i
			}
		}
	}
	if len(s.at) == 0 {
		return false
	}
	event, id := head(line)
	i, ok := s.at[string(id)]
	if !ok {
		i, ok = s.at[string(original(event, line))]
	}
	if !ok {
		return true
	}
	s.lives[i].add(slices.Clone(line), &s.held)
	return true
}

// within reports whether a line is of the time that is asked for.
func (s *search) within(line []byte) bool {
	if s.query.Since.IsZero() && s.query.Until.IsZero() {
		return true
	}
	at, err := time.Parse(time.RFC3339Nano, string(field(line, timeKey)))
	return err == nil && !at.Before(s.query.Since) && (s.query.Until.IsZero() || !at.After(s.query.Until))
}

// ends is when the next one begins, or the end of time.
func (f *file) ends(files []file) time.Time {
	for i := range files {
		if files[i].begun.After(f.begun) {
			return files[i].begun
		}
	}
	return time.Unix(1<<40, 0)
}

// maxLine is how long a line may be, in bytes. None of the log is.
const maxLine = 1 << 20

// each calls visit with each line of a file, until it returns false; whole is
// false where the file ends within one.
func (f *file) each(ctx context.Context, folder *os.Root, visit func([]byte) bool) (whole bool, err error) {
	in, err := disk.OpenFile(folder, filepath.Base(f.path), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // its time is over
	} else if err != nil {
		return false, nil
	}
	defer in.Close()
	lines := bufio.NewReaderSize(s2.NewReader(io.LimitReader(in, f.size+maxFile), s2.ReaderMaxBlockSize(1<<20)), maxLine)
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		line, err := lines.ReadSlice('\n')
		switch {
		case err == io.EOF:
			return len(line) == 0, nil
		case err != nil:
			return false, nil
		}
		if line = bytes.TrimSuffix(line, []byte{'\n'}); len(line) > 0 && !visit(line) {
			return true, nil
		}
	}
}
