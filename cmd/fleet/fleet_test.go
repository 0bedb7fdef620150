package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
	"postern/cmd/history"
	"postern/queue"
	"postern/spool"
)

// desk is the queue of one relay: it has some shares, and knows who has others.
type desk struct {
	control.MailQueue
	name   string
	has    map[queue.Share]string // by whom it is led
	done   []string
	fails  error
	holder string
}

func (d *desk) Holder(string) string { return d.holder }

func (d *desk) Hold(_ context.Context, sel queue.Select, by string) (r queue.Result, err error) {
	changed, left := map[spool.ID]bool{}, map[spool.ID]bool{}
	defer func() {
		for id := range changed {
			if left[id] {
				r.Split = append(r.Split, id)
			}
		}
	}()
	for share, lead := range d.has {
		named := sel.All
		for _, s := range sel.Shares {
			named = named || s == share
		}
		for _, id := range sel.IDs {
			named = named || id == share.ID
		}
		switch {
		case !named:
		case lead != d.name:
			left[share.ID] = true
			if r.Elsewhere == nil {
				r.Elsewhere = map[string][]queue.Share{}
			}
			if sel.All {
				r.Elsewhere[lead] = nil
			} else {
				r.Elsewhere[lead] = append(r.Elsewhere[lead], share)
			}
		default:
			if !slices.Contains(sel.Counted, share.ID) && !changed[share.ID] {
				r.Done++
			}
			changed[share.ID] = true
			r.Recipients += 2
			d.done = append(d.done, fmt.Sprintf("%d/%d by %s", share.ID, share.Share, by))
		}
	}
	return r, d.fails
}

func (d *desk) Bounce(_ context.Context, sel queue.Select, by, reason string) (r queue.Result, err error) {
	if d.name == "one" {
		return queue.Result{Done: 1, Elsewhere: map[string][]queue.Share{"two": {{ID: 7, Share: 1}}}}, nil
	}
	d.done = append(d.done, fmt.Sprintf("%v %v by %s: %s", sel.Shares, sel.Only, by, reason))
	return queue.Result{Done: 1, Senderless: []spool.ID{7}}, nil
}

func (d *desk) Pause(upstream, by string) error {
	d.done = append(d.done, "pause "+upstream+" by "+by)
	return d.fails
}

func (d *desk) Resume(upstream, by string) error { return d.Pause(upstream, by) }

// pair are two relays that can ask each other, and a third one that is gone.
func pair(has map[queue.Share]string) (one, two *Fleet, desks map[string]*desk) {
	desks = map[string]*desk{}
	fleets := map[string]*Fleet{}
	for _, name := range []string{"one", "two"} {
		desks[name] = &desk{name: name, has: has}
		fleets[name] = New(Options{Queue: desks[name], Relay: name,
			Ask: func(ctx context.Context, relay string, request []byte) ([]byte, error) {
				if fleets[relay] == nil {
					return nil, errors.New("the relay " + relay + " is gone")
				}
				return fleets[relay].Answer(ctx, request), nil
			},
			Peers: func(context.Context) ([]Peer, error) {
				return []Peer{{map[string]string{"one": "two", "two": "one"}[name], true}, {"three", false}}, nil
			}})
	}
	return fleets["one"], fleets["two"], desks
}

// TestOperate: each relay does what it is in charge of, and the answer is that of
// all.
func TestOperate(t *testing.T) {
	has := map[queue.Share]string{{ID: 1}: "one", {ID: 2}: "two", {ID: 3}: "two", {ID: 3, Share: 1}: "one"}
	for name, sel := range map[string]queue.Select{"all": {All: true}, "some": {IDs: []spool.ID{1, 2, 3}}} {
		one, _, desks := pair(has)
		r, err := one.Hold(t.Context(), sel, "ann")
		if err != nil || r.Done != 3 || r.Recipients != 8 || r.Elsewhere != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if got := desks["two"].done; len(got) != 2 || !strings.HasSuffix(got[0], "by ann at one") {
			t.Errorf("%s: %v", name, got)
		}
	}
	one, _, desks := pair(nil)
	sel := queue.Select{Shares: []queue.Share{{ID: 7}, {ID: 7, Share: 1}}, Only: map[queue.Share][]int{{ID: 7, Share: 1}: {4}}}
	r, err := one.Bounce(t.Context(), sel, "ann", "wrong list")
	if want := "[{0000000000007 1}] map[{0000000000007 1}:[4]] by ann at one: wrong list"; err != nil || r.Done != 2 || len(r.Senderless) != 1 || desks["two"].done[0] != want {
		t.Errorf("%+v, %v, %v", r, err, desks["two"].done)
	}
}

