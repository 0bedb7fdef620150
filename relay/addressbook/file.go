package addressbook

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"postern/config"
)

// fileBook is a file that another program exports, as a book that is read only.
type fileBook struct {
	settings config.Book

	mu     sync.Mutex // guards what follows; held while the file is read
	looked time.Time
	read   stamp
	young  bool
	index  *Index
}

// Index is what the file holds, not older than a second.
func (b *fileBook) Index() (*Index, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.index != nil && now.Sub(b.looked) < gap {
		return b.index, nil
	}
	fail := func(err error) (*Index, error) {
		return nil, &unread{"the file of " + b.settings.Name + " " + reason(err), err}
	}
	info, err := os.Stat(b.settings.File) // which the administrator may have made a link
	switch {
	case err != nil:
		return fail(err)
	case b.index != nil && !b.young && b.read == stampOf(info):
		b.looked = now
		return b.index, nil
	}
	text, err := readRegularAt(b.settings.File, info, maxFile)
	if err != nil {
		return fail(err)
	}
	s := Source{Format: b.settings.Provider, Charset: b.settings.Charset, Columns: b.settings.Columns}
	c, err := s.Read(bytes.NewReader(text))
	if wrong := (*Unreadable)(nil); errors.As(err, &wrong) && wrong.Words != "" {
		// Whoever asks for the book may not be allowed to read what is none, such as
		// a file that a link leads to.
		err = &Unreadable{Text: wrong.Text, Words: "postern book import --dry-run FILE shows those that there are"}
	}
	if err != nil {
		return fail(fmt.Errorf("cannot be used: %w", err))
	}
	entries := make([]*Entry, len(c.Cards))
	for i, card := range c.Cards {
		e := card.Entry()
		if e.Book = b.settings.Name; b.settings.Provider != "vcard" {
			e.UID = "" // it was made just now
		}
		entries[i] = e
	}
	for i := range c.Faults {
		c.Faults[i].Book = b.settings.Name
	}
	b.index, b.read, b.looked, b.young = newIndex(entries, c.Faults), stampOf(info), time.Now(), now.Sub(info.ModTime()) < 2*gap
	return b.index, nil
}

// unread is the error of a file, without the path that its cause names.
type unread struct {
	text string
	err  error
}

func (e *unread) Error() string { return e.text }

func (e *unread) Unwrap() error { return e.err }
