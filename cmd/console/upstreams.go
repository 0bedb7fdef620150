package console

import (
	"errors"
	"net/http"
	"net/url"

	"postern/cmd/control"
	"postern/config"
	"postern/queue"
)

func (s *Server) upstreams(w http.ResponseWriter, r *request) {
	s.page(w, r, http.StatusOK, "upstreams", "Upstreams", s.Relay.Status())
}

func (s *Server) upstream(w http.ResponseWriter, r *request) {
	name := r.PathValue("name")
	st := s.Relay.Status()
	for i := range st.Lanes {
		if l := &st.Lanes[i]; l.Upstream == name {
			s.page(w, r, http.StatusOK, "upstream", "Upstream "+name, &laned{l, l.PausedBy != "", s.byCode(name), "/upstreams/" + url.PathEscape(name)})
			return
		}
	}
	s.fail(w, r, http.StatusNotFound, errors.New("there is no such upstream"))
}

// byCode tells whether somebody logs in to an upstream by typing a code.
func (s *Server) byCode(name string) bool {
	up := s.Config().Upstreams[name]
	return up != nil && up.OAuth != nil && up.OAuth.Flow == config.FlowDevice
}

// laned is the page of an upstream.
type laned struct {
	Lane   *control.Lane
	Paused bool
	ByCode bool // somebody logs in to it by typing a code
	Path   string
}

func (s *Server) operateUpstream(w http.ResponseWriter, r *request) {
	name, do, text := r.PathValue("name"), s.Queue.Pause, "The upstream is paused: its mail waits until somebody resumes it."
	switch r.PathValue("op") {
	case "pause":
	case "resume":
		do, text = s.Queue.Resume, "The upstream is resumed."
	default:
		s.fail(w, r, http.StatusNotFound, errors.New("an upstream can be paused and resumed"))
		return
	}
	err := do(name, r.operator())
	var unheard *control.Unheard
	switch {
	case errors.As(err, &unheard):
		s.say(w, r, text+" "+unheard.Error())
	case errors.Is(err, queue.ErrNoUpstream):
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such upstream"))
	case err != nil:
		s.fail(w, r, http.StatusServiceUnavailable, err)
	default:
		s.say(w, r, text)
	}
}