// TestOperateUnfinished: what a relay does not do is said, and what was done.
func TestOperateUnfinished(t *testing.T) {
	for want, has := range map[string]map[queue.Share]string{
		"the relay three is gone":    {{ID: 1}: "one", {ID: 2}: "three"},
		"the relay two says: broken": {{ID: 1}: "one", {ID: 2}: "two"},
		"change at this moment":      {{ID: 1}: "one", {ID: 2}: "never"},
	} {
		one, two, desks := pair(has)
		switch {
		case strings.Contains(want, "broken"):
			desks["two"].fails = errors.New("broken")
		case strings.Contains(want, "change"): // each one says that the other has it
			desks["one"].has = map[queue.Share]string{{ID: 1}: "one", {ID: 2}: "two"}
			two.Queue.(*desk).has = map[queue.Share]string{{ID: 2}: "one"}
		}
		_, err := one.Hold(t.Context(), queue.Select{IDs: []spool.ID{1, 2}}, "ann")
		var unfinished *control.Unfinished
		if !errors.As(err, &unfinished) || !strings.Contains(err.Error(), want) || unfinished.Done.Done < 1 {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestPause: the relay in charge is told at once. Where it does not answer, that is
// said, and the pause holds all the same.
func TestPause(t *testing.T) {
	one, _, desks := pair(nil)
	if err := one.Pause("office", "ann"); err != nil || len(desks["two"].done) != 0 {
		t.Errorf("nobody has the lane: %v, %v", err, desks["two"].done)
	}
	desks["one"].holder = "two"
	if err := one.Pause("office", "ann"); err != nil || desks["two"].done[0] != "pause office by ann at one" {
		t.Errorf("%v, %v", err, desks["two"].done)
	}
	desks["one"].holder = "three"
	var unheard *control.Unheard
	if err := one.Resume("office", "ann"); !errors.As(err, &unheard) || !strings.Contains(err.Error(), "It is recorded, and holds before anything more is sent; the relay three is gone.") {
		t.Error(err)
	}
	desks["one"].fails = queue.ErrNoUpstream
	if err := one.Pause("office", "ann"); err != queue.ErrNoUpstream {
		t.Error(err)
	}
}

// TestAnswer: what is no request is answered, and does nothing.
func TestAnswer(t *testing.T) {
	one, _, desks := pair(map[queue.Share]string{{ID: 1}: "one"})
	for _, text := range []string{"", "{}", "null", "[]", `{"verb":"explode"}`, `{"verb":"hold","all":true}{}`, `{"verb":"hold","all":true,"more":1}`, `{"verb":"search"}`} {
		var a answer
		if err := json.Unmarshal(one.Answer(t.Context(), []byte(text)), &a); err != nil || a.Error == "" {
			t.Errorf("%s: %+v, %v", text, a, err)
		}
	}
	if len(desks["one"].done) != 0 {
		t.Error(desks["one"].done)
	}
}

// TestAnswerDefect: a request that shows a defect is answered, and ends nothing.
func TestAnswerDefect(t *testing.T) {
	one, _, _ := pair(nil) // its desk has no Retry
	var stacks string
	one.opts.Panicked = func(e *Panicked) { stacks += string(e.Stack) }
	var a answer
	err := json.Unmarshal(one.Answer(t.Context(), []byte(`{"verb":"retry","all":true}`)), &a)
	if err != nil || !strings.Contains(a.Error, "this has a defect") || !strings.Contains(stacks, "carryOut") {
		t.Errorf("%+v, %v, stack %q", a, err, stacks)
	}
}

// TestSearch: a life is that of all relays, also where one of them knows a message
// by its ID alone, and what is missing is said.
func TestSearch(t *testing.T) {
	line := func(second int, text string) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"time":"2026-11-29T10:00:%02dZ",%s}`, second, text))
	}
	one, two, _ := pair(nil)
	began := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	one.opts.Search = func(_ context.Context, q history.Query) (*history.Found, error) {
		return &history.Found{From: began, Lives: []history.Life{{ID: "a", Lines: []json.RawMessage{line(1, `"event":"message-accepted"`), line(9, `"event":"z"`)}}}}, nil
	}
	two.opts.Search = func(_ context.Context, q history.Query) (*history.Found, error) {
		found := &history.Found{From: began.Add(time.Hour), Lives: []history.Life{{ID: "b", Lines: []json.RawMessage{line(0, `"event":"old"`)}}}}
		if len(q.Also) > 0 {
			found.Lives = append(found.Lives, history.Life{ID: "a", Lines: []json.RawMessage{line(5, `"event":"delivery-attempt"`), line(9, `"event":"z"`)}})
		}
		return found, nil
	}
	found, err := one.Search(t.Context(), history.Query{Text: "<m@example.com>"})
	if err != nil || len(found.Lives) != 2 || found.Lives[0].ID != "b" || len(found.Lives[1].Lines) != 3 ||
		!strings.Contains(string(found.Lives[1].Lines[1]), "delivery-attempt") || !found.From.Equal(began) {
		t.Errorf("%+v, %v", found.Lives, err)
	}
	if len(found.Missing) != 1 || !strings.Contains(found.Missing[0], "three has told: it does not run") {
		t.Errorf("%q", found.Missing)
	}
	if found, err = one.Search(t.Context(), history.Query{Text: "m", Limit: 1}); err != nil || len(found.Lives) != 1 || found.Lives[0].ID != "a" || !found.More {
		t.Errorf("%+v, %v", found, err)
	}
}
