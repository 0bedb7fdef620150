package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/queue"
	"postern/relay/peer"
	"postern/spool"
)

// Server answers administrators on a control socket, and scrapers on an
// optional address. The zero value is of no use; make one with NewServer.
type Server struct {
	Options
	control *http.Server
	metrics *http.Server
	reading *http.Server
	stall   time.Duration // stallTimeout
	// searching has an element while the history is searched.
	searching chan struct{}
}

// NewServer makes a server.
func NewServer(o Options) *Server {
	s := &Server{Options: o, stall: stallTimeout, searching: make(chan struct{}, 1)}
	s.control = s.newHTTP(s.with(Look | Operate))
	s.reading = s.newHTTP(s.with(Look))
	s.metrics = s.newHTTP(s.ownHost(s.with(0)))
	s.metrics.WriteTimeout = scrapeTimeout
	return s
}

// ownHost refuses requests for hosts that are not this machine: a web page that
// has its own name lead here could read what it gets.
func (s *Server) ownHost(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := peer.HostName(r.Host)
		if !peer.OwnHost(name, s.Relay.Hostname()) {
			refuse(w, http.StatusMisdirectedRequest, fmt.Errorf("%q is not the name of this machine; ask by its address, or by its hostname", name))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// health is for probes: 200 or 503, and the reasons as lines of text.
func (s *Server) health(w http.ResponseWriter, _ *request) {
	problems, degraded := s.Relay.Health()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(problems) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	io.WriteString(w, strings.Join(HealthLines(problems, degraded), "\n")+"\n")
}

// HealthLines is what /healthz and `postern status --health` print: "ok" alone,
// or what is wrong and what is degraded, one a line.
func HealthLines(problems, degraded []string) []string {
	lines := slices.Clone(problems)
	for _, d := range degraded {
		lines = append(lines, "degraded: "+d)
	}
	if len(lines) == 0 {
		return []string{"ok"}
	}
	return lines
}

func (s *Server) status(w http.ResponseWriter, _ *request) {
	reply(w, http.StatusOK, s.Relay.Status())
}

// list streams one JSON object a line. A list that breaks off ends in an
// object with the one key "error", since its status has gone out already.
func (s *Server) list(w http.ResponseWriter, r *request) {
	f, err := filterOf(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if err := s.knows(f.Upstream); err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := newEncoder(w)
	waits := NewReasons(s.Queue, s.Standin)
	err = walk(r.Context(), s.Store, f, true, func(sum *spool.Summary, e *Entry) error {
		waits.Tell(r.Context(), sum.ID, e)
		return enc.Encode(e)
	})
	if err != nil {
		_ = enc.Encode(problem{Error: err.Error()})
	}
}

// stands tells whether a message is in a stand-in spool.
func (s *Server) stands(ctx context.Context, id spool.ID) bool {
	return s.Standin != nil && s.Standin(ctx, id)
}

// unset is what an empty value of a query stands for.
var unset = map[string]string{"held": "false", "deferred": "false", "limit": "0"}

// filterOf reads a query. A name or value that is not known would silently
// list everything.
func filterOf(query string) (Filter, error) {
	var f Filter
	values, err := url.ParseQuery(query)
	if err != nil {
		return f, errors.New("the query is malformed")
	}
	for name, all := range values {
		value := all[len(all)-1]
		if value == "" {
			value = unset[name]
		}
		switch name {
		case "upstream":
			f.Upstream = value
		case "from":
			f.From = value
		case "to":
			f.To = value
		case "storm":
			f.Storm = value
		case "held", "deferred", "scheduled":
			yes, err := strconv.ParseBool(value)
			if err != nil {
				return f, fmt.Errorf("%s is true or false", name)
			}
			*map[string]*bool{"held": &f.Held, "deferred": &f.Deferred, "scheduled": &f.Scheduled}[name] = yes
		case "limit":
			if f.Limit, err = strconv.Atoi(value); err != nil || f.Limit < 0 {
				return f, errors.New("limit is not a number of entries")
			}
		default:
			return f, errors.New("a list of the queue takes upstream, from, to, storm, held, deferred, scheduled and limit")
		}
	}
	return f, nil
}

func (s *Server) message(w http.ResponseWriter, r *request) {
	id, err := spool.ParseID(r.PathValue("id"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	d, err := s.Store.Detail(r.Context(), id)
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	waits := NewReasons(s.Queue, s.Standin)
	reply(w, http.StatusOK, NewMessage(d, time.Now(), func(upstream string) string {
		return waits.Of(r.Context(), id, upstream, d.Envelope.From)
	}))
}

func (s *Server) content(w http.ResponseWriter, r *request) {
	id, err := spool.ParseID(r.PathValue("id"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	c, err := s.Store.Content(r.Context(), id)
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	defer c.Close()
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Length", strconv.FormatInt(c.Size(), 10))
	_, _ = io.Copy(w, io.NewSectionReader(c, 0, c.Size()))
}

func (s *Server) upstream(w http.ResponseWriter, r *request) {
	do := s.Queue.Pause
	switch r.PathValue("op") {
	case "pause":
	case "resume":
		do = s.Queue.Resume
	default:
		refuse(w, http.StatusNotFound, errors.New("an upstream can be paused and resumed"))
		return
	}
	err := do(r.PathValue("name"), r.who.User)
	if unheard := (*Unheard)(nil); errors.As(err, &unheard) {
		reply(w, http.StatusOK, noted{unheard.Error()})
		return
	}
	if err != nil {
		if errors.Is(err, queue.ErrNoUpstream) {
			err = &NoUpstream{r.PathValue("name"), s.Relay.Upstreams()}
		}
		refuse(w, statusOf(err), err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) reload(w http.ResponseWriter, r *request) {
	done, err := s.Relay.Reload(r.Context(), r.who.User)
	var rejected *Rejected
	var blocked *Blocked
	switch {
	case errors.As(err, &blocked):
		reply(w, http.StatusUnprocessableEntity, problem{Error: blocked.Error(), Obstacle: blocked.Obstacle, Hint: blocked.Hint})
	case errors.As(err, &rejected):
		reply(w, http.StatusUnprocessableEntity, problem{Error: rejected.Error(), Rejected: rejected})
	case err != nil:
		refuse(w, http.StatusInternalServerError, err)
	default:
		reply(w, http.StatusOK, done)
	}
}

// noted is the body of an answer that something is done, with a word about it.
type noted struct {
	Note string `json:"note"`
}

// problem is the body of every answer that is not a success.
type problem struct {
	Error    string    `json:"error"`
	Rejected *Rejected `json:"rejected,omitempty"`
	Obstacle Obstacle  `json:"obstacle,omitempty"`
	Hint     string    `json:"hint,omitempty"`
}

func statusOf(err error) int {
	var wrong invalid
	var long tooLong
	var unfinished *Unfinished
	switch {
	case errors.As(err, &unfinished):
		return http.StatusServiceUnavailable
	case errors.As(err, &long):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &wrong):
		return http.StatusBadRequest
	case errors.Is(err, spool.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, queue.ErrNotRecorded), errors.Is(err, spool.ErrFull), errors.Is(err, spool.ErrManyKeys):
		return http.StatusServiceUnavailable
	case errors.Is(err, spool.ErrNotFound), errors.Is(err, queue.ErrNoUpstream), errors.Is(err, ErrNoRecipient):
		return http.StatusNotFound
	case errors.Is(err, spool.ErrClaimed), errors.Is(err, errStandin):
		return http.StatusConflict
	case errors.Is(err, spool.ErrDamaged):
		return http.StatusGone
	}
	return http.StatusInternalServerError
}

func refuse(w http.ResponseWriter, status int, err error) {
	reply(w, status, problem{Error: err.Error()})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = newEncoder(w).Encode(v)
}

func newEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // an address is best read as <a@b>
	return enc
}
