package console

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"postern/cmd/book"
	"postern/config/wire"
	"postern/relay/addressbook"
)

// personForm is the form of somebody in a folder of cards.
type personForm struct {
	Book, Path, UID            string // UID empty: it is somebody new
	Seen                       string // addressbook.Stored.Etag
	Name, Addresses, Nicknames string // lists have a line for each
	Organisation, Groups, Card string // Card is the text of it; empty: it cannot be changed as one
	Group                      bool   // it is a group: the text alone is changed
	Problem                    string
}

// maxCardChanged is how long a card may be that is changed as a text, in bytes: a
// form has room for it, whatever escapes it takes.
const maxCardChanged = maxBody / 4

// inFolder has a page be one of the folder of the book that its path names, where
// that can be written.
func inFolder(page func(*Server, http.ResponseWriter, *request, *addressbook.Folder)) func(*Server, http.ResponseWriter, *request) {
	return func(s *Server, w http.ResponseWriter, r *request) {
		books := s.bookIn(w, r)
		if books == nil {
			return
		}
		f := books.Folder(r.PathValue("name"))
		if f == nil {
			s.fail(w, r, http.StatusConflict, errors.New("this book cannot be written here: those with provider = \"vcards\" can"))
			return
		}
		page(s, w, r, f)
	}
}

// ofCard has it be one of a card that is still as the form has shown it.
func ofCard(page func(*Server, http.ResponseWriter, *request, *addressbook.Folder, *addressbook.Stored)) func(*Server, http.ResponseWriter, *request) {
	return inFolder(func(s *Server, w http.ResponseWriter, r *request, f *addressbook.Folder) {
		if card := s.seenCard(w, r, f, r.PostForm.Get("uid")); card != nil {
			page(s, w, r, f, card)
		}
	})
}

// storedIn is the card with a UID of a folder. It answers where there is none.
func (s *Server) storedIn(w http.ResponseWriter, r *request, f *addressbook.Folder, uid string) *addressbook.Stored {
	f.Refresh()
	x, err := f.Index()
	if err != nil {
		s.failCard(w, r, err)
		return nil
	}
	e := x.ByUID(uid)
	if e == nil {
		s.failCard(w, r, addressbook.ErrGone)
		return nil
	}
	card, err := f.Get(e)
	if err != nil {
		s.failCard(w, r, err)
		return nil
	}
	return card
}

func (s *Server) newPerson(w http.ResponseWriter, r *request, f *addressbook.Folder) {
	s.page(w, r, http.StatusOK, "person", "New entry in "+f.Name, &personForm{Book: f.Name, Path: bookPath(f.Name)})
}

func (s *Server) changePerson(w http.ResponseWriter, r *request, f *addressbook.Folder) {
	card := s.storedIn(w, r, f, r.Form.Get("uid"))
	if card == nil {
		return
	}
	s.page(w, r, http.StatusOK, "person", "Change "+titled(card.Entry.Name, "an entry"), formOf(f, card))
}

// formOf is the form with what a card says.
func formOf(f *addressbook.Folder, card *addressbook.Stored) *personForm {
	e := card.Entry
	form := &personForm{Book: f.Name, Path: bookPath(f.Name), UID: e.UID, Seen: card.Etag(), Name: e.Name, Organisation: e.Organisation, Group: e.Group,
		Addresses: strings.Join(e.Addresses, "\n"), Nicknames: strings.Join(e.Nicknames, "\n"), Groups: strings.Join(e.Groups, "\n")}
	if text := strings.ReplaceAll(string(card.Bytes()), "\r\n", "\n"); len(text) <= maxCardChanged && wire.EachLine(text) == text {
		form.Card = text // what is kept is what was shown
	}
	return form
}

// personIn is what a form says of somebody.
func personIn(form url.Values) (*book.Person, error) {
	p := &book.Person{Name: form.Get("name"), Organisation: strings.TrimSpace(form.Get("organisation"))}
	for _, list := range []struct {
		name string
		into *[]string
	}{{"addresses", &p.Addresses}, {"nicknames", &p.Nicknames}, {"groups", &p.Groups}} {
		for line := range strings.Lines(form.Get(list.name)) {
			if line = strings.TrimSpace(line); line != "" {
				*list.into = append(*list.into, line)
			}
		}
		if len(*list.into) > maxListed {
			return p, fmt.Errorf("%s: these are more than %d", list.name, maxListed)
		}
	}
	for _, name := range []string{"name", "organisation", "addresses", "nicknames", "groups"} {
		text := strings.ReplaceAll(form.Get(name), "\r\n", "\n")
		if wire.EachLine(text) != text || name != "addresses" && name != "nicknames" && name != "groups" && strings.Contains(text, "\n") {
			return p, fmt.Errorf("%s: has a character that cannot be seen", name)
		}
		for line := range strings.Lines(text) {
			if len(line) > maxQuestion/4 {
				return p, fmt.Errorf("%s: has a line of more than %d bytes", name, maxQuestion/4)
			}
		}
	}
	return p, p.Check()
}

