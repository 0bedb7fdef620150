package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/relay/addressbook"
)

const (
	askFor     = 20 * time.Second // for an answer of a book, with those before it
	askers     = 2                // at a time
	maxShownOf = 200              // of a list of strings of a book
	foundPage  = 50               // entries of a page
)

// shelf is the page of the books.
type shelf struct {
	Books   []shelved
	Query   string
	Book    string // the one that is searched; empty: all
	Asked   bool
	Found   []bookEntry
	Faults  []addressbook.Fault // at most maxShownOf
	Away    []addressbook.Fault
	More    bool
	Problem string
}

// shelved is one book.
type shelved struct {
	addressbook.State
	Path string
}

// bookEntry is an entry with its page.
type bookEntry struct {
	*addressbook.Entry
	Path string
}

// books are those that who asks may see.
func (s *Server) booksOf(r *request) *addressbook.Books {
	if s.Books == nil {
		return &addressbook.Books{}
	}
	return s.Books().Only(func(b *config.Book) bool { return b.AllowsConsole(r.user.Name) })
}

// sees tells whether who asks may see the book of a name; one that is not there
// any more nobody sees.
func (s *Server) sees(r *request, book string) bool {
	return slices.ContainsFunc(s.Config().Books, func(b config.Book) bool { return b.Name == book && b.AllowsConsole(r.user.Name) })
}

// bookIn is the book that a path names. It answers where there is none.
func (s *Server) bookIn(w http.ResponseWriter, r *request) *addressbook.Books {
	books, known := s.booksOf(r).Named(r.PathValue("name"))
	if !known {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such book that you may see"))
		return nil
	}
	return books
}

// asking has a turn to ask books, which other machines may hold. It answers where
// there was none.
func (s *Server) asking(w http.ResponseWriter, r *request) (ctx context.Context, end func()) {
	ctx, cancel := context.WithTimeout(r.Context(), askFor)
	select {
	case s.reading <- struct{}{}:
		return ctx, func() { <-s.reading; cancel() }
	case <-ctx.Done():
		cancel()
		s.fail(w, r, http.StatusServiceUnavailable, errors.New("others are asking: try again in a while"))
		return nil, nil
	}
}

func bookPath(book string) string { return "/books/" + url.PathEscape(book) }

// entryPath is the page of an entry, by what tells it from others.
func entryPath(e *addressbook.Entry) string {
	who := e.UID
	if who == "" {
		who = e.Address()
	}
	if who == "" {
		who = e.Name
	}
	return bookPath(e.Book) + "/entry?" + url.Values{"who": {who}}.Encode()
}

func groupPath(book, name string) string {
	return bookPath(book) + "/group?" + url.Values{"group": {name}}.Encode()
}

func (s *Server) bookList(w http.ResponseWriter, r *request) {
	page := &shelf{Query: strings.TrimSpace(r.Form.Get("q")), Book: r.Form.Get("book"), Asked: r.Form.Has("q")}
	books := s.booksOf(r)
	for _, one := range books.States() {
		page.Books = append(page.Books, shelved{one, bookPath(one.Book)})
	}
	if page.Asked {
		ctx, end := s.asking(w, r)
		if ctx == nil {
			return
		}
		defer end()
		s.findIn(ctx, books, page)
	}
	s.page(w, r, http.StatusOK, "books", "Address books", page)
}

// findIn fills a page with what is found.
func (s *Server) findIn(ctx context.Context, books *addressbook.Books, page *shelf) {
	known := true
	if page.Book != "" {
		books, known = books.Named(page.Book)
	}
	switch {
	case !known:
		page.Problem = "There is no such book that you may see."
		return
	case len(page.Query) > maxQuestion:
		page.Problem = "That is longer than any name."
		return
	}
	found := books.Find(ctx, page.Query, foundPage)
	for _, e := range found.Entries {
		one := bookEntry{e, entryPath(e)}
		if e.Group {
			one.Path = groupPath(e.Book, e.Name)
		}
		page.Found = append(page.Found, one)
	}
	page.More, page.Away = found.More, found.Away
	page.Faults = found.Faults[:min(maxShownOf, len(found.Faults))]
}

// checkedBook is the page of one book that was asked.
type checkedBook struct {
	*addressbook.Checked
	Omitted int // faults that are left out
}

// bookCheck asks a book for all that it can tell of itself, as `postern book test`
// does.
func (s *Server) bookCheck(w http.ResponseWriter, r *request) {
	books := s.bookIn(w, r)
	if books == nil {
		return
	}
	ctx, end := s.asking(w, r)
	if ctx == nil {
		return
	}
	defer end()
	for _, c := range books.Check(ctx) {
		page := &checkedBook{Checked: &c, Omitted: max(0, len(c.Faults)-maxShownOf)}
		c.Faults = c.Faults[:len(c.Faults)-page.Omitted]
		s.page(w, r, http.StatusOK, "book", "Test of the book "+c.Book, page)
		return
	}
}

// failBook answers an error of a book.
func (s *Server) failBook(w http.ResponseWriter, r *request, err error) {
	var unknown *addressbook.Unknown
	var many *addressbook.TooMany
	status := http.StatusServiceUnavailable
	if errors.As(err, &unknown) {
		status = http.StatusNotFound
		if unknown.Several {
			status = http.StatusConflict
		}
		if unknown.Hint != "" && !strings.HasPrefix(unknown.Hint, "postern ") {
			err = errors.New(unknown.Text + ": " + unknown.Hint)
		}
	} else if errors.As(err, &many) {
		status = http.StatusRequestEntityTooLarge
	}
	s.fail(w, r, status, errors.New(wire.Text(err.Error(), maxQuestion)))
}
