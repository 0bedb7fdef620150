package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"postern/cmd/doctor"
	"postern/config"
)

const (
	walkFor = 2 * time.Minute // as `postern upstream test` waits
	walkers = 2               // at a time; others wait for them
)

// walk is a look at the way to an upstream that goes on while its page is shown.
type walk struct {
	*progress[walked]
	cancel context.CancelFunc
}

// walked is how far a walk has come.
type walked struct {
	Findings []doctor.Finding
	Doing    string // what goes on, in words; empty: it waits for its turn
	Problem  string // why it could not be done; empty: it could
	Ended    bool
	Bad      bool // it ended, and mail would not go
}

// beginWalk looks at an upstream of the configuration that with hands to its
// function. It ends by itself, and with the server.
func (s *Server) beginWalk(with func(ctx context.Context, look func(*config.Config) error) error, name string) *walk {
	ctx, cancel := context.WithTimeout(s.ctx, walkFor)
	k := &walk{newProgress(walked{}), cancel}
	s.walks.Go(func() {
		defer cancel()
		err := s.walkSafely(func() error {
			select {
			case s.walking <- struct{}{}:
				defer func() { <-s.walking }()
			case <-ctx.Done():
				return ctx.Err()
			}
			return with(ctx, func(cfg *config.Config) error { return k.look(ctx, s, cfg, name) })
		})
		k.set(func(w *walked) {
			w.Ended, w.Bad = true, err != nil || doctor.Exit(w.Findings) != 0
			if err != nil {
				w.Problem = err.Error()
			}
		})
	})
	return k
}

// look is the walk itself.
func (k *walk) look(ctx context.Context, s *Server, cfg *config.Config, name string) error {
	up := cfg.Upstreams[name]
	if up == nil {
		return errors.New("there is no such upstream")
	}
	bench, err := doctor.NewBench(cfg, s.Relay.Status())
	if err != nil {
		return err
	}
	inForce := cfg == s.Config()
	list := bench.UpstreamSeen(ctx, up, "", "", func(sofar []doctor.Finding, doing string) {
		k.set(func(w *walked) {
			w.Findings = ofDraft(sofar, !inForce)
			if doing != "" { // else the next step follows at once
				w.Doing = doing
			}
		})
	})
	k.set(func(w *walked) { w.Findings = ofDraft(list, !inForce) })
	return nil
}

// ofDraft are findings without the one that the daemon has other settings: where
// they are tried before they are saved, it is meant to.
func ofDraft(list []doctor.Finding, draft bool) []doctor.Finding {
	if !draft {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(f doctor.Finding) bool { return f.ID == doctor.UpstreamSettings })
}

// walkSafely keeps a panic over what a server has said within one walk.
func (s *Server) walkSafely(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.Events(&Failed{fmt.Sprintf("%v\n%s", v, debug.Stack())})
			err = errors.New("this has a defect, which the log tells of")
		}
	}()
	return do()
}

// testUpstream begins a walk to an upstream in force.
func (s *Server) testUpstream(w http.ResponseWriter, r *request) {
	name, cfg := r.PathValue("name"), s.Config()
	if cfg.Upstreams[name] == nil {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such upstream"))
		return
	}
	k := s.beginWalk(func(_ context.Context, look func(*config.Config) error) error { return look(cfg) }, name)
	http.Redirect(w, r.Request, "/tests/"+s.drafts.add(r.secret, &draft{walk: k, test: name}), http.StatusSeeOther)
}

// tested is the page of such a walk.
type tested struct {
	ID, Upstream string
	Walked       *walked
}

func (s *Server) test(w http.ResponseWriter, r *request) {
	id := r.PathValue("id")
	d := s.drafts.find(id, r.secret)
	if d == nil || d.defines() || d.walk == nil {
		s.fail(w, r, http.StatusNotFound, errors.New("this test is over: begin it again"))
		return
	}
	s.page(w, r, http.StatusOK, "test", "Test of upstream "+d.test, &tested{id, d.test, d.walk.now()})
}

// testStream has that page go on, step by step.
func (s *Server) testStream(w http.ResponseWriter, r *request) {
	id := r.PathValue("id")
	d := s.drafts.find(id, r.secret)
	if d == nil || d.walk == nil {
		s.fail(w, r, http.StatusNotFound, errors.New("this test is over: begin it again"))
		return
	}
	s.stream(w, r, keepAlive, func() (update, <-chan struct{}) {
		state, changed := d.walk.follow()
		name, data := "test", any(&tested{id, d.test, state})
		if d.defines() {
			name, data = "draft", draftedOf(id, d)
		}
		text, err := s.fragment(name, "live", s.shown(r, "", data))
		if err != nil {
			return update{last: true}, nil
		}
		return update{event: "part", data: text, last: state.Ended}, changed
	})
}