// savePerson keeps somebody new, or what the form changes of a card.
func (s *Server) savePerson(w http.ResponseWriter, r *request, f *addressbook.Folder) {
	form, uid := r.PostForm, r.PostForm.Get("uid")
	p, err := personIn(form)
	if err != nil {
		again := &personForm{Book: f.Name, Path: bookPath(f.Name), UID: uid, Seen: form.Get("seen"), Name: form.Get("name"), Organisation: form.Get("organisation"),
			Addresses: form.Get("addresses"), Nicknames: form.Get("nicknames"), Groups: form.Get("groups"), Problem: err.Error()}
		s.page(w, r, http.StatusUnprocessableEntity, "person", "This cannot be kept yet", again)
		return
	}
	if uid == "" {
		e, err := book.Add(f, p)
		if err != nil {
			s.failCard(w, r, err)
			return
		}
		s.bookChanged(w, r, f, "added", e.UID, p.Name)
		return
	}
	card := s.seenCard(w, r, f, uid)
	if card == nil {
		return
	}
	if err := book.Update(f, card, p); err != nil {
		s.failCard(w, r, err)
		return
	}
	s.bookChanged(w, r, f, "changed", card.Entry.UID, p.Name)
}

// seenCard is storedIn where the card is still as the form has shown it.
func (s *Server) seenCard(w http.ResponseWriter, r *request, f *addressbook.Folder, uid string) *addressbook.Stored {
	card := s.storedIn(w, r, f, uid)
	if card != nil && card.Etag() != r.PostForm.Get("seen") {
		s.failCard(w, r, addressbook.ErrChanged)
		return nil
	}
	return card
}

// saveCard keeps a card that was changed as a text.
func (s *Server) saveCard(w http.ResponseWriter, r *request, f *addressbook.Folder, card *addressbook.Stored) {
	text := strings.ReplaceAll(r.PostForm.Get("card"), "\r\n", "\n")
	err := error(&book.Faulty{Text: "it has a character that cannot be seen"})
	if wire.EachLine(text) == text {
		_, err = book.Rewrite(f, card, []byte(strings.ReplaceAll(text, "\n", "\r\n")))
	}
	if faulty := (*book.Faulty)(nil); errors.As(err, &faulty) {
		form := formOf(f, card)
		form.Card, form.Problem = text, faulty.Text
		s.page(w, r, http.StatusUnprocessableEntity, "person", "This cannot be kept yet", form)
		return
	}
	if err != nil {
		s.failCard(w, r, err)
		return
	}
	s.bookChanged(w, r, f, "changed", card.Entry.UID, card.Entry.Name)
}

func (s *Server) removeCard(w http.ResponseWriter, r *request, f *addressbook.Folder, card *addressbook.Stored) {
	if err := f.Remove(card); err != nil {
		s.failCard(w, r, err)
		return
	}
	s.bookChanged(w, r, f, "removed", card.Entry.UID, card.Entry.Name)
}

// changeMembers puts people into a group or takes them out, as `postern book
// group` does.
func (s *Server) changeMembers(w http.ResponseWriter, r *request, f *addressbook.Folder) {
	op, group := r.PathValue("op"), strings.TrimSpace(r.PostForm.Get("group"))
	switch {
	case op != "add" && op != "remove":
		s.fail(w, r, http.StatusNotFound, errNoPage)
		return
	case group == "" || len(group) > maxQuestion/4 || wire.Line(group) != group:
		s.fail(w, r, http.StatusUnprocessableEntity, errors.New("this is no name of a group"))
		return
	}
	what, n := "put into "+group, 0
	if op == "remove" {
		what = "taken out of " + group
	}
	for _, who := range r.PostForm["who"] {
		if who = strings.TrimSpace(who); who == "" || len(who) > maxQuestion/4 || wire.Line(who) != who {
			s.fail(w, r, http.StatusUnprocessableEntity, errors.New("this is nobody's name or address"))
			return
		}
		changed, err := true, error(nil)
		if op == "remove" {
			err = book.RemoveFromGroup(f, group, who)
		} else {
			changed, err = book.AddToGroup(f, group, who)
		}
		if err != nil { // what was done before stays
			s.failCard(w, r, err)
			return
		}
		if changed {
			n++
			s.Events(&BookChanged{*r.client, r.user.Name, f.Name, what, who})
		}
	}
	f.Refresh()
	text := fmt.Sprintf("%d %s.", n, what)
	if n == 0 {
		text = "Nothing was changed."
	}
	s.sessions.say(r.secret, text)
	back := groupPath(f.Name, group)
	if x, err := f.Index(); err == nil {
		if _, there := x.Group(group); !there {
			back = bookPage(f.Name)
		}
	}
	http.Redirect(w, r.Request, back, http.StatusSeeOther)
}

// bookPage is the page with what is in a book.
func bookPage(name string) string { return "/books?" + url.Values{"q": {""}, "book": {name}}.Encode() }

// bookChanged tells of a change, and leads on.
func (s *Server) bookChanged(w http.ResponseWriter, r *request, f *addressbook.Folder, what, uid, name string) {
	f.Refresh()
	s.Events(&BookChanged{*r.client, r.user.Name, f.Name, what, uid})
	s.sessions.say(r.secret, titled(name, "The entry")+" is "+what+".")
	to := bookPath(f.Name) + "/entry?" + url.Values{"who": {uid}}.Encode()
	if what == "removed" {
		to = bookPage(f.Name)
	}
	http.Redirect(w, r.Request, to, http.StatusSeeOther)
}

// failCard answers where a card could not be read or written.
func (s *Server) failCard(w http.ResponseWriter, r *request, err error) {
	var nobody *book.Nobody
	status := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, addressbook.ErrGone), errors.As(err, &nobody):
		status = http.StatusNotFound
	case errors.Is(err, addressbook.ErrChanged), errors.Is(err, addressbook.ErrThere):
		status = http.StatusConflict
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("the relay may not write to this book: give the folder to its user, and name it in confine_writable (%w)", err)
	}
	s.fail(w, r, status, errors.New(wire.Text(err.Error(), maxQuestion)))
}
