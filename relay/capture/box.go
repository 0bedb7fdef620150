package capture

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/spool/statefile"
)

const (
	// maxListed is how many messages a Box knows of, the newest.
	maxListed = 200_000
	// maxHeads is of how many it remembers the Head: about 300 bytes of each.
	maxHeads = 50_000
	// listAgain is how soon after a look at the Maildir the next one may be;
	// a look that takes long has twenty times as long before the next one.
	listAgain = time.Second
	// readAtOnce is how many names are read of a folder at a time.
	readAtOnce = 4096
	// forgetAfter is how long nobody asks before everything is forgotten.
	forgetAfter = 10 * time.Minute
)

// ErrGone is the error that a message is not in the Maildir any more, or is none.
var ErrGone = errors.New("the message is not there any more")

// Box is what people see of the Maildir of a Server: its messages, the newest
// first. It follows no link, and reads nothing but files: what else stands in the
// Maildir is listed, and gone when it is looked at. Its methods may be called concurrently.
type Box struct {
	dir string

	mu     sync.Mutex // guards what follows; held while the folders are looked at
	kept   []*Kept    // the newest first; never changed in place
	named  map[string]*Kept
	left   int          // older ones that are not in kept
	stamps [2]time.Time // of new and cur, when they were looked at
	looked time.Time
	next   time.Time // there is no other look before it
	idle   *time.Timer

	heads atomic.Int64 // those that are remembered
}

// NewBox reads the Maildir at dir, which need not be there yet.
func NewBox(dir string) *Box { return &Box{dir: dir} }

// Kept is one message of a Box.
type Kept struct {
	Name     string    // in the Maildir, without flags
	At       time.Time // when it was captured; zero: its name does not say
	Released bool      // it was sent on
	cur      bool      // the folder is cur, not new
	file     string    // the name with its flags
	head     atomic.Pointer[Head]
}

func (k *Kept) folder() string {
	if k.cur {
		return "cur"
	}
	return "new"
}

// flagMark stands before the flags in the name of a file in cur.
var flagMark = map[bool]string{false: ":2,", true: ";2,"}[filepath.Separator == '\\']

// flagPassed is the flag of a message that was sent on.
const flagPassed = "P"

// Exists tells whether there is a Maildir.
func (b *Box) Exists() bool {
	info, err := os.Lstat(filepath.Join(b.dir, "new"))
	return err == nil && info.IsDir()
}

// List is what the Maildir holds, the newest first; it must not be changed. left
// is how many older ones there are beside it. An error is one of the folder.
func (b *Box) List() (list []*Kept, left int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remember()
	err = b.refresh()
	return b.kept, b.left, err
}

// Find is the message of a name; nil: there is none.
func (b *Box) Find(name string) *Kept {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remember()
	if err := b.refresh(); err != nil {
		return nil
	}
	return b.named[name]
}

// remember puts off forgetting. mu is held.
func (b *Box) remember() {
	if b.idle == nil {
		b.idle = time.AfterFunc(forgetAfter, b.forget)
		return
	}
	b.idle.Reset(forgetAfter)
}

func (b *Box) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept, b.named, b.left, b.stamps, b.next = nil, nil, 0, [2]time.Time{}, time.Time{}
	b.heads.Store(0)
}

// refresh looks at the folders where they have changed. mu is held.
func (b *Box) refresh() error {
	began := time.Now()
	if b.named != nil && began.Before(b.next) {
		return nil
	}
	stamps, err := b.stamp()
	if err != nil {
		return err
	}
	// A folder that changed within the same tick of the clock looks the same.
	if b.named != nil && stamps == b.stamps && !slices.ContainsFunc(stamps[:], func(t time.Time) bool { return b.looked.Sub(t) < time.Second }) {
		return nil
	}
	var all []*Kept
	b.left = 0
	for _, folder := range []string{"new", "cur"} {
		if all, err = b.look(all, folder); err != nil {
			return err
		}
	}
	b.kept, b.named = b.newest(all), make(map[string]*Kept, len(all))
	for _, k := range b.kept {
		b.named[k.Name] = k
	}
	b.stamps, b.looked = stamps, began
	b.next = time.Now().Add(max(listAgain, 20*time.Since(began)))
	return nil
}

// stamp is when the folders changed last.
func (b *Box) stamp() (stamps [2]time.Time, err error) {
	for i, folder := range []string{"new", "cur"} {
		info, err := os.Lstat(filepath.Join(b.dir, folder))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return stamps, err
		}
		stamps[i] = info.ModTime()
	}
	return stamps, nil
}

// look adds the messages of a folder to list.
func (b *Box) look(list []*Kept, folder string) ([]*Kept, error) {
	root, err := b.open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	if err != nil {
		return list, err
	}
	defer root.Close()
	dir, err := root.Open(".")
	if err != nil {
		return list, err
	}
	defer dir.Close()
	for {
		// What each name is, is seen when it is opened: to ask here would cost more
		// than all else.
		names, err := dir.Readdirnames(readAtOnce)
		for _, name := range names {
			if !strings.HasPrefix(name, ".") {
				list = append(list, b.keptAs(folder == "cur", name))
			}
		}
		if len(list) >= 2*maxListed {
			list = b.newest(list)
		}
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return list, err
		}
	}
}

