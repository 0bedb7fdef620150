package console

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"postern/config"
	"postern/config/wire"
	"postern/relay/letter"
)

// previewed is the page of messages that were made.
type previewed struct {
	ID, File, Back string
	List           []previewedOne
	N              int // of the message that is shown, from 0
	Path           string
	From           string
	To             []recipientLink
	Omitted        int // recipients that are left out
	Letter         *letter.Letter
	Text           string
	Size           int64
	Unsent         int
}

type previewedOne struct {
	To, Subject, Path string
	Sent              string // the page of the message; empty: it was not taken
	Refused           string
}

// recipientLink is a recipient with the answer to what would become of it.
type recipientLink struct{ Address, Explain string }

// madePath is the page of a message that was made, from 0.
func madePath(id string, n int) string { return "/made/" + id + "/" + strconv.Itoa(n) }

// madeIn is the message that a path names. It answers where there is none.
func (s *Server) madeIn(w http.ResponseWriter, r *request) (*made, int) {
	m := s.made.find(r.PathValue("id"), r.secret)
	n, err := strconv.Atoi(r.PathValue("n"))
	if m == nil || err != nil || n < 0 || n >= len(m.list) {
		s.fail(w, r, http.StatusNotFound, errMadeOver)
		return nil, 0
	}
	return m, n
}

// preview shows a message as it would be sent, and what became of all.
func (s *Server) preview(w http.ResponseWriter, r *request) {
	m, n := s.madeIn(w, r)
	if m == nil {
		return
	}
	one := m.list[n]
	page := &previewed{ID: r.PathValue("id"), File: m.file, Back: m.back, N: n, Path: madePath(r.PathValue("id"), n), From: one.from, Size: int64(len(one.content))}
	for i, o := range m.list {
		state := m.stateOf(i)
		shown := previewedOne{Path: madePath(page.ID, i), Refused: wire.Text(state.refused, maxQuestion), To: wire.Line(o.to[0])}
		if len(o.to) > 1 {
			shown.To += fmt.Sprintf(" and %d more", len(o.to)-1)
		}
		if state.id != 0 {
			shown.Sent = "/messages/" + state.id.String()
		} else {
			page.Unsent++
		}
		page.List = append(page.List, shown)
	}
	var err error
	if page.Letter, err = letter.Read(bytes.NewReader(one.content)); err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, err)
		return
	}
	page.Text = harmless(page.Letter.Text)
	page.Omitted = max(0, len(one.to)-shownRecipients)
	for _, to := range one.to[:len(one.to)-page.Omitted] {
		q := url.Values{"from": {one.from}, "to": {to}, "listener": {config.ConsoleListener}, "user": {r.operator()}}
		page.To = append(page.To, recipientLink{to, "/routes?" + q.Encode()})
	}
	w.Header().Set("Content-Security-Policy", policy+"; frame-src 'self'")
	title := page.Letter.Get("Subject")
	if title == "" {
		title = "A message without a subject"
	}
	s.page(w, r, http.StatusOK, "preview", title, page)
}

// Shown are the fields that the page has, of those that the message has.
func (p *previewed) Shown() []letter.Field { return shownOf(p.Letter) }

func (s *Server) previewFrame(w http.ResponseWriter, r *request) {
	m, n := s.madeIn(w, r)
	if m == nil || alone(w, r, madePath(r.PathValue("id"), n)) {
		return
	}
	s.writeFrame(w, r, bytes.NewReader(m.list[n].content))
}

func (s *Server) previewPart(w http.ResponseWriter, r *request) {
	if m, n := s.madeIn(w, r); m != nil {
		s.writePart(w, r, bytes.NewReader(m.list[n].content))
	}
}

func (s *Server) previewSource(w http.ResponseWriter, r *request) {
	m, n := s.madeIn(w, r)
	if m == nil {
		return
	}
	content := m.list[n].content
	asSource(w.Header(), int64(len(content)))
	_, _ = io.Copy(w, bytes.NewReader(content))
}

// sendMade hands the messages in, by the rules for whoever sends mail by this
// relay.
func (s *Server) sendMade(w http.ResponseWriter, r *request) {
	id := r.PathValue("id")
	m := s.made.find(id, r.secret)
	if m == nil {
		s.fail(w, r, http.StatusNotFound, errMadeOver)
		return
	}
	if s.Submit == nil {
		s.fail(w, r, http.StatusConflict, errors.New("this relay takes no mail here"))
		return
	}
	n := m.send(r.Context(), id, Handed{Client: *r.client, Operator: r.operator(), Remark: "message file " + m.file}, s.Submit)
	left := 0
	for i := range m.list {
		if m.stateOf(i).id == 0 {
			left++
		}
	}
	text := count(n) + " queued."
	switch {
	case n == 0 && left == 0:
		text = "All were queued before: nothing was sent again."
	case left > 0:
		text += fmt.Sprintf(" %d not.", left)
	}
	s.sessions.say(r.secret, text)
	http.Redirect(w, r.Request, madePath(id, 0), http.StatusSeeOther)
}
