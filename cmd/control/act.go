package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"postern/config"
	"postern/queue"
	"postern/spool"
)

// Selection says which messages an operation concerns: those named, or those
// that the filter selects. All has to be set for a filter that is empty, so
// that nothing happens to the whole queue by an oversight.
type Selection struct {
	IDs    []string `json:"ids,omitempty"`
	All    bool     `json:"all,omitempty"`
	Filter Filter   `json:"filter,omitzero"`
	// Recipients limits a removal or a bounce of the messages named to these
	// addresses.
	Recipients []string `json:"recipients,omitempty"`
	Reason     string   `json:"reason,omitempty"` // of a bounce, for the sender
}

func (s *Server) act(w http.ResponseWriter, r *request) {
	op := Op(r.PathValue("op"))
	switch op {
	case OpRetry, OpHold, OpRelease, OpRemove, OpBounce:
	default:
		refuse(w, http.StatusNotFound, errors.New("the queue knows retry, hold, release, remove and bounce"))
		return
	}
	var sel Selection
	dec := json.NewDecoder(bytes.NewReader(r.body))
	dec.DisallowUnknownFields()
	err := dec.Decode(&sel)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("more follows the selection")
		}
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, malformed(err))
		return
	}
	chosen, err := s.choose(r.Context(), op, &sel)
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	done, err := Do(r.Context(), s.Queue, op, chosen, r.who.User, sel.Reason)
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	reply(w, http.StatusOK, done)
}

// Do has a queue carry out an operation. Nothing selected is nothing to
// do. reason is for the sender of what is bounced.
func Do(ctx context.Context, q MailQueue, op Op, sel queue.Select, by, reason string) (queue.Result, error) {
	if !sel.All && sel.Upstream == "" && len(sel.IDs)+len(sel.Shares) == 0 {
		return queue.Result{}, nil
	}
	switch op {
	case OpRetry:
		return q.Retry(ctx, sel, by)
	case OpHold:
		return q.Hold(ctx, sel, by)
	case OpRelease:
		return q.Release(ctx, sel, by)
	case OpRemove:
		return q.Remove(ctx, sel, by)
	}
	return q.Bounce(ctx, sel, by, reason)
}

// choose resolves a selection. Where the queue cannot do it, the entries are
// listed first: sixteen bytes each.
func (s *Server) choose(ctx context.Context, op Op, sel *Selection) (queue.Select, error) {
	var o queue.Select
	f := sel.Filter
	for _, name := range sel.IDs {
		if id, err := spool.ParseID(name); err == nil && s.stands(ctx, id) {
			return o, fmt.Errorf("message %s %w", id, errStandin)
		}
	}
	if err := s.knows(f.Upstream); err != nil {
		return o, err
	}
	switch {
	case len(sel.Recipients) > 0:
		err := s.chooseRecipients(ctx, op, sel, &o)
		return o, err
	case f.Limit < 0: // which would be all
		return o, invalid("limit is not a number of entries")
	case len(sel.IDs) > 0:
		for _, name := range sel.IDs {
			id, err := spool.ParseID(name)
			if err != nil {
				return o, invalid(err.Error())
			}
			o.IDs = append(o.IDs, id)
		}
		return o, nil
	case f == Filter{}:
		if !sel.All {
			return o, invalid("name messages, or a filter, or say that all are meant")
		}
		o.All = true
		return o, nil
	case f == Filter{Upstream: f.Upstream}:
		o.Upstream = f.Upstream
		return o, nil
	}
	// Envelopes are read only where the filter asks about addresses.
	err := walk(ctx, s.Store, f, f.needsDetail(), func(sum *spool.Summary, e *Entry) error {
		share := queue.Share{ID: sum.ID, Share: sum.Share}
		o.Shares = append(o.Shares, share)
		if f.To != "" && op.parts() {
			limit(&o, share, e.matched...)
		}
		return nil
	})
	return o, err
}

var errStandin = errors.New("is in the spool that stands in for the database: try again when it is in the database, where it has another ID (`postern trace`)")

// malformed says what is wrong with a body that is no selection.
func malformed(err error) error {
	text := strings.TrimPrefix(err.Error(), "json: ")
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		text = "it is empty"
	case errors.As(err, &kind) && kind.Field != "":
		text = fmt.Sprintf("%q cannot be a JSON %s", kind.Field, kind.Value)
	case errors.As(err, &kind):
		text = "it is a JSON " + kind.Value
	}
	return errors.New(`the body has to be one object, such as {"all":true}: ` + text)
}

// invalid is a request that cannot be understood.
type invalid string

func (e invalid) Error() string { return string(e) }

