package console

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/cmd/control"
	"postern/cmd/definition"
	"postern/config"
	"postern/config/wire"
)

// Defined tells that somebody has defined something, or removed a definition, or
// was shown how to do so as root.
type Defined struct {
	Client  Client
	User    string
	Kind    string
	Name    string
	File    string
	Removed bool
	ByHand  bool // nothing was written but secrets
}

func (*Defined) event() {}

// kindIn is the kind that a path names; empty: there is no such page.
func (s *Server) kindIn(w http.ResponseWriter, r *request) (definition.Kind, *definition.Store) {
	kind := definition.Kind(r.PathValue("kind"))
	if !slices.Contains(kindsOf, kind) {
		s.fail(w, r, http.StatusNotFound, errNoPage)
		return "", nil
	}
	store, err := s.definitionStore()
	if err != nil {
		s.fail(w, r, http.StatusConflict, err)
		return "", nil
	}
	return kind, store
}

// readOnly is the page of a definition that somebody has written by hand.
type readOnly struct {
	Kind     definition.Kind
	File     string
	Line     int
	Settings []shownSetting
}

// defineForm shows the form of a definition, or, where it is not ours to change,
// what it is.
func (s *Server) defineForm(w http.ResponseWriter, r *request) {
	kind, store := s.kindIn(w, r)
	if store == nil {
		return
	}
	name := r.Form.Get("name")
	if name == "" {
		form := newForm(kind, "", nil, nil)
		form.Places = placesOf(store, kind, "")
		s.page(w, r, http.StatusOK, "define", "New "+string(kind), form)
		return
	}
	there, err := store.Read(kind, name)
	if err == nil {
		form := newForm(kind, name, there.Values, secretsIn(kind, there.Values))
		form.Edit, form.Seen = true, there.Digest
		s.page(w, r, http.StatusOK, "define", "Change "+string(kind)+" "+name, form)
		return
	}
	cfg := s.Config()
	list, key := settingsOf(cfg, kind, name)
	if key == "" {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such "+string(kind)))
		return
	}
	file, line := placeOfKey(cfg, map[string]func(string) int{}, key)
	s.page(w, r, http.StatusOK, "defined", capital(string(kind))+" "+name, &readOnly{kind, file, line, list})
}

func capital(word string) string {
	_, n := utf8.DecodeRuneInString(word)
	return strings.ToUpper(word[:n]) + word[n:]
}

// tryDefinition reads the configuration with what the form has, walks the way to
// an upstream, and shows both before anything is kept.
func (s *Server) tryDefinition(w http.ResponseWriter, r *request) {
	kind, store := s.kindIn(w, r)
	if store == nil {
		return
	}
	name, seen := strings.TrimSpace(r.PostForm.Get("name")), r.PostForm.Get("seen")
	before := map[string]any{}
	if seen != "" {
		there, err := store.Read(kind, name)
		if err != nil || there.Digest != seen {
			s.fail(w, r, http.StatusConflict, definition.ErrChanged)
			return
		}
		before = there.Values
	}
	values, secrets, err := filledIn(kind, before, r.PostForm)
	if wire.Line(name) != name {
		err = errors.New("the name has a character that cannot be seen")
	}
	if err == nil {
		err = retyped(kind, before, values, secrets)
	}
	d := &draft{store: store, seen: seen, def: definition.Definition{Kind: kind, Name: name, Values: values, Secrets: secrets}}
	if err == nil && seen == "" {
		d.order, err = orderOf(store, kind, r.PostForm.Get("place"))
	}
	if err == nil {
		s.drafts.forgetOf(r.secret, (*draft).defines) // whose walk would be in the way
		d.result, err = store.Put(r.Context(), d.def, definition.Change{Seen: seen, Order: d.order, DryRun: true})
	}
	if err != nil {
		form := newForm(kind, name, values, secretsIn(kind, before))
		form.Edit, form.Seen = seen != "", seen
		if form.blame(err); seen == "" {
			form.Places = placesOf(store, kind, r.PostForm.Get("place"))
		}
		s.page(w, r, http.StatusUnprocessableEntity, "define", "This cannot be used yet", form)
		return
	}
	if kind == definition.Upstream {
		d.walk = s.beginWalk(func(ctx context.Context, look func(*config.Config) error) error {
			_, err := store.Put(ctx, d.def, definition.Change{Seen: seen, DryRun: true, Try: func(_ context.Context, cfg *config.Config) error { return look(cfg) }})
			return err
		}, name)
	}
	http.Redirect(w, r.Request, "/drafts/"+s.drafts.add(r.secret, d), http.StatusSeeOther)
}

// drafted is the page of what is about to be kept.
type drafted struct {
	ID, File, Text, Back string
	Warnings             []string
	ByHand, Secrets      bool    // it cannot be written by this process; it has some
	Walked               *walked // nil: there is no way to walk
	Bad                  bool
}

func (s *Server) draft(w http.ResponseWriter, r *request) {
	id := r.PathValue("id")
	d := s.drafts.find(id, r.secret)
	if d == nil || !d.defines() {
		s.fail(w, r, http.StatusNotFound, errors.New("this is over: fill in the form again"))
		return
	}
	s.page(w, r, http.StatusOK, "draft", capital(string(d.def.Kind))+" "+d.def.Name, draftedOf(id, d))
}

