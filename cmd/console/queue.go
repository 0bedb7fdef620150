package console

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"time"

	"postern/cmd/control"
	"postern/spool"
)

const (
	perPage = 50
	// searchFor is how long one page looks for what it shows. The next goes on
	// from there.
	searchFor = 120 * time.Millisecond
)

// states are what a list can be asked for, beside all.
var states = []string{"held", "deferred", "scheduled"}

// listed is a page of the queue.
type listed struct {
	Filter    control.Filter
	State     string
	States    []string
	Upstreams []string
	Entries   []*control.Entry
	Looked    int    // deliveries that were looked at
	Next      string // the page after this one; empty: there is none
	Unended   bool   // the search ended by its time, and goes on in Next
	Begun     bool   // this is not the first page
	First     string // the first one
}

func (s *Server) queueList(w http.ResponseWriter, r *request) {
	page := &listed{State: r.Form.Get("state"), States: states, Upstreams: s.Relay.Upstreams()}
	page.Filter = control.Filter{Upstream: r.Form.Get("upstream"), From: r.Form.Get("from"), To: r.Form.Get("to"), Storm: r.Form.Get("storm")}
	switch page.State {
	case "", "all":
		page.State = ""
	case "held":
		page.Filter.Held = true
	case "deferred":
		page.Filter.Deferred = true
	case "scheduled":
		page.Filter.Scheduled = true
	default:
		s.fail(w, r, http.StatusBadRequest, errors.New("no message can be in this state: choose one from the list"))
		return
	}
	var after spool.ID
	if text := r.Form.Get("after"); text != "" {
		var err error
		if after, err = spool.ParseID(text); err != nil {
			s.fail(w, r, http.StatusBadRequest, errNoID)
			return
		}
		page.Begun = true
	}
	if err := s.find(r, page, after); err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, err)
		return
	}
	s.page(w, r, http.StatusOK, "queue", "Queue", page)
}

// find fills a page with what the filter selects after a message.
func (s *Server) find(r *request, page *listed, after spool.ID) error {
	f, ctx := &page.Filter, r.Context()
	until, last, more := time.Now().Add(searchFor), after, false
	waits := control.NewReasons(s.Queue, s.Standin)
	var ended error
	entries := control.Entries{From: s.Store, Filter: *f}
	q := spool.Query{Upstream: f.Upstream, Held: f.Held, After: after}
	err := s.Store.Find(ctx, q, func(sum spool.Summary) bool {
		// The shares of a message stay together, since a page begins after one.
		if sum.ID != last {
			if len(page.Entries) >= perPage {
				more = true
				return false
			}
			if page.Looked%64 == 63 && time.Now().After(until) {
				more, page.Unended = true, true
				return false
			}
		}
		page.Looked++
		last = sum.ID
		now := time.Now()
		if !f.MaySelect(&sum, now) {
			return true
		}
		var e *control.Entry
		if e, ended = entries.Of(ctx, &sum, now); ended != nil || e == nil {
			return ended == nil
		}
		waits.Tell(ctx, sum.ID, e)
		page.Entries = append(page.Entries, e)
		return true
	})
	if err = cmp.Or(ended, err); err != nil {
		return err
	}
	values := url.Values{}
	for name, v := range map[string]string{"state": page.State, "upstream": f.Upstream, "from": f.From, "to": f.To, "storm": f.Storm} {
		if v != "" {
			values.Set(name, v)
		}
	}
	page.First = "/queue?" + values.Encode()
	if more {
		values.Set("after", last.String())
		page.Next = "/queue?" + values.Encode()
	}
	return nil
}
