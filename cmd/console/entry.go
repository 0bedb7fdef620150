package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"postern/config"
	"postern/config/wire"
	"postern/relay/addressbook"
)

// mostLooked is how many entries are looked through for one.
const mostLooked = 1000

// shownEntry is the page of an entry.
type shownEntry struct {
	Entry  *addressbook.Entry
	Groups []link
	Faults []string // of its card
	Text   string   // of its card, as much as is shown; empty: it has none here
	Cut    bool     // there is more of it
	Change string   // the form; empty: it is not to be changed here
}

type link struct{ Name, Path string }

// maxCardShown is how much of the text of a card is shown, in bytes. Pictures may
// be in it.
const maxCardShown = 16 << 10

// find is the entry that a request means, and its card where it is in a folder.
func findEntry(ctx context.Context, books *addressbook.Books, who string) (*addressbook.Entry, *addressbook.Stored, error) {
	if f := books.Folder(books.Names()[0]); f != nil {
		x, err := f.Index()
		if err != nil {
			return nil, nil, err
		}
		if e := x.ByUID(who); e != nil {
			s, err := f.Get(e)
			if err != nil {
				return nil, nil, err
			}
			return s.Entry, s, nil
		}
	}
	if len(who) > maxQuestion || who == "" {
		return nil, nil, &addressbook.Unknown{Text: "nobody is called so"}
	}
	e, err := books.Find(ctx, who, mostLooked).One(who)
	return e, nil, err
}

func (s *Server) bookEntry(w http.ResponseWriter, r *request) {
	books := s.bookIn(w, r)
	if books == nil {
		return
	}
	ctx, end := s.asking(w, r)
	if ctx == nil {
		return
	}
	defer end()
	e, card, err := findEntry(ctx, books, r.Form.Get("who"))
	if err != nil {
		s.failBook(w, r, err)
		return
	}
	page := &shownEntry{Entry: e}
	for _, g := range e.Groups {
		page.Groups = append(page.Groups, link{g, groupPath(e.Book, g)})
	}
	if e.Group {
		page.Groups = append(page.Groups, link{e.Name, groupPath(e.Book, e.Name)})
	}
	if card != nil {
		text := card.Bytes()
		page.Cut = len(text) > maxCardShown
		page.Text = harmless(strings.ReplaceAll(string(text[:min(maxCardShown, len(text))]), "\r\n", "\n"))
		page.Faults = card.Faults()
		if r.may(config.RoleOperate) {
			page.Change = bookPath(e.Book) + "/change?" + url.Values{"uid": {e.UID}}.Encode()
		}
	}
	s.page(w, r, http.StatusOK, "entry", titled(e.Name, "Somebody without a name"), page)
}

// titled is a title of what may have none.
func titled(name, none string) string {
	if name = strings.TrimSpace(wire.Text(name, 200)); name == "" {
		return none
	}
	return name
}

// shownGroup is the page of a group.
type shownGroup struct {
	*addressbook.Expansion
	Path    string // of the book
	Total   int    // of addresses
	Omitted int    // of them, that are left out
	Change  bool   // who asks may put people into it
}

// maxGroupShown is how many addresses of a group a page has.
const maxGroupShown = 500

func (s *Server) bookGroup(w http.ResponseWriter, r *request) {
	books := s.bookIn(w, r)
	if books == nil {
		return
	}
	name := r.Form.Get("group")
	if name == "" || len(name) > maxQuestion {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such group"))
		return
	}
	ctx, end := s.asking(w, r)
	if ctx == nil {
		return
	}
	defer end()
	x, err := books.Expand(ctx, "group:"+books.Names()[0]+"/"+name, maxMembers)
	if err != nil {
		s.failBook(w, r, err)
		return
	}
	page := &shownGroup{Expansion: x, Path: bookPath(x.Book), Total: len(x.Members), Omitted: max(0, len(x.Members)-maxGroupShown),
		Change: r.may(config.RoleOperate) && books.Folder(x.Book) != nil}
	x.Members = x.Members[:len(x.Members)-page.Omitted]
	x.Loops, x.Missing = x.Loops[:min(maxShownOf, len(x.Loops))], x.Missing[:min(maxShownOf, len(x.Missing))]
	s.page(w, r, http.StatusOK, "group", "Group "+titled(x.Name, "without a name"), page)
}

// maxMembers is how many addresses of a group are counted.
const maxMembers = 100_000
