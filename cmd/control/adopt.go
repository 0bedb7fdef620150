package control

import (
	"bufio"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"postern/spool"
)

// Adopted is what became of a message that was handed over from the spool of
// another relay.
type Adopted struct {
	ID     string `json:"id"`               // here
	Before bool   `json:"before,omitempty"` // it had been adopted, or handed in again, earlier
}

// adopt takes a message of another relay's spool: what Detail told of it there,
// by encoding/gob, and then its content without the prefix of the envelope. It
// is read as it comes, however long it is.
func (s *Server) adopt(w http.ResponseWriter, r *request) {
	body := bufio.NewReader(r.Body)
	var m spool.Detail
	if err := gob.NewDecoder(body).Decode(&m); err != nil || m.Envelope == nil {
		refuse(w, http.StatusBadRequest, errors.New("the message to adopt could not be read"))
		return
	}
	id, err := s.Relay.Adopt(r.Context(), &m, body, r.who.User)
	var known *spool.Repeated
	switch {
	case errors.As(err, &known):
		reply(w, http.StatusOK, Adopted{known.ID.String(), true})
	case err != nil:
		refuse(w, statusOf(err), err)
	default:
		reply(w, http.StatusOK, Adopted{ID: id.String()})
	}
}

// Adopt hands over a message of another relay's spool; content is what follows
// the prefix of its envelope. A *Refused with Status 503: there is no room, or
// too many keys are remembered, and it can be tried again.
func (c *Client) Adopt(ctx context.Context, m *spool.Detail, content io.Reader) (*Adopted, error) {
	r, w := io.Pipe()
	go func() {
		err := gob.NewEncoder(w).Encode(m)
		if err == nil {
			_, err = io.Copy(w, content)
		}
		w.CloseWithError(err)
	}()
	defer r.Close()
	resp, err := c.do(ctx, http.MethodPost, "/v1/adopt", r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var done Adopted
	if err := json.NewDecoder(resp.Body).Decode(&done); err != nil {
		return nil, fmt.Errorf("the answer of the daemon at %s could not be read: %w", c.socket, err)
	}
	return &done, nil
}
