package graph

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/relay/webclient"
)

// Bounds of what is read for one question.
const (
	maxPages    = 2_000
	maxEmpty    = 20       // pages in a row
	maxPage     = 16 << 20 // bytes
	maxQuestion = 64 << 20 // bytes
	maxItems    = 5_000    // of one page
	pageSize    = 999      // what Microsoft gives at most
	maxBusy     = 4        // times that we come again for one page
)

// client sends questions.
type client struct {
	base    *url.URL
	http    *http.Client
	account *config.Account
	tokens  webclient.Tokens // nil: there are none
	timeout time.Duration    // of one page
	read    int64            // bytes, of all pages
	tls     *tls.ConnectionState
}

// page is a part of an answer.
type page struct {
	Items items  `json:"value"`
	Next  string `json:"@odata.nextLink"`
	Count int    `json:"@odata.count"`
}

// items are those of a page, maxItems at most: an item of two bytes takes a hundred
// times as many in memory.
type items []item

// UnmarshalJSON implements json.Unmarshaler.
func (all *items) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	switch begin, err := d.Token(); {
	case err != nil:
		return err
	case begin == nil: // null
		return nil
	case begin != json.Delim('['):
		return errors.New("not a list")
	}
	for d.More() {
		if len(*all) >= maxItems {
			return errTooLarge
		}
		*all = append(*all, item{})
		if err := d.Decode(&(*all)[len(*all)-1]); err != nil {
			return err
		}
	}
	return nil
}

var errTooLarge = errors.New("its answer is too large")

// refused is the error of an answer that is none.
type refused struct {
	status int
	code   string // such as "Authorization_RequestDenied"; may be empty
	text   string
	again  time.Duration // how long to stay away; 0: not said
}

func (e *refused) Error() string {
	text := fmt.Sprintf("it answers %d %s", e.status, http.StatusText(e.status))
	if e.code != "" {
		text += ", " + e.code
	}
	if e.text != "" {
		text += ": " + e.text
	}
	return text
}

// busy says whether the answer would be another one after a while.
func (e *refused) busy() bool {
	return e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable || e.status == http.StatusGatewayTimeout
}

// all asks, page after page, until take wants no more. It returns how many there
// are in all, where the question counts them.
func (c *client) all(ctx context.Context, path string, query url.Values, take func(*item) bool) (count int, err error) {
	next, empty := c.base.JoinPath(path), 0
	next.RawQuery = query.Encode()
	for n := range maxPages {
		p, err := c.patient(ctx, next)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			count = p.Count
		}
		for i := range p.Items {
			if !take(&p.Items[i]) {
				return count, nil
			}
		}
		if p.Next == "" {
			return count, nil
		}
		if empty++; len(p.Items) > 0 {
			empty = 0
		}
		if next, err = c.next(p.Next); err != nil || empty > maxEmpty {
			return 0, errors.Join(err, endless(empty > maxEmpty))
		}
	}
	return 0, endless(true)
}

func endless(is bool) error {
	if !is {
		return nil
	}
	return errors.New("its answer has no end")
}

// next is where an answer goes on: nowhere but on the same host.
func (c *client) next(link string) (*url.URL, error) {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != c.base.Scheme || !strings.EqualFold(u.Host, c.base.Host) || u.User != nil {
		return nil, errors.New("its answer goes on at another host, which gets no token")
	}
	u.Fragment = ""
	return u, nil
}

// patient asks, and comes again where Microsoft wants us to, as long as there is
// time for it.
func (c *client) patient(ctx context.Context, at *url.URL) (*page, error) {
	for tries := 1; ; tries++ {
		p, err := c.ask(ctx, at)
		var no *refused
		if err == nil || !errors.As(err, &no) || !no.busy() || tries >= maxBusy {
			return p, err
		}
		wait := no.again
		if wait <= 0 {
			wait = time.Second << tries
		}
		if end, ok := ctx.Deadline(); ok && time.Now().Add(wait).After(end) {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// ask gets one page, with a new token where the first one was not taken.
func (c *client) ask(ctx context.Context, at *url.URL) (*page, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	p, token, err := c.send(ctx, at, "")
	var no *refused
	if errors.As(err, &no) && no.status == http.StatusUnauthorized {
		p, _, err = c.send(ctx, at, token) // it may have ended before its time
	}
	return p, webclient.Plain(ctx, err)
}

func (c *client) send(ctx context.Context, at *url.URL, bad string) (*page, string, error) {
	if c.tokens == nil {
		return nil, "", errors.New("there is nobody here who gets its tokens")
	}
	token, err := c.tokens.Token(ctx, c.account, bad)
	if err != nil {
		return nil, "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, token, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", webclient.Agent)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("ConsistencyLevel", "eventual") // without which nothing is searched for or counted
	a, err := c.http.Do(r)
	if err != nil {
		return nil, token, err
	}
	defer a.Body.Close()
	c.tls = a.TLS
	body, err := io.ReadAll(io.LimitReader(a.Body, maxPage+1))
	if c.read += int64(len(body)); err == nil && (len(body) > maxPage || c.read > maxQuestion) {
		err = errTooLarge
	}
	if err != nil {
		return nil, token, err
	}
	if a.StatusCode != http.StatusOK {
		return nil, token, refusal(a, body)
	}
	p := &page{}
	switch err := json.Unmarshal(body, p); {
	case errors.Is(err, errTooLarge):
		return nil, token, errTooLarge
	case err != nil:
		return nil, token, errors.New("it does not answer as Microsoft Graph does")
	}
	return p, token, nil
}

// refusal reads the answer of a server that says no.
func refusal(a *http.Response, body []byte) *refused {
	var said struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &said) // which may be anything
	return &refused{
		status: a.StatusCode, code: wire.Text(said.Error.Code, 60), text: wire.Text(said.Error.Message, 300),
		again: retryAfter(a.Header.Get("Retry-After"), time.Now()),
	}
}

// retryAfter reads RFC 9110 §10.2.3: seconds or a date; 0: neither.
func retryAfter(s string, now time.Time) time.Duration {
	const most = time.Hour
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, most)
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	return 0
}