// parts says whether an operation can concern some recipients of a share and
// leave the others: those that wait together share one due time.
func (op Op) parts() bool { return op == OpRemove || op == OpBounce }

// limit has a selection concern no more of a share than recipients, by their
// index in the envelope, and those that it was limited to before.
func limit(sel *queue.Select, share queue.Share, recipients ...int) {
	if sel.Only == nil {
		sel.Only = map[queue.Share][]int{}
	}
	sel.Only[share] = append(sel.Only[share], recipients...)
}

// chooseRecipients resolves messages and addresses into parts of shares. An
// address has to wait in at least one of the messages. What is named twice
// counts once.
func (s *Server) chooseRecipients(ctx context.Context, op Op, sel *Selection, o *queue.Select) error {
	if !op.parts() || len(sel.IDs) == 0 {
		return invalid("recipients can be removed or bounced, of messages that are named")
	}
	wanted := make(map[string]bool, len(sel.Recipients)) // true: found
	for _, a := range sel.Recipients {
		wanted[strings.ToLower(a)] = false
	}
	looked := make(map[spool.ID]bool, len(sel.IDs))
	for _, name := range sel.IDs {
		id, err := spool.ParseID(name)
		if err != nil {
			return invalid(err.Error())
		}
		if looked[id] {
			continue
		}
		looked[id] = true
		if err := ctx.Err(); err != nil {
			return err
		}
		d, err := s.Store.Detail(ctx, id)
		if errors.Is(err, spool.ErrNotFound) {
			o.IDs = append(o.IDs, id) // to be told that it is missing
			continue
		}
		if err != nil {
			return err
		}
		parts(d, wanted, o)
	}
	for _, a := range sel.Recipients {
		if !wanted[strings.ToLower(a)] && len(o.IDs) == 0 {
			return fmt.Errorf("%w: no message that was named still has to go to <%s>", ErrNoRecipient, a)
		}
	}
	return nil
}

// parts adds to sel the shares of a message with those of their recipients that
// are wanted and pending, and notes which these are.
func parts(d *spool.Detail, wanted map[string]bool, sel *queue.Select) {
	for i, r := range d.Recipients {
		address := strings.ToLower(d.Envelope.Recipients[i].Address)
		if _, ok := wanted[address]; r.Status != spool.Pending || !ok {
			continue
		}
		wanted[address] = true
		share := queue.Share{ID: d.ID, Share: r.Share}
		if sel.Only[share] == nil {
			sel.Shares = append(sel.Shares, share)
		}
		limit(sel, share, i)
	}
}

// ErrNoRecipient means that a message has no such recipient to wait for.
var ErrNoRecipient = errors.New("no such recipient")

// NoUpstream is the error of a name that is neither configured nor that of an
// upstream which mail waits for.
type NoUpstream struct {
	Name  string
	Known []string
}

func (e *NoUpstream) Error() string {
	text := fmt.Sprintf("there is no upstream %q", e.Name)
	if near := config.Nearest(e.Name, e.Known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	if len(e.Known) == 0 {
		return text + "; none is configured"
	}
	return strings.TrimSuffix(text, "?") + "; there are " + strings.Join(e.Known, ", ")
}

func (e *NoUpstream) Is(target error) bool { return target == queue.ErrNoUpstream }

// CheckUpstream is nil where name is empty or among those known.
func CheckUpstream(name string, known []string) error {
	if name == "" || slices.Contains(known, name) {
		return nil
	}
	return &NoUpstream{Name: name, Known: known}
}

func (s *Server) knows(upstream string) error {
	if upstream == "" {
		return nil
	}
	return CheckUpstream(upstream, s.Relay.Upstreams())
}

// Forgotten is the answer to a request to forget.
type Forgotten struct {
	Had bool `json:"had"` // false: there was nothing to forget
}

func (s *Server) forgetTLS(w http.ResponseWriter, r *request) {
	had, err := s.Relay.ForgetTLS(r.Context(), r.PathValue("name"), r.who.User)
	if err != nil {
		if errors.Is(err, queue.ErrNoUpstream) {
			err = &NoUpstream{r.PathValue("name"), s.Relay.Upstreams()}
		}
		refuse(w, statusOf(err), err)
		return
	}
	reply(w, http.StatusOK, &Forgotten{had})
}

// ForgetTLS has the daemon forget what it remembers about the TLS of an
// upstream. had is false where that was nothing.
func (c *Client) ForgetTLS(ctx context.Context, upstream string) (had bool, err error) {
	var f Forgotten
	err = c.fetch(ctx, http.MethodPost, "/v1/upstreams/"+url.PathEscape(upstream)+"/forget-tls", nil, &f)
	return f.Had, err
}
