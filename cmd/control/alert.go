package control

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"postern/cmd/alert"
)

// AlertList is what needs a person, and who is told of it.
type AlertList struct {
	Receivers []string     `json:"receivers"`
	Alerts    []alert.Open `json:"alerts"` // the worst first
}

func (s *Server) alerts(w http.ResponseWriter, _ *request) {
	list := AlertList{s.Alerts.Receivers(), s.Alerts.List()}
	if list.Receivers == nil {
		list.Receivers = []string{}
	}
	if list.Alerts == nil {
		list.Alerts = []alert.Open{}
	}
	reply(w, http.StatusOK, &list)
}

// tryAlerts tells the receivers that this is a test, or the one that the query
// names.
func (s *Server) tryAlerts(w http.ResponseWriter, r *request) {
	name := r.URL.Query().Get("receiver")
	tried := s.Alerts.Try(r.Context(), name)
	switch {
	case len(tried) > 0:
		reply(w, http.StatusOK, tried)
	case name != "":
		refuse(w, http.StatusNotFound, fmt.Errorf("no [[alert]] is called %q", name))
	default:
		refuse(w, http.StatusNotFound, fmt.Errorf("nobody would be told: the configuration has no [[alert]]"))
	}
}

// AlertList is what needs a person.
func (c *Client) AlertList(ctx context.Context) (*AlertList, error) {
	list := &AlertList{}
	return list, c.fetch(ctx, http.MethodGet, "/v1/alerts", nil, list)
}

// TryAlerts tells the receivers that this is a test, or the one of this name.
func (c *Client) TryAlerts(ctx context.Context, receiver string) (tried []alert.Tried, err error) {
	return tried, c.fetch(ctx, http.MethodPost, "/v1/alerts/test?"+url.Values{"receiver": {receiver}}.Encode(), nil, &tried)
}
