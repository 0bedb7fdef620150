package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"postern/spool"
)

// Selection says which messages an operation concerns: those named, or those
// that the filter selects. All has to be set for a filter that is empty, so
// that nothing happens to the whole queue by an oversight.
type Selection struct {
	IDs    []string `json:"ids,omitempty"`
	All    bool     `json:"all,omitempty"`
	Filter Filter   `json:"filter,omitzero"`
	Reason string   `json:"reason,omitempty"` // of a bounce, for the sender
}

// Acted is what an operation came to.
type Acted struct {
	Messages int `json:"messages"` // that were changed
	// Busy are messages with an attempt under way, Missing those that are not
	// in the queue, and Held those that a retry named and that are on hold;
	// all were left alone.
	Busy    []string `json:"busy,omitempty"`
	Missing []string `json:"missing,omitempty"`
	Held    []string `json:"held,omitempty"`
}

// maxRequest bounds the body of a request, in bytes: about 60,000 IDs.
const maxRequest = 1 << 20

func (s *Server) act(w http.ResponseWriter, r *http.Request) {
	op := Op(r.PathValue("op"))
	switch op {
	case OpRetry, OpHold, OpRelease, OpRemove, OpBounce:
	default:
		refuse(w, http.StatusNotFound, errors.New("the queue knows retry, hold, release, remove and bounce"))
		return
	}
	var sel Selection
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	dec.DisallowUnknownFields()
	err := dec.Decode(&sel)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("more follows the selection")
		}
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	order, err := s.order(r.Context(), op, &sel)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if !order.All && order.Upstream == "" && len(order.IDs)+len(order.Shares) == 0 {
		reply(w, http.StatusOK, &Acted{})
		return
	}
	done, err := s.daemon.Act(r.Context(), order, operator(r))
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	reply(w, http.StatusOK, done)
}

// order resolves a selection. Where the daemon cannot do it, the entries are
// listed first: sixteen bytes each.
func (s *Server) order(ctx context.Context, op Op, sel *Selection) (Order, error) {
	o := Order{Op: op, Reason: sel.Reason}
	f := sel.Filter
	switch {
	case f.Limit < 0: // which would be all
		return o, errors.New("limit is not a number of entries")
	case len(sel.IDs) > 0:
		for _, name := range sel.IDs {
			id, err := spool.ParseID(name)
			if err != nil {
				return o, err
			}
			o.IDs = append(o.IDs, id)
		}
		return o, nil
	case f == Filter{}:
		if !sel.All {
			return o, errors.New("name messages, or a filter, or say that all are meant")
		}
		o.All = true
		return o, nil
	case f == Filter{Upstream: f.Upstream}:
		o.Upstream = f.Upstream
		return o, nil
	}
	// Envelopes are read only where the filter asks about addresses.
	err := walk(ctx, s.daemon, f, f.needsDetail(), func(sum *spool.Summary, _ *Entry) error {
		o.Shares = append(o.Shares, Share{sum.ID, sum.Share})
		return nil
	})
	return o, err
}
