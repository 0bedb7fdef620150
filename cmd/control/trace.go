package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"postern/cmd/history"
)

// trace searches the history. One search runs at a time: each reads as fast as
// the disk gives.
func (s *Server) trace(w http.ResponseWriter, r *request) {
	q, err := traceOf(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	select {
	case s.searching <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	defer func() { <-s.searching }()
	found, err := s.Search(r.Context(), q)
	switch {
	case errors.Is(err, history.ErrQuery):
		refuse(w, http.StatusBadRequest, err)
	case err != nil:
		refuse(w, statusOf(err), err)
	default:
		reply(w, http.StatusOK, found)
	}
}

// traceOf reads a query.
func traceOf(query string) (q history.Query, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, errors.New("the query is malformed")
	}
	for name, all := range values {
		value := all[len(all)-1]
		switch name {
		case "q":
			q.Text = value
		case "since", "until":
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				return q, fmt.Errorf("%s is a time such as 2026-11-28T08:00:00Z", name)
			}
			*map[string]*time.Time{"since": &q.Since, "until": &q.Until}[name] = at
		case "limit":
			if q.Limit, err = strconv.Atoi(value); err != nil || q.Limit < 0 {
				return q, errors.New("limit is not a number of messages")
			}
		default:
			return q, errors.New("a search takes q, since, until and limit")
		}
	}
	return q, nil
}

// Trace searches the history.
func (c *Client) Trace(ctx context.Context, q history.Query) (*history.Found, error) {
	values := url.Values{"q": {q.Text}, "limit": {strconv.Itoa(q.Limit)}}
	if !q.Since.IsZero() {
		values.Set("since", q.Since.UTC().Format(time.RFC3339))
	}
	if !q.Until.IsZero() {
		values.Set("until", q.Until.UTC().Format(time.RFC3339))
	}
	var found history.Found
	return &found, c.fetch(ctx, http.MethodGet, "/v1/trace?"+values.Encode(), nil, &found)
}
