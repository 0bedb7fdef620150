package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"postern/config"
	"postern/config/wire"
	"postern/relay/addressbook"
	"postern/relay/compose"
	"postern/relay/submission"
)

// Bounds of what is asked of the address books.
const (
	maxFound    = 1000 // entries of one answer
	usualFound  = 50
	maxQuestion = 1000 // bytes of a name
	maxWrong    = 20   // names of a mail that lead to nobody
)

// bookQuestion is the body of the requests about one name.
type bookQuestion struct {
	Name string `json:"name"`
}

// bookAddresses is whom a name means.
type bookAddresses struct {
	Addresses []bookAddress `json:"addresses"`
}

type bookAddress struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address"`
}

// books are those that whoever makes the request may ask.
func (r *request) books() *addressbook.Books {
	user, unixUser := r.client.User, r.client.UnixUser
	return r.server.submission.Books().Only(func(b *config.Book) bool { return b.Allows(user, unixUser) })
}

// findInBooks is GET /v1/book?q=TEXT&limit=N&book=NAME.
func (r *request) findInBooks(w http.ResponseWriter) *failure {
	limit, books := usualFound, r.books()
	q := r.URL.Query()
	for name, values := range q {
		if name != "q" && name != "limit" && name != "book" {
			return invalid(wire.Line(name) + ": there is no such parameter; there are q, limit and book")
		}
		if len(values) > 1 {
			return invalid(name + ": is given twice")
		}
	}
	if len(q.Get("q")) > maxQuestion {
		return invalid(fmt.Sprintf("q: has more than %d bytes", maxQuestion))
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxFound {
			return invalid(fmt.Sprintf("limit: is no number from 1 to %d", maxFound))
		}
		limit = n
	}
	if name := q.Get("book"); name != "" {
		var known bool
		if books, known = books.Named(name); !known {
			return &failure{status: http.StatusNotFound, name: nameNotFound, text: fmt.Sprintf("there is no address book %q that you may ask", wire.Line(name))}
		}
	}
	found := books.Find(r.Context(), q.Get("q"), limit)
	if r.client.User != "" { // files and paths are nothing for who isn't of this machine
		found.Faults = nil
		for i := range found.Away {
			found.Away[i].Text = "cannot be asked now"
		}
	}
	write(w, http.StatusOK, found)
	return nil
}

// question reads the name that a request is about.
func (r *request) question() (string, *failure) {
	var q bookQuestion
	if _, f := r.decode(&q); f != nil {
		return "", f
	}
	if q.Name == "" || len(q.Name) > maxQuestion {
		return "", invalid(fmt.Sprintf("name: has to have 1 to %d bytes", maxQuestion))
	}
	return q.Name, nil
}

// expandFromBooks is POST /v1/book/expand.
func (r *request) expandFromBooks(w http.ResponseWriter) *failure {
	name, f := r.question()
	if f != nil {
		return f
	}
	x, err := r.books().Expand(r.Context(), name, r.limits.cfg.MaxRecipients)
	if err != nil {
		return bookFailure(err)
	}
	write(w, http.StatusOK, x)
	return nil
}

// resolveFromBooks is POST /v1/book/resolve.
func (r *request) resolveFromBooks(w http.ResponseWriter) *failure {
	name, f := r.question()
	if f != nil {
		return f
	}
	list, err := r.Resolve(r.Context(), name)
	if err != nil {
		return bookFailure(err)
	}
	out := bookAddresses{Addresses: make([]bookAddress, len(list))}
	for i, a := range list {
		out.Addresses[i] = bookAddress{a.Name, a.Addr}
	}
	write(w, http.StatusOK, out)
	return nil
}

// Resolve implements merge.Book for whoever makes the request.
func (r *request) Resolve(ctx context.Context, name string) ([]compose.Address, error) {
	return r.books().Resolve(ctx, name, r.limits.cfg.MaxRecipients)
}

// bookFailure is why a name led to nobody.
func bookFailure(err error) *failure {
	var unknown *addressbook.Unknown
	var many *addressbook.TooMany
	switch {
	case errors.As(err, &unknown):
		return &failure{status: http.StatusNotFound, name: nameUnknown, text: unknown.Text, hint: unknown.Hint}
	case errors.As(err, &many):
		return invalid(many.Error())
	}
	// Where the book is, is nothing for a client.
	return &failure{status: http.StatusServiceUnavailable, name: nameUnavailable, text: "an address book cannot be asked now; postern book test tells why", retry: retrySoon}
}

// lookUp puts addresses in the place of "group:NAME" and "book:NAME" among the
// recipients of a mail: at most this many in all.
func (r *request) lookUp(m *mail, most int) *failure {
	var wrong compose.Problems
	known := map[string]string{}
	for _, list := range []struct {
		name  string
		texts []string
	}{{"to", m.to}, {"cc", m.cc}, {"bcc", m.bcc}} {
		for i, text := range list.texts {
			if !strings.Contains(text, "group:") && !strings.Contains(text, "book:") {
				continue
			}
			pieces := compose.SplitList(text)
			for j, piece := range pieces {
				if !strings.HasPrefix(piece, "group:") && !strings.HasPrefix(piece, "book:") {
					continue
				}
				if text, ok := known[piece]; ok {
					pieces[j] = text
					continue
				}
				found, err := r.Resolve(r.Context(), piece)
				if most -= max(1, len(found)); most < 0 {
					return failureOf(submission.TooMany, submission.AtRecipient)
				}
				if err != nil {
					f := bookFailure(err)
					if f.status == http.StatusServiceUnavailable {
						return f
					}
					wrong = append(wrong, compose.Problem{Field: m.name(list.name), Text: wire.Text(piece, maxText) + ": " + f.text})
					if len(wrong) >= maxWrong {
						return fault(wrong, "")
					}
				}
				pieces[j] = joined(found)
				known[piece] = "" // twice is not more
			}
			list.texts[i] = strings.Join(pieces, ", ")
		}
	}
	if len(wrong) > 0 {
		return fault(wrong, "")
	}
	return nil
}

// joined are addresses as compose.ParseList reads them.
func joined(list []compose.Address) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}