func draftedOf(id string, d *draft) *drafted {
	page := &drafted{ID: id, File: d.result.File, Text: d.result.Text, Back: d.back(), ByHand: d.store.Writable() != nil, Secrets: len(d.def.Secrets) > 0}
	for i := range d.result.Warnings {
		page.Warnings = append(page.Warnings, d.result.Warnings[i].String())
	}
	if d.walk != nil {
		page.Walked = d.walk.now()
		page.Bad = page.Walked.Bad
	}
	return page
}

// keep writes a draft, or, where this process may not, shows how root can.
func (s *Server) keep(w http.ResponseWriter, r *request) {
	d := s.drafts.take(r.PathValue("id"), r.secret)
	if d == nil || !d.defines() {
		s.fail(w, r, http.StatusNotFound, errors.New("this is over: fill in the form again"))
		return
	}
	if d.walk != nil && !d.walk.now().Ended {
		d.walk.cancel() // its password is about to be another's
	}
	propose := d.store.Writable() != nil
	done, err := d.store.Put(context.WithoutCancel(r.Context()), d.def, definition.Change{Seen: d.seen, Order: d.order, Reload: s.reloadAs(r.operator()), Propose: propose})
	s.settled(w, r, &d.def, done, err, propose, false)
}

func (s *Server) removeDefinition(w http.ResponseWriter, r *request) {
	kind, store := s.kindIn(w, r)
	if store == nil {
		return
	}
	d := &definition.Definition{Kind: kind, Name: r.PostForm.Get("name")}
	if _, err := store.Read(kind, d.Name); err != nil {
		s.settled(w, r, d, nil, err, false, true)
		return
	}
	if n := s.waitingFor(d); n > 0 {
		s.fail(w, r, http.StatusConflict, fmt.Errorf("%d deliveries wait for this upstream: see to them first", n))
		return
	}
	propose := store.Writable() != nil
	done, err := store.Remove(context.WithoutCancel(r.Context()), kind, d.Name, definition.Change{Seen: r.PostForm.Get("seen"), Reload: s.reloadAs(r.operator()), DryRun: propose})
	s.settled(w, r, d, done, err, propose, true)
}

// waitingFor is how many deliveries wait for an upstream.
func (s *Server) waitingFor(d *definition.Definition) int {
	if d.Kind == definition.Upstream {
		st := s.Relay.Status()
		for i := range st.Lanes {
			if l := &st.Lanes[i]; l.Upstream == d.Name {
				return l.Queued
			}
		}
	}
	return 0
}

// reloadAs has the daemon take what was written. It has not where there is an
// error.
func (s *Server) reloadAs(operator string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := s.Relay.Reload(ctx, operator)
		var rejected *control.Rejected
		if errors.As(err, &rejected) {
			return &control.Refused{Status: http.StatusUnprocessableEntity, Reason: rejected.Error(), Rejected: rejected}
		}
		if err != nil {
			return &control.Refused{Status: http.StatusConflict, Reason: err.Error()}
		}
		return nil
	}
}

// byHand is the page that shows what to do as root.
type byHand struct {
	Kind             definition.Kind
	File, Command    string
	Removed, Secrets bool
}

// settled answers when a definition was kept or removed, or was not.
func (s *Server) settled(w http.ResponseWriter, r *request, d *definition.Definition, done *definition.Result, err error, proposed, removed bool) {
	if err != nil {
		text := "Nothing was changed: "
		var refused *control.Refused
		if errors.As(err, &refused) && refused.Rejected != nil {
			for i := range refused.Rejected.Problems {
				text += refused.Rejected.Problems[i].String() + " "
			}
		} else if errors.Is(err, fs.ErrNotExist) {
			text += "there is no such definition"
		} else {
			text += err.Error()
		}
		s.failTo(w, r, http.StatusConflict, errors.New(text), s.definitionLeads(d.Kind, d.Name)...)
		return
	}
	s.Events(&Defined{*r.client, r.user.Name, string(d.Kind), d.Name, done.File, removed, proposed})
	if proposed {
		s.page(w, r, http.StatusOK, "byhand", "To be done as root", &byHand{d.Kind, done.File, commandFor(done, s.Config().Path), removed, len(d.Secrets) > 0})
		return
	}
	text := capital(string(d.Kind)) + " " + d.Name + " is in force, from " + done.File + "."
	if removed {
		text = capital(string(d.Kind)) + " " + d.Name + " is removed."
	}
	for i := range done.Warnings {
		text += " " + done.Warnings[i].String()
	}
	s.sessions.say(r.secret, text)
	http.Redirect(w, r.Request, "/definitions", http.StatusSeeOther)
}

// commandFor is what root types. No line of a definition can end the text, since
// values have no line ends.
func commandFor(done *definition.Result, path string) string {
	reload := "postern reload --config " + quoted(path) + "\n"
	if done.Text == "" {
		return "rm " + quoted(done.File) + "\n" + reload
	}
	return "install -D -m 0644 /dev/stdin " + quoted(done.File) + " <<'END'\n" + done.Text + "END\n" + reload
}

// quoted is a word of a shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// back is the form again, without what was typed.
func (d *draft) back() string {
	if d.seen != "" {
		return formPath(d.def.Kind, d.def.Name)
	}
	return (&url.URL{Path: "/definitions/" + string(d.def.Kind)}).String()
}
