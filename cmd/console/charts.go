package console

import (
	"encoding/json"
	"net/http"

	"postern/cmd/trend"
)

// columns are the samples of the last day, as the script draws them: nothing where
// the relay did not run.
type columns struct {
	At        []int64  `json:"at"` // seconds since 1970
	Accepted  []*int64 `json:"accepted"`
	Delivered []*int64 `json:"delivered"`
	Deferred  []*int64 `json:"deferred"`
	Queue     []*int   `json:"queue"`
}

// gap is how many seconds without a sample are one in the lines.
const gap = 150

func columnsOf(list []trend.Sample) *columns {
	c := &columns{At: []int64{}}
	for i := range list {
		s := &list[i]
		if i > 0 && s.At-list[i-1].At > gap {
			c.add(list[i-1].At+1, nil)
		}
		c.add(s.At, s)
	}
	return c
}

// add adds a sample; nil: there is none.
func (c *columns) add(at int64, s *trend.Sample) {
	c.At = append(c.At, at)
	var accepted, delivered, deferred *int64
	var queue *int
	if s != nil {
		accepted, delivered, deferred, queue = &s.Accepted, &s.Delivered, &s.Deferred, &s.Queue
	}
	c.Accepted, c.Delivered, c.Deferred, c.Queue = append(c.Accepted, accepted), append(c.Delivered, delivered), append(c.Deferred, deferred), append(c.Queue, queue)
}

func (s *Server) charted(w http.ResponseWriter, r *request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(columnsOf(s.Trend.Samples())) // the browser may be gone
}
