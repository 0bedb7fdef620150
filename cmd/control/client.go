package control

import (
	"bufio"
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
	"strconv"
	"syscall"
	"time"

	"postern/queue"
	"postern/spool"
)

// Client asks the daemon behind one control socket. Its methods may be called
// concurrently.
type Client struct {
	socket string
	http   *http.Client
}

// Dial prepares a client; nothing is connected yet.
func Dial(socket string) *Client { return DialEither(socket, "") }

// DialEither is Dial, with a socket that shows the state alone for whoever may
// not use the first; empty: none.
func DialEither(socket, read string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialer := &net.Dialer{Timeout: 5 * time.Second}
		c, err := dialer.DialContext(ctx, "unix", socket)
		if errors.Is(err, fs.ErrPermission) && read != "" {
			return dialer.DialContext(ctx, "unix", read)
		}
		return c, err
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext:       dial,
		DisableKeepAlives: true,
	}}}
}

// NoDaemon is the error where nothing answers at the control socket.
type NoDaemon struct {
	Socket string
	Err    error
}

func (e *NoDaemon) Error() string {
	if errors.Is(e.Err, fs.ErrPermission) {
		return fmt.Sprintf("you may not use the control socket %s: its file mode and group decide who may", e.Socket)
	}
	return fmt.Sprintf("no daemon answers at %s: is `postern serve` running with this configuration?", e.Socket)
}

func (e *NoDaemon) Unwrap() error { return e.Err }

// Refused is the daemon's answer that something cannot be done.
type Refused struct {
	Status   int // of HTTP
	Reason   string
	Rejected *Rejected // of a reload
	Obstacle Obstacle  // of a reload that is Blocked; else empty
	Hint     string    // what to do; may be empty
}

func (e *Refused) Error() string { return e.Reason }

// Status asks for the state of the daemon.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	var st Status
	return &st, c.fetch(ctx, http.MethodGet, "/v1/status", nil, &st)
}

// List calls visit for each entry that f selects.
func (c *Client) List(ctx context.Context, f Filter, visit func(*Entry) error) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/queue?"+f.query().Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(bufio.NewReaderSize(resp.Body, 64<<10))
	for {
		var line struct {
			Entry
			problem
		}
		if err := dec.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the list of the daemon broke off: %w", err)
		}
		if line.Error != "" {
			return &Refused{Status: http.StatusInternalServerError, Reason: line.Error}
		}
		if err := visit(&line.Entry); err != nil {
			return err
		}
	}
}

func (f *Filter) query() url.Values {
	q := url.Values{}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	set("upstream", f.Upstream)
	set("from", f.From)
	set("to", f.To)
	set("storm", f.Storm)
	if f.Held {
		set("held", "true")
	}
	if f.Deferred {
		set("deferred", "true")
	}
	if f.Scheduled {
		q.Set("scheduled", "true")
	}
	if f.Limit > 0 {
		set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// Message asks for one message.
func (c *Client) Message(ctx context.Context, id spool.ID) (*Message, error) {
	var m Message
	return &m, c.fetch(ctx, http.MethodGet, "/v1/messages/"+id.String(), nil, &m)
}

// Content writes the content of one message to w.
func (c *Client) Content(ctx context.Context, id spool.ID, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/messages/"+id.String()+"/content", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// Act does op to what sel selects.
func (c *Client) Act(ctx context.Context, op Op, sel Selection) (*queue.Result, error) {
	var done queue.Result
	return &done, c.fetch(ctx, http.MethodPost, "/v1/queue/"+string(op), sel, &done)
}

// Pause stops deliveries to one upstream. note is a sentence for the operator;
// mostly there is none.
func (c *Client) Pause(ctx context.Context, upstream string) (note string, err error) {
	return c.operate(ctx, upstream, "pause")
}

// Resume lets deliveries to one upstream go on, also where it was parked. note is as
// that of Pause.
func (c *Client) Resume(ctx context.Context, upstream string) (note string, err error) {
	return c.operate(ctx, upstream, "resume")
}

func (c *Client) operate(ctx context.Context, upstream, op string) (note string, err error) {
	resp, err := c.do(ctx, http.MethodPost, "/v1/upstreams/"+url.PathEscape(upstream)+"/"+op, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var n noted
	if resp.StatusCode != http.StatusNoContent {
		err = json.NewDecoder(resp.Body).Decode(&n)
	}
	if err != nil {
		return "", fmt.Errorf("the answer of the daemon at %s could not be read: %w", c.socket, err)
	}
	return n.Note, nil
}

// Reload asks for the configuration to be read again. A *Refused with
// Rejected set says what is wrong with the file.
func (c *Client) Reload(ctx context.Context) (*Reloaded, error) {
	var r Reloaded
	return &r, c.fetch(ctx, http.MethodPost, "/v1/reload", nil, &r)
}

// fetch makes a request and decodes its answer into out, unless that is nil.
func (c *Client) fetch(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("the answer of the daemon at %s could not be read: %w", c.socket, err)
	}
	return nil
}

// do makes a request and turns every answer but 2xx into a *Refused.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://postern"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial", errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil, &NoDaemon{Socket: c.socket, Err: err}
	case err != nil:
		return nil, fmt.Errorf("the daemon at %s went away in the middle of its answer: %w", c.socket, err)
	case resp.StatusCode < 300:
		return resp, nil
	}
	defer resp.Body.Close()
	var p problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Error == "" {
		p.Error = fmt.Sprintf("the daemon at %s answered %s: is it of another version?", c.socket, resp.Status)
	}
	return nil, &Refused{Status: resp.StatusCode, Reason: p.Error, Rejected: p.Rejected, Obstacle: p.Obstacle, Hint: p.Hint}
}
