package console

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"postern/cmd/control"
	"postern/cmd/trend"
	"postern/spool"
)

// overviewed is what the first page shows.
type overviewed struct {
	Status *control.Status
	Wrong  *troubled
	Census *counted
	Hours  []trend.Hour // of the last day
}

func (s *Server) overview(w http.ResponseWriter, r *request) {
	s.page(w, r, http.StatusOK, "overview", "Overview", overviewed{s.Relay.Status(), s.troubles(r), s.census.count(r.Context(), s), trend.Hours(s.Trend.Samples(), time.Local)})
}

// overviewEvery is how often an overview that somebody looks at is made again.
const overviewEvery = 2 * time.Second

// overviewStream has the first page go on.
func (s *Server) overviewStream(w http.ResponseWriter, r *request) {
	var before []byte
	s.stream(w, r, overviewEvery, func() (update, <-chan struct{}) {
		data, err := s.fragment("overview", "live", s.shown(r, "Overview", overviewed{Status: s.Relay.Status(), Wrong: s.troubles(r), Census: s.census.count(r.Context(), s)}))
		if err != nil {
			return update{last: true}, nil
		}
		if bytes.Equal(data, before) {
			return update{}, nil
		}
		before = data
		return update{event: "part", data: data}, nil
	})
}

// ages part what waits by how long ago it was accepted.
var ages = []struct {
	Under time.Duration // 0: any
	Name  string
}{{15 * time.Minute, "under 15 min"}, {time.Hour, "under 1 h"}, {4 * time.Hour, "under 4 h"}, {24 * time.Hour, "under 1 day"}, {0, "older"}}

// group is what waits for one upstream because of one thing.
type group struct {
	Upstream string
	Cause    string
	Link     string // the list of them, or of more
	Count    int
	Ages     []int // as ages has them
	Oldest   time.Time
	// Words are what became of the last attempt at the oldest of them, where Cause
	// does not say that.
	Words string

	first spool.ID // the message of the oldest
	share int
}

// counted is the queue by cause and age.
type counted struct {
	Groups []*group
	Ages   []string
	// Looked is how many deliveries it tells of: the oldest, where Partial.
	Looked  int
	Partial bool
}

// census counts the queue for all who ask at the same time, and seldom enough to
// take no more than a twentieth of a processor.
type census struct {
	mu   sync.Mutex // held while it is counted
	last *counted
	next time.Time // when it is to be counted again
}

const (
	countFor   = 120 * time.Millisecond // a count ends then, and is partial
	countAgain = 2 * time.Second        // after one, at the soonest
)

func (c *census) count(ctx context.Context, s *Server) *counted {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	if c.last != nil && began.Before(c.next) {
		return c.last
	}
	c.last = s.countQueue(ctx, began.Add(countFor))
	took := time.Since(began)
	c.next = time.Now().Add(max(countAgain, 20*took))
	return c.last
}

// kind is what deliveries have in common that wait for the same thing.
type kind struct {
	upstream string
	state    control.State
	kept     bool
}

// countQueue looks at every delivery, the oldest first, until a time.
func (s *Server) countQueue(ctx context.Context, until time.Time) *counted {
	groups, all := map[kind]*group{}, &counted{}
	for _, a := range ages {
		all.Ages = append(all.Ages, a.Name)
	}
	now := time.Now()
	err := s.Store.Find(ctx, spool.Query{}, func(sum spool.Summary) bool {
		if all.Looked%256 == 255 && time.Now().After(until) {
			all.Partial = true
			return false
		}
		all.Looked++
		k := kind{state: control.StateOf(&sum, now), kept: sum.Kept}
		if sum.Failover < len(sum.Upstreams) {
			k.upstream = sum.Upstreams[sum.Failover]
		}
		g := groups[k]
		if g == nil {
			g = &group{Upstream: k.upstream, Ages: make([]int, len(ages)), Oldest: sum.Accepted, first: sum.ID, share: sum.Share}
			groups[k] = g
		}
		g.add(1, sum.Accepted, sum.ID, sum.Share)
		g.Ages[ageOf(now.Sub(sum.Accepted))]++
		return true
	})
	all.Partial = all.Partial || err != nil
	all.Groups = named(ctx, groups, control.NewReasons(s.Queue, s.Standin))
	for _, g := range all.Groups {
		if g.Cause == tryAgain {
			g.Words = s.lastWords(ctx, g)
		}
	}
	return all
}

// lastWords are what became of the last attempt at the oldest message of a group;
// empty: nobody knows.
func (s *Server) lastWords(ctx context.Context, g *group) string {
	detail, err := s.Store.Detail(ctx, g.first)
	if err != nil { // gone meanwhile, or not to be read, which its own page tells
		return ""
	}
	for i := range detail.Recipients {
		if r := &detail.Recipients[i]; r.Share == g.share && r.Status == spool.Pending && r.Last != nil {
			return control.CauseOf(r.Last)
		}
	}
	return ""
}

func (g *group) add(n int, accepted time.Time, first spool.ID, share int) {
	g.Count += n
	if accepted.Before(g.Oldest) {
		g.Oldest, g.first, g.share = accepted, first, share
	}
}

// named gives groups their causes, of which several kinds can have the same.
func named(ctx context.Context, groups map[kind]*group, waits *control.Reasons) (list []*group) {
	for k, g := range groups {
		var state string
		g.Cause, state = causeOf(ctx, k, waits)
		g.Link = "/queue?" + url.Values{"upstream": {k.upstream}, "state": {state}}.Encode()
		i := slices.IndexFunc(list, func(o *group) bool { return o.Upstream == g.Upstream && o.Cause == g.Cause })
		if i < 0 {
			list = append(list, g)
			continue
		}
		list[i].add(g.Count, g.Oldest, g.first, g.share)
		for n := range ages {
			list[i].Ages[n] += g.Ages[n]
		}
	}
	slices.SortFunc(list, func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Cause, b.Cause))
	})
	return list
}

// tryAgain is the cause of deliveries that wait each for a reason of its own.
const tryAgain = "the last attempt did not succeed; it is tried again"

// causeOf says why deliveries of a kind wait, and what a list of such is asked
// for.
func causeOf(ctx context.Context, k kind, waits *control.Reasons) (cause, state string) {
	switch k.state {
	case control.Active:
		return "an attempt is under way", ""
	case control.Held:
		if k.kept {
			return "failed, and no sender is told: kept for a while", "held"
		}
		return "on hold, until it is released", "held"
	case control.Scheduled:
		return "its time has not come", "scheduled"
	}
	if why := waits.OfAll(ctx, k.upstream); why != "" {
		return why, ""
	}
	if k.state == control.Deferred {
		return tryAgain, "deferred"
	}
	return "due, and on its way", ""
}

func ageOf(d time.Duration) int {
	return slices.IndexFunc(ages, func(a struct {
		Under time.Duration
		Name  string
	}) bool {
		return a.Under == 0 || d < a.Under
	})
}
