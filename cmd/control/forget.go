package control

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"postern/queue"
)

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
