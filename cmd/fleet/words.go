package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"postern/cmd/control"
	"postern/cmd/history"
	"postern/queue"
	"postern/spool"
)

// request is what one relay asks another one. What is empty is not needed.
type request struct {
	Verb     string  `json:"verb"` // an operation of the queue, pause, resume or search
	By       string  `json:"by,omitempty"`
	Reason   string  `json:"reason,omitempty"`
	Upstream string  `json:"upstream,omitempty"`
	All      bool    `json:"all,omitempty"`
	Shares   []share `json:"shares,omitempty"`
	// Counted are messages of which another relay has done its part.
	Counted []spool.ID     `json:"counted,omitempty"`
	Query   *history.Query `json:"query,omitempty"`
}

// The verbs beside the operations of the queue.
const (
	pause  = "pause"
	resume = "resume"
	search = "search"
)

// share is one of a message.
type share struct {
	ID    spool.ID `json:"id"`
	Share int      `json:"share"`
	Only  []int    `json:"only,omitempty"` // these recipients of it
}

// answer is what is said to a request.
type answer struct {
	Error     string             `json:"error,omitempty"` // it was not done, or not all
	Result    *queue.Result      `json:"result,omitempty"`
	Elsewhere map[string][]share `json:"elsewhere,omitempty"` // shares that the relay does not have in its charge any more
	Split     []spool.ID         `json:"split,omitempty"`     // messages of which other relays may do more
	Found     *history.Found     `json:"found,omitempty"`
}

// selection is that of a request.
func (r *request) selection() queue.Select {
	sel := queue.Select{Upstream: r.Upstream, All: r.All, Counted: r.Counted}
	slices.Sort(sel.Counted)
	for _, s := range r.Shares {
		one := queue.Share{ID: s.ID, Share: s.Share}
		sel.Shares = append(sel.Shares, one)
		if s.Only != nil {
			if sel.Only == nil {
				sel.Only = map[queue.Share][]int{}
			}
			sel.Only[one] = s.Only
		}
	}
	return sel
}

// sharesOf are shares as they are written, with the recipients that sel limits
// them to.
func sharesOf(list []queue.Share, sel *queue.Select) []share {
	out := make([]share, len(list))
	for i, s := range list {
		out[i] = share{s.ID, s.Share, sel.Only[s]}
	}
	return out
}

// read reads what another relay has written, and nothing else.
func read(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("more follows")
		}
	}
	return err
}

// operation is the verb as an operation of the queue; empty: it is none.
func operation(verb string) control.Op {
	switch op := control.Op(verb); op {
	case control.OpRetry, control.OpHold, control.OpRelease, control.OpRemove, control.OpBounce:
		return op
	}
	return ""
}
