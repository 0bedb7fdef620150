package console

import (
	"errors"
	"io"
	"net/http"
	"slices"

	"postern/relay/capture"
	"postern/spool"
)

// Release is a captured message that is to go out after all.
type Release struct {
	Name     string // in the Maildir
	From     string
	To       []string
	Upstream string
	Content  io.Reader // as it was captured
	Client   Client
	Operator string
}

// sendOn hands a captured message to an upstream that mail leaves the machine by.
func (s *Server) sendOn(w http.ResponseWriter, r *request) {
	k := s.findCaptured(w, r)
	if k == nil {
		return
	}
	upstream := r.PostForm.Get("upstream")
	if !slices.Contains(realUpstreams(s.Config()), upstream) {
		s.fail(w, r, http.StatusBadRequest, errors.New("there is no such upstream that mail leaves the machine by"))
		return
	}
	f, env, begins, err := s.Captured.Whole(k)
	switch {
	case errors.Is(err, capture.ErrGone):
		s.failCaptured(w, r, err)
		return
	case err != nil:
		s.say(w, r, "It was not sent on: "+err.Error()+".")
		return
	}
	defer f.Close()
	if _, err := f.Seek(begins, io.SeekStart); err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, err)
		return
	}
	id, err := s.Release(r.Context(), &Release{Name: k.Name, From: env.From, To: env.To, Upstream: upstream, Content: f, Client: *r.client, Operator: r.operator()})
	var repeated *spool.Repeated
	switch {
	case errors.As(err, &repeated):
		s.say(w, r, "It was handed to "+upstream+" before, as the message "+repeated.ID.String()+", and is not sent twice.")
		return
	case err != nil:
		s.say(w, r, "It was not sent on: "+err.Error()+".")
		return
	}
	s.Events(&CaptureReleased{Client: *r.client, User: r.user.Name, ID: id, From: env.From, Recipients: len(env.To), Upstream: upstream, Name: k.Name})
	text := "It goes to " + upstream + " as the message " + id.String() + "."
	if err := s.Captured.Mark(k); err != nil {
		text += " It could not be marked: " + err.Error()
	}
	s.say(w, r, text)
}
