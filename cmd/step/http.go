package step

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"postern/config/wire"
)

// socket hands messages in at the unix socket of the relay, which knows this
// user from the kernel.
type socket struct {
	path     string
	maxSize  int64
	hostname string
	client   *http.Client
}

func (s *socket) who() (bool, string) { return true, s.hostname }

func newSocket(path string, maxSize int64, hostname string) *socket {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	return &socket{path: path, maxSize: maxSize, hostname: hostname, client: &http.Client{
		Timeout: messageTimeout,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", path)
			},
			MaxIdleConnsPerHost: atOnce, MaxConnsPerHost: atOnce, DisableCompression: true,
			WriteBufferSize: 64 << 10,
		},
	}}
}

// open looks whether somebody listens.
func (s *socket) open(ctx context.Context) (int64, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", s.path)
	if err != nil {
		return 0, s.absent(err)
	}
	return s.maxSize, c.Close()
}

func (s *socket) absent(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &Refusal{Text: "you may not hand in mail at " + s.path + ": its file mode and group decide who may", Away: true, Cause: err}
	}
	return fmt.Errorf("no relay answers at %s: %w", s.path, cause(err))
}

// reply is the body of an answer, of whichever kind.
type reply struct {
	ID       string `json:"id"`
	Repeated bool   `json:"repeated"`
	Name     string `json:"name"`
	Message  string `json:"message"`
	SMTPCode int    `json:"smtp_code"`
	Enhanced string `json:"enhanced_code"`
}

// maxReply bounds an answer, in bytes.
const maxReply = 64 << 10

func (s *socket) submit(ctx context.Context, m *envelope) answer {
	q := url.Values{"from": {m.from}, "to": m.to}
	if len(m.dsn) > 0 {
		q.Set("notify", strings.Join(m.dsn, ","))
	}
	return s.post(ctx, q, m)
}

// post hands in a message whose envelope is in the query.
func (s *socket) post(ctx context.Context, query url.Values, m *envelope) answer {
	body, reuse, end, err := content(m)
	if err != nil {
		return answer{err: &Refusal{Text: err.Error()}}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://postern/v1/messages?"+query.Encode(), body)
	if err != nil {
		return answer{err: &Refusal{Text: err.Error()}}
	}
	r.Header.Set("Content-Type", "message/rfc822")
	if m.key != "" {
		r.Header.Set("Idempotency-Key", m.key)
	}
	got, err := s.client.Do(r)
	if fault := end(); fault != nil {
		if err == nil {
			got.Body.Close()
		}
		return answer{err: &Refusal{Text: fault.Error()}}
	}
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			err = s.absent(err)
		}
		return answer{err: asRefusal(err)}
	}
	defer got.Body.Close()
	var said reply
	b, err := io.ReadAll(io.LimitReader(got.Body, maxReply))
	if err != nil {
		return answer{err: away(fmt.Errorf("the relay did not answer: %w", cause(err)))}
	}
	bad := json.Unmarshal(b, &said)
	if got.StatusCode < 300 && bad == nil && said.ID != "" {
		if reuse != nil { // the relay has read all of it, so that nobody does any more
			buffers.Put(reuse)
		}
		return answer{id: said.ID, repeated: said.Repeated}
	}
	return answer{err: refusedBy(got.StatusCode, said)}
}

// refusedBy is what an answer of HTTP means: 429 and 5xx pass, and so does a
// message with the same key that is on its way.
func refusedBy(status int, said reply) *Refusal {
	r := &Refusal{Code: said.SMTPCode, Enhanced: wire.Line(said.Enhanced), Text: wire.Line(said.Message)}
	r.Temporary = status == http.StatusTooManyRequests || status >= 500 || said.Name == "concurrent_idempotent_requests"
	if r.Text == "" {
		r.Text = fmt.Sprintf("the relay answered %d %s", status, http.StatusText(status))
	}
	return r
}

// inMemory is how large a message is that is made before it is sent, in bytes.
const inMemory = 256 << 10

// buffers hold small messages while they are sent.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// content is a message as the body of a request, and the buffer that holds a
// small one. end has to be called when the relay has answered: what it did not
// read by then it won't read any more. The error is the message's own, such as
// a file that has changed.
func content(m *envelope) (body io.Reader, held *bytes.Buffer, end func() error, err error) {
	if m.size >= 0 && m.size <= inMemory {
		b := buffers.Get().(*bytes.Buffer)
		b.Reset()
		_, err := m.body.WriteTo(b)
		return bytes.NewReader(b.Bytes()), b, func() error { return nil }, err
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := m.body.WriteTo(w)
		w.CloseWithError(err)
		done <- err
	}()
	return r, nil, func() error {
		r.Close()
		if err := <-done; !errors.Is(err, io.ErrClosedPipe) {
			return err
		}
		return nil
	}, nil
}

func (s *socket) close() { s.client.CloseIdleConnections() }

// Socket is a relay by the path of its unix socket, where a message may have
// maxSize bytes; 0: not known.
func Socket(path string, maxSize int64) *Relay { return NamedSocket(path, maxSize, "") }

// NamedSocket is a Socket of a relay that calls itself hostname, as its
// configuration says: the socket does not tell.
func NamedSocket(path string, maxSize int64, hostname string) *Relay {
	return &Relay{newSocket(path, maxSize, hostname)}
}