// keptAs is the message of a file; what is known of it stays.
func (b *Box) keptAs(cur bool, file string) *Kept {
	name, flags, _ := strings.Cut(file, flagMark)
	if old := b.named[name]; old != nil && old.file == file && old.cur == cur {
		return old
	}
	return &Kept{Name: name, At: instantOf(name), Released: strings.Contains(flags, flagPassed), cur: cur, file: file}
}

// newest sorts list, and leaves out and counts those beyond maxListed.
func (b *Box) newest(list []*Kept) []*Kept {
	slices.SortFunc(list, inOrder)
	if len(list) > maxListed {
		b.left += len(list) - maxListed
		clear(list[maxListed:])
		list = list[:maxListed]
	}
	return list
}

// instantOf is when the name of a message says that it was made: seconds, and
// microseconds after ".M".
func instantOf(name string) time.Time {
	seconds, rest, _ := strings.Cut(name, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || s < 0 || s > 1<<40 {
		return time.Time{}
	}
	var micro int64
	if rest, ok := strings.CutPrefix(rest, "M"); ok {
		n := 0
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		micro, _ = strconv.ParseInt(rest[:n], 10, 64)
	}
	return time.Unix(s, min(micro, 999_999)*1000)
}

// open opens a folder of the Maildir, in the place of which no link is followed.
func (b *Box) open(folder string) (*os.Root, error) {
	whole, err := statefile.Open(b.dir)
	if err != nil {
		return nil, err
	}
	defer whole.Close()
	return statefile.Open(filepath.Join(b.dir, folder))
}

// Open opens a message for reading. What it opens is a file, and no link to one.
// ErrGone: it is not there any more.
func (b *Box) Open(k *Kept) (*os.File, error) {
	root, err := b.open(k.folder())
	if err != nil {
		return nil, gone(err)
	}
	defer root.Close()
	named, err := root.Lstat(k.file)
	if err != nil {
		return nil, gone(err)
	}
	if !named.Mode().IsRegular() {
		return nil, ErrGone
	}
	f, err := root.OpenFile(k.file, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, gone(err)
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || !os.SameFile(info, named)) {
		err = ErrGone
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrGone
	}
	return err
}

// Remove removes a message for good. ErrGone: it was removed before.
func (b *Box) Remove(k *Kept) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	root, err := b.open(k.folder())
	if err != nil {
		return gone(err)
	}
	defer root.Close()
	if err := root.Remove(k.file); err != nil {
		return gone(err)
	}
	b.replace(k, nil)
	return nil
}

// Mark marks a message as one that was sent on.
func (b *Box) Mark(k *Kept) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k.Released {
		return nil
	}
	whole, err := statefile.Open(b.dir)
	if err != nil {
		return gone(err)
	}
	defer whole.Close()
	for _, folder := range []string{"new", "cur"} { // neither is a link
		root, err := statefile.Open(filepath.Join(b.dir, folder))
		if err != nil {
			return gone(err)
		}
		root.Close()
	}
	_, flags, marked := strings.Cut(k.file, flagMark)
	if marked && strings.Trim(flags, "DFRST") != "" {
		return fmt.Errorf("%s has flags that are not known here", k.file)
	}
	sorted := []byte(flags + flagPassed)
	slices.Sort(sorted)
	fresh := &Kept{Name: k.Name, At: k.At, Released: true, cur: true, file: k.Name + flagMark + string(sorted)}
	fresh.head.Store(k.head.Load())
	if err := whole.Rename(filepath.Join(k.folder(), k.file), filepath.Join("cur", fresh.file)); err != nil {
		return gone(err)
	}
	b.replace(k, fresh)
	return nil
}

// replace puts another in the place of a message; nil: none. mu is held.
func (b *Box) replace(k, by *Kept) {
	i := slices.Index(b.kept, k)
	if i < 0 {
		return
	}
	b.kept = slices.Clone(b.kept)
	if by == nil {
		b.kept = slices.Delete(b.kept, i, i+1)
		delete(b.named, k.Name)
		return
	}
	b.kept[i], b.named[k.Name] = by, by
}

// After are those of a list of a Box that come after the message of a name, which
// may be gone by now; newer is how many come before them.
func After(list []*Kept, name string) (older []*Kept, newer int) {
	at := &Kept{Name: name, At: instantOf(name)}
	i, found := slices.BinarySearchFunc(list, at, inOrder)
	if found {
		return list[i+1:], i
	}
	return list[i:], i
}

// inOrder has the newest first.
func inOrder(x, y *Kept) int { return cmp.Or(y.At.Compare(x.At), cmp.Compare(y.Name, x.Name)) }
