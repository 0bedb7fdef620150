package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"postern/relay/capture"
)

// caught is a page of captured mail.
type caught struct {
	Query   string
	List    []caughtOne
	All     int    // that there are
	Left    int    // older ones that are not looked at
	Newest  string // the page of the first of all
	Looked  int
	Next    string // the page after this one; empty: there is none
	Unended bool   // the search ended by its time, and goes on in Next
	Begun   bool   // this is not the first page
	Newer   int    // those that have come since
}

type caughtOne struct {
	*capture.Kept
	*capture.Head
	Path string
}

// capturedPath is the page of a message. Its name is one that a file has, and not
// a path.
func capturedPath(name string) string { return "/captured/" + url.PathEscape(name) }

func (s *Server) captured(w http.ResponseWriter, r *request) {
	all, left, err := s.Captured.List()
	if err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, err)
		return
	}
	page := &caught{Query: strings.TrimSpace(r.Form.Get("q")), All: len(all), Left: left, Newest: capturedPath("0")}
	if len(all) > 0 {
		page.Newest = capturedPath(all[0].Name)
	}
	rest := all
	if after := r.Form.Get("after"); after != "" {
		rest, _ = capture.After(all, after)
		page.Begun = true
	}
	last, more := s.lookAt(rest, page)
	if more {
		page.Next = "/captured?" + url.Values{"q": {page.Query}, "after": {last}}.Encode()
	}
	s.page(w, r, http.StatusOK, "captured", "Captured mail", page)
}

// lookAt fills a page with what is found in a list, until it is full or its time is
// over; last is the last message that was looked at.
func (s *Server) lookAt(list []*capture.Kept, page *caught) (last string, more bool) {
	until := time.Now().Add(searchFor)
	wanted := strings.ToLower(page.Query)
	for _, k := range list {
		switch {
		case len(page.List) >= perPage:
			return last, true
		case page.Looked%64 == 63 && time.Now().After(until):
			page.Unended = true
			return last, true
		}
		page.Looked++
		last = k.Name
		h, err := s.Captured.Head(k)
		if err != nil {
			continue // it was removed since, or is no message
		}
		if wanted == "" || strings.Contains(searched(h), wanted) {
			page.List = append(page.List, caughtOne{k, h, capturedPath(k.Name)})
		}
	}
	return last, false
}

// searched is what a search looks through.
func searched(h *capture.Head) string {
	return strings.ToLower(h.Subject + "\n" + h.From + "\n" + h.Sender + "\n" + strings.Join(h.To, "\n") + "\n" + h.Upstream)
}

// newer says how many messages were captured after one.
func (s *Server) newer(w http.ResponseWriter, r *request) {
	all, _, err := s.Captured.List()
	if err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, err)
		return
	}
	_, n := capture.After(all, r.PathValue("name"))
	s.page(w, r, http.StatusOK, "newer", "New mail", &caught{Newer: n})
}

// removeCaptured removes the messages that a form names.
func (s *Server) removeCaptured(w http.ResponseWriter, r *request) {
	removed, missing := 0, 0
	for _, name := range r.PostForm["name"] {
		k := s.Captured.Find(name)
		if k == nil {
			missing++
			continue
		}
		err := s.Captured.Remove(k)
		switch {
		case errors.Is(err, capture.ErrGone):
			missing++
			continue
		case err != nil:
			s.fail(w, r, http.StatusServiceUnavailable, err)
			return
		}
		removed++
		s.Events(&CaptureRemoved{*r.client, r.user.Name, k.Name})
	}
	text := "No message was chosen."
	if removed+missing > 0 {
		text = count(removed) + " removed."
	}
	if missing > 0 {
		text += fmt.Sprintf(" %d were not there any more.", missing)
	}
	s.say(w, r, text)
}
