// Package naming says whom a name stands for: it expands aliases, asks the
// address books, completes addresses without a domain, and reads the file of
// aliases again when it has changed.
//
// It owns the aliases that are in force. It never routes, and never refuses:
// that is for whoever asks (relay/submission). An address with a domain is looked
// up in no book. To read first: [Names.Complete], [Names.Expand], [Names.Call],
// Names.look.
package naming

import (
	"context"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/config/alias"
	"postern/config/wire"
	"postern/relay/addressbook"
)

// Names is what a configuration says about names. A nil one completes and
// expands nothing. Its methods may be called concurrently.
type Names struct {
	domain string
	books  *addressbook.Books
	table  atomic.Pointer[alias.Table] // nil: there are no aliases
	load   func(read func(path string) ([]byte, error)) (*alias.Table, error)
	read   func(path string) ([]byte, error)

	mu     sync.Mutex // guards what follows; held while files are looked at and read
	looked time.Time
	files  map[string]stamp // nil: there are none to look at
}

// stamp tells one state of a file from another.
type stamp struct {
	info os.FileInfo // nil: it could not be looked at
}

func (s stamp) same(t stamp) bool {
	if s.info == nil || t.info == nil {
		return s.info == t.info
	}
	return os.SameFile(s.info, t.info) && s.info.Size() == t.info.Size() && s.info.ModTime().Equal(t.info.ModTime())
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info}
}

// New reads the aliases. It is nil where the configuration has nothing about
// names. It fails on what config.Load would refuse.
func New(cfg *config.Config) (*Names, error) {
	s := &cfg.Submission
	if s.Domain == "" && !s.HasAliases() && len(cfg.Books) == 0 {
		return nil, nil
	}
	n := &Names{domain: s.Domain, books: addressbook.New(cfg.Books), load: s.ReadAliases, read: cfg.ReadAliasFile}
	if !s.HasAliases() {
		return n, nil
	}
	table, err := n.readAll()
	if err != nil {
		return nil, err
	}
	n.table.Store(table)
	return n, nil
}

// readAll reads all aliases, and notes how their files look before each is
// read: what changes meanwhile is seen the next time.
func (n *Names) readAll() (*alias.Table, error) {
	files := map[string]stamp{}
	table, err := n.load(func(path string) ([]byte, error) {
		files[path] = stampOf(path)
		return n.read(path)
	})
	if len(files) > 0 {
		n.files = files
	}
	return table, err
}

// Domain completes names; empty: nothing does.
func (n *Names) Domain() string {
	if n == nil {
		return ""
	}
	return n.domain
}

// Bare reports whether an address that is not empty has no domain.
func Bare(address string) bool {
	if address == "" || address[len(address)-1] != '"' && strings.IndexByte(address, '@') >= 0 {
		return false
	}
	_, domain := wire.SplitAddress(address)
	return domain == ""
}

// Complete is address with a domain. It is false where it has none and nothing
// completes it.
func (n *Names) Complete(address string) (string, bool) {
	if !Bare(address) {
		return address, true
	}
	if n.Domain() == "" {
		return address, false
	}
	return address + "@" + n.domain, true
}

// Local reports whether an address may have an alias: it has no domain, or one
// whose names do.
func (n *Names) Local(address string) bool {
	if n == nil {
		return false
	}
	table := n.table.Load()
	if table == nil {
		return false
	}
	_, domain := wire.SplitAddress(address)
	return domain == "" || table.Local(domain)
}

// Expand is what an address that is Local stands for; nil: it has no alias.
// limit bounds the addresses. Names in an alias that have none themselves are
// those of address books, or else completed. A file that has changed is read
// before (Changed). The error is one of addressbook.Books.Called.
func (n *Names) Expand(ctx context.Context, address string, limit int) (*Meaning, *Changed, error) {
	changed := n.look(time.Now())
	x := n.table.Load().Expand(address, limit)
	if x == nil {
		return nil, changed, nil
	}
	m, err := n.meaningOf(ctx, x, limit)
	return m, changed, err
}

// Changed tells of aliases that were read again.
type Changed struct {
	File  string
	Names int   // that have an alias now
	Err   error // not nil: they can't be used, and those from before stay in force
}

// gap is how long files are not looked at again, and how old a change has to
// be, so that a file is not read while it is being written.
const gap = time.Second

// look reads the aliases again where a file of theirs has changed. Nil: none
// has, or somebody else is looking.
func (n *Names) look(now time.Time) *Changed {
	if !n.mu.TryLock() {
		return nil
	}
	defer n.mu.Unlock()
	if n.files == nil || now.Sub(n.looked) < gap {
		return nil
	}
	n.looked = now
	same := true
	for path, before := range n.files {
		s := stampOf(path)
		same = same && s.same(before)
		if s.info != nil {
			if age := now.Sub(s.info.ModTime()); age >= 0 && age < gap {
				return nil
			}
		}
	}
	if same {
		return nil
	}
	table, err := n.readAll()
	c := &Changed{Err: err}
	if err == nil {
		n.table.Store(table)
	}
	table = n.table.Load()
	c.Names, c.File = table.Names, table.Files[0]
	return c
}
