package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"postern/config"
	"postern/relay/origin"
)

// body is the body of a request, read under the time limits of its listener: a
// client that makes no progress, or too little over all, is given up.
type body struct {
	from    io.Reader
	control *http.ResponseController
	limits  *config.Listener
	begun   time.Time
	read    int64
	ended   bool  // it was read to its end
	err     error // of from, but io.EOF
}

func newBody(w http.ResponseWriter, r *http.Request, l *config.Listener) *body {
	return &body{from: r.Body, control: http.NewResponseController(w), limits: l, begun: time.Now()}
}

// rateGrace is how long a body may be slower than the least rate.
const rateGrace = time.Minute

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(b.deadline(time.Now()))
	n, err := b.from.Read(p)
	b.read += int64(n)
	if err == io.EOF {
		// net/http goes on reading, to learn when the client goes away.
		b.ended = true
		_ = b.control.SetReadDeadline(time.Time{})
	} else if err != nil {
		b.err = err
	}
	return n, err
}

// leaveTimeout is how long net/http may go on reading what is left of a body,
// so that an answer stands where the client looks for it.
const leaveTimeout = 10 * time.Second

// leave comes before an answer to a body that may not have been read.
func (b *body) leave(w http.ResponseWriter) {
	switch {
	case b.ended:
	case b.err != nil:
		w.Header().Set("Connection", "close") // there is nothing more to read
	default:
		_ = b.control.SetReadDeadline(time.Now().Add(leaveTimeout))
	}
}

func (b *body) deadline(now time.Time) time.Time {
	l := b.limits
	d := now.Add(l.DataTimeout)
	if l.DataMaxTime > 0 {
		d = earlier(d, b.begun.Add(l.DataMaxTime))
	}
	if l.DataMinRate > 0 {
		enough := time.Duration(float64(b.read) / float64(l.DataMinRate) * float64(time.Second))
		d = earlier(d, b.begun.Add(rateGrace+enough))
	}
	return d
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// broken is what a client is told whose body could not be read.
func (b *body) broken() *failure {
	if errors.Is(b.err, os.ErrDeadlineExceeded) {
		return &failure{status: http.StatusRequestTimeout, name: nameInvalid, text: "the body comes too slowly"}
	}
	return &failure{status: http.StatusBadRequest, name: nameInvalid, text: "the body could not be read to its end"}
}

const (
	// freeBody is how many bytes each request may hold in any case, so that
	// ordinary mail is not counted at all.
	freeBody = 64 << 10
	// largeBody is beyond what as many requests as there are connections may
	// hold at a time.
	largeBody = 1 << 20
)

// holding is what a request holds of what is shared.
type holding struct {
	bytes int64
	place *origin.Budget // one place of this; nil: none
}

// hold counts n bytes more, and tells whether they may be had.
func (r *request) hold(n int64) bool {
	h := &r.holding
	if h.bytes+n > largeBody && !r.takePlace() {
		return false
	}
	if h.bytes+n > freeBody {
		more := n
		if h.bytes < freeBody {
			more = h.bytes + n - freeBody
		}
		if !r.server.memory.Take(r.client.Connection(), more) {
			return false
		}
	}
	h.bytes += n
	return true
}

// takePlace takes one of the few places for large requests, once.
func (r *request) takePlace() bool {
	if r.holding.place == nil {
		large := r.server.large.Load()
		if !large.Take(r.client.Connection(), 1) {
			return false
		}
		r.holding.place = large
	}
	return true
}

// give gives back what the request holds.
func (r *request) give() {
	h := &r.holding
	if h.bytes > freeBody {
		r.server.memory.Give(r.client.Connection(), h.bytes-freeBody)
	}
	if h.place != nil {
		h.place.Give(r.client.Connection(), 1)
	}
	*h = holding{}
}

// whole reads all of a body into memory: at most limit bytes, and no more than
// may be held. Each byte counts twice, since what is decoded from it is held
// beside it.
func (r *request) whole(from io.Reader, limit int64) ([]byte, *failure) {
	long := &failure{status: http.StatusRequestEntityTooLarge, name: nameTooLarge, code: 552, enhanced: "5.3.4",
		text: fmt.Sprintf("the body is larger than the limit of %s; /v1/messages takes messages of %s", config.FormatSize(limit), config.FormatSize(r.limits.cfg.MaxMessageSize))}
	if r.ContentLength > limit {
		return nil, long
	}
	buf := make([]byte, 0, 4<<10)
	for held := int64(0); ; {
		if len(buf) == cap(buf) {
			size := int64(2 * cap(buf))
			if r.ContentLength > 0 && size > r.ContentLength {
				size = max(r.ContentLength+1, int64(cap(buf))+512) // one more, to meet the end
			}
			if !r.hold(2*size - held) {
				return nil, noMemory
			}
			held = 2 * size
			grown := make([]byte, len(buf), size)
			copy(grown, buf)
			buf = grown
		}
		n, err := from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return nil, long
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, r.body.broken()
		}
	}
}
