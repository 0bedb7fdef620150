package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"runtime/debug"

	"postern/cmd/control"
	"postern/queue"
)

// Answer carries out what another relay asks, and says what it has come to. A
// defect that a request shows is the fault of that request.
func (f *Fleet) Answer(ctx context.Context, text []byte) []byte {
	var r request
	a := &answer{Error: "it does not know what it was asked for: is its program another version?"}
	if read(text, &r) == nil {
		a = f.guarded(ctx, &r)
	}
	said, err := json.Marshal(a)
	if err != nil {
		said, _ = json.Marshal(answer{Error: err.Error()})
	}
	return said
}

func (f *Fleet) guarded(ctx context.Context, r *request) (a *answer) {
	defer func() {
		if v := recover(); v != nil {
			f.opts.Panicked(&Panicked{v, debug.Stack()})
			a = &answer{Error: "this has a defect, which its log tells of"}
		}
	}()
	return f.carryOut(ctx, r)
}

// carryOut does it here, and at no other relay.
func (f *Fleet) carryOut(ctx context.Context, r *request) *answer {
	var err error
	a := &answer{}
	switch op := operation(r.Verb); {
	case op != "":
		sel := r.selection()
		var done queue.Result
		done, err = control.Do(ctx, f.Queue, op, sel, r.By, r.Reason)
		a.Result, a.Split = &done, done.Split
		for relay, list := range done.Elsewhere {
			if a.Elsewhere == nil {
				a.Elsewhere = map[string][]share{}
			}
			a.Elsewhere[relay] = sharesOf(list, &sel)
		}
	case r.Verb == pause:
		err = f.Queue.Pause(r.Upstream, r.By)
	case r.Verb == resume:
		err = f.Queue.Resume(r.Upstream, r.By)
	case r.Verb == search && r.Query != nil:
		f.searching.Lock()
		a.Found, err = f.opts.Search(ctx, *r.Query)
		f.searching.Unlock()
	default:
		err = errors.New("it does not know what it was asked for: is its program another version?")
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}
