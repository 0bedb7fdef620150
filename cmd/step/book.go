package step

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"postern/config/wire"
	"postern/relay/addressbook"
	"postern/relay/compose"
)

// Books asks the relay at its socket, which may know more than this user may
// read. Where no relay answers it asks what this user can read itself. It may be
// used concurrently.
type Books struct {
	Own *addressbook.Books // those of the configuration, read by this user

	relay *socket // nil: there is none
}

// NewBooks are those of a relay by the path of its socket; empty: it has none.
func NewBooks(path string, own *addressbook.Books) *Books {
	b := &Books{Own: own}
	if path != "" {
		b.relay = newSocket(path, 0, "")
	}
	return b
}

// maxBookReply bounds an answer about books, in bytes.
const maxBookReply = 64 << 20

// errNoRelay: nobody answers at the socket, or one that has no books.
var errNoRelay = errors.New("no relay answers")

// ask makes one request, and reads its answer into v.
func (b *Books) ask(ctx context.Context, method, path string, body, v any) error {
	if b.relay == nil {
		return errNoRelay
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://postern"+path, nil)
	if err != nil {
		return err
	}
	if body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		r.Header.Set("Content-Type", "application/json")
	}
	got, err := b.relay.client.Do(r)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return errNoRelay
		}
		return fmt.Errorf("the relay did not answer: %w", cause(err))
	}
	defer got.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(got.Body, maxBookReply))
	if err != nil {
		return fmt.Errorf("the relay did not answer: %w", cause(err))
	}
	if got.StatusCode == http.StatusOK {
		return json.Unmarshal(answer, v)
	}
	var said struct{ Name, Message, Hint string }
	if json.Unmarshal(answer, &said) != nil || said.Message == "" {
		return fmt.Errorf("the relay answered %d %s", got.StatusCode, http.StatusText(got.StatusCode))
	}
	switch {
	case said.Name == "unknown_name" || got.StatusCode == http.StatusUnprocessableEntity || got.StatusCode == http.StatusNotFound && path != wholePath(path):
		return &addressbook.Unknown{Text: wire.Line(said.Message), Hint: wire.Line(said.Hint)}
	case got.StatusCode == http.StatusNotFound: // of a version without books
		return errNoRelay
	}
	return errors.New(wire.Line(said.Message))
}

// wholePath is a path without its query.
func wholePath(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		return path
	}
	return u.Path
}

type question struct {
	Name string `json:"name"`
}

// mostOwn is how many addresses a group may have where no relay says.
const mostOwn = 100_000

// Resolve implements merge.Book.
func (b *Books) Resolve(ctx context.Context, name string) ([]compose.Address, error) {
	var got struct {
		Addresses []struct{ Name, Address string }
	}
	err := b.ask(ctx, http.MethodPost, "/v1/book/resolve", question{name}, &got)
	if errors.Is(err, errNoRelay) {
		return b.Own.Resolve(ctx, name, mostOwn)
	} else if err != nil {
		return nil, err
	}
	list := make([]compose.Address, len(got.Addresses))
	for i, a := range got.Addresses {
		list[i] = compose.Address{Name: a.Name, Addr: a.Address}
	}
	return list, nil
}

// Expand tells all members of a group.
func (b *Books) Expand(ctx context.Context, name string) (*addressbook.Expansion, error) {
	var got addressbook.Expansion
	err := b.ask(ctx, http.MethodPost, "/v1/book/expand", question{name}, &got)
	if errors.Is(err, errNoRelay) {
		return b.Own.Expand(ctx, name, mostOwn)
	}
	return &got, err
}

// Find are the entries that hold every word of a text: at most limit, in one
// book or, for an empty name, in all.
func (b *Books) Find(ctx context.Context, text, book string, limit int) (*addressbook.Found, error) {
	q := url.Values{"q": {text}, "limit": {strconv.Itoa(limit)}}
	if book != "" {
		q.Set("book", book)
	}
	var got addressbook.Found
	err := b.ask(ctx, http.MethodGet, "/v1/book?"+q.Encode(), nil, &got)
	if !errors.Is(err, errNoRelay) {
		return &got, err
	}
	own, known := b.Own, true
	if book != "" {
		own, known = own.Named(book)
	}
	if !known {
		return nil, &addressbook.Unknown{Text: "there is no address book " + wire.Quote(wire.Line(book))}
	}
	return own.Find(ctx, text, limit), nil
}

// mostShown is how many entries are looked through for one.
const mostShown = 1000

// Whole is the one entry that has a UID, an address, a name or a nickname, in one
// book or, for an empty name, in all. The error is an *addressbook.Unknown, or
// tells of a book that can't be asked.
func (b *Books) Whole(ctx context.Context, who, book string) (*addressbook.Entry, error) {
	found, err := b.Find(ctx, who, book, mostShown)
	if err != nil {
		return nil, err
	}
	return found.One(who)
}
