package carddav

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"postern/config/wire"
)

// Bounds of a server.
const (
	maxBooks  = 20        // address books of one user
	maxCards  = 200_000   // of all of them
	maxRounds = 1000      // pages of changes
	maxTotal  = 256 << 20 // bytes of cards in one go
	batch     = 100       // cards of one question
)

// Collection is an address book of the server as it was heard last. The zero
// value is one of which nothing is known.
type Collection struct {
	URL   string            `json:"url"`
	Name  string            `json:"name,omitempty"`
	Token string            `json:"token,omitempty"` // of sync-collection
	CTag  string            `json:"ctag,omitempty"`
	ETags map[string]string `json:"etags"` // of the cards, by their path
}

// Change is what is told of one card.
type Change struct {
	Path string
	Text string // empty: it is gone, or Fault
	// Fault is why the card can't be used; empty: it can, or is gone.
	Fault string
}

// Sync asks for what has changed since known, and hands it on; the order is that
// of the server. Nothing that was handed on counts where it fails. What it
// returns is known the next time.
func (c *Client) Sync(ctx context.Context, known []Collection, change func(Change)) ([]Collection, error) {
	defer c.Close()
	books := known
	if len(books) == 0 {
		var err error
		if books, err = c.discover(ctx); err != nil {
			return nil, err
		}
	}
	out := make([]Collection, 0, len(books))
	count := 0
	for _, b := range books {
		next, err := c.collection(ctx, b, change)
		if err != nil {
			return nil, err
		}
		if count += len(next.ETags); count > maxCards {
			return nil, errTooMany
		}
		out = append(out, *next)
	}
	return out, nil
}

const propsOfCollection = `<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav" xmlns:s="http://calendarserver.org/ns/"><d:prop>` +
	`<d:resourcetype/><d:displayname/><d:current-user-principal/><c:addressbook-home-set/><d:sync-token/><s:getctag/></d:prop></d:propfind>`

// discover finds the address books of a user (RFC 6764 §6): the URL is one, or
// tells who we are, whose home has them. A URL without a path is asked for
// /.well-known/carddav first.
func (c *Client) discover(ctx context.Context) ([]Collection, error) {
	m, at, err := c.start(ctx)
	if err != nil {
		return nil, err
	}
	if m.book {
		return []Collection{{URL: at.String(), Name: m.name}}, nil
	}
	if len(m.homes) == 0 && m.whose != "" {
		if m, at, err = c.one(ctx, "who we are", at, m.whose); err != nil {
			return nil, err
		}
	}
	homes := m.homes
	if len(homes) == 0 {
		homes = []string{at.String()} // a server that tells nothing may list them where it was asked
	}
	var books []Collection
	for _, h := range homes {
		more, err := c.below(ctx, at, h)
		if err != nil {
			return nil, err
		}
		books = append(books, more...)
	}
	if len(books) == 0 {
		return nil, errors.New("the server has no address book for this user")
	}
	return books[:min(maxBooks, len(books))], nil
}

func (c *Client) start(ctx context.Context) (*member, *url.URL, error) {
	if c.home.Path == "" || c.home.Path == "/" {
		m, at, err := c.one(ctx, "where CardDAV is", c.home, "/.well-known/carddav")
		var refused *Refused
		if err == nil && (m.book || m.whose != "" || len(m.homes) > 0) || err != nil && (!errors.As(err, &refused) || refused.Status == http.StatusUnauthorized) {
			return m, at, err
		}
	}
	return c.one(ctx, "the URL", c.home, c.home.String())
}

// one asks for the properties of one resource.
func (c *Client) one(ctx context.Context, what string, from *url.URL, to string) (*member, *url.URL, error) {
	at, err := from.Parse(to)
	if err != nil {
		return nil, from, errors.New("the server tells something that is no URL")
	}
	a, at, err := c.ask(ctx, request{what, "PROPFIND", at, "0", propsOfCollection})
	if err != nil {
		return nil, at, err
	}
	if len(a.members) != 1 {
		return nil, at, errors.New("the server tells of something else than it was asked for")
	}
	return a.members[0], at, nil
}

// recent is what Nextcloud keeps of whoever was written to: no book of persons.
const recent = "z-app-generated--"

// below are the address books in a home.
func (c *Client) below(ctx context.Context, from *url.URL, home string) ([]Collection, error) {
	at, err := from.Parse(home)
	if err != nil {
		return nil, errors.New("the server tells a home that is no URL")
	}
	a, at, err := c.ask(ctx, request{"the address books there", "PROPFIND", at, "1", propsOfCollection})
	if err != nil {
		return nil, err
	}
	var books []Collection
	for _, m := range a.members {
		u, err := at.Parse(m.href)
		if !m.book || err != nil || c.trusts(u) != nil || strings.Contains(u.Path, "/"+recent) || len(books) >= maxBooks {
			continue
		}
		books = append(books, Collection{URL: u.String(), Name: wire.Text(m.name, 200)})
	}
	slices.SortFunc(books, func(a, b Collection) int { return strings.Compare(a.URL, b.URL) })
	return books, nil
}

// collection asks for what has changed in one address book.
func (c *Client) collection(ctx context.Context, known Collection, change func(Change)) (*Collection, error) {
	at, err := url.Parse(known.URL)
	if err != nil {
		return nil, err
	}
	m, _, err := c.one(ctx, "whether it has changed", at, known.URL)
	if err != nil {
		return nil, err
	}
	if len(known.ETags) > 0 && (m.token != "" && m.token == known.Token || m.ctag != "" && m.ctag == known.CTag) {
		return &known, nil
	}
	next := &Collection{URL: known.URL, Name: known.Name, CTag: m.ctag}
	etags, gone, err := c.changes(ctx, at, known, m.token, next)
	if err != nil {
		return nil, err
	}
	next.ETags = make(map[string]string, len(known.ETags)+len(etags))
	for path, etag := range known.ETags {
		next.ETags[path] = etag
	}
	for _, path := range gone {
		delete(next.ETags, path)
		change(Change{Path: path})
	}
	var wanted []string
	for path, etag := range etags {
		if old, ok := known.ETags[path]; !ok || etag == "" || old != etag {
			wanted = append(wanted, path)
		}
		next.ETags[path] = etag
	}
	slices.Sort(wanted)
	return next, c.fetch(ctx, at, wanted, next, change)
}

// changes are the etags of cards that may have changed, by their path, and the
// paths of those that are gone.
func (c *Client) changes(ctx context.Context, at *url.URL, known Collection, token string, next *Collection) (etags map[string]string, gone []string, err error) {
	if token != "" {
		whole := known.Token == ""
		etags, gone, err = c.since(ctx, at, known.Token, next)
		var refused *Refused
		if !whole && errors.As(err, &refused) && refused.Status/100 == 4 { // RFC 6578 §3.2: the token is too old
			whole = true
			etags, _, err = c.since(ctx, at, "", next)
		}
		// Others have no such report, whatever they say of a token.
		if refused = nil; !errors.As(err, &refused) || refused.Status == http.StatusUnauthorized {
			if whole && err == nil {
				gone = missing(known, etags)
			}
			return etags, gone, err
		}
	}
	etags, err = c.list(ctx, at)
	return etags, missing(known, etags), err
}

// missing are the cards that a whole list lacks.
func missing(known Collection, etags map[string]string) (gone []string) {
	for path := range known.ETags {
		if _, ok := etags[path]; !ok {
			gone = append(gone, path)
		}
	}
	return gone
}

// since asks for all changes behind a token (RFC 6578 §3.2), page by page.
func (c *Client) since(ctx context.Context, at *url.URL, token string, next *Collection) (etags map[string]string, gone []string, err error) {
	etags, lost := map[string]string{}, map[string]bool{}
	for range maxRounds {
		a, _, err := c.ask(ctx, request{"what has changed", "REPORT", at, "0", `<?xml version="1.0" encoding="utf-8"?><d:sync-collection xmlns:d="DAV:"><d:sync-token>` +
			escaped(token) + `</d:sync-token><d:sync-level>1</d:sync-level><d:prop><d:getetag/></d:prop></d:sync-collection>`})
		if err != nil {
			return nil, nil, err
		}
		more := false
		for _, m := range a.members {
			path, own := pathIn(at, m.href)
			switch {
			case own:
				more = more || m.status == http.StatusInsufficientStorage // RFC 6578 §3.6
			case path == "":
			case m.status == http.StatusNotFound:
				lost[path] = true
				delete(etags, path)
			default:
				delete(lost, path)
				etags[path] = m.etag
			}
		}
		if len(etags)+len(lost) > maxCards {
			return nil, nil, errTooMany
		}
		if a.token == "" || more && a.token == token {
			return nil, nil, errors.New("the server says that there is more, and not where")
		}
		if token = a.token; !more {
			next.Token = token
			for path := range lost {
				gone = append(gone, path)
			}
			return etags, gone, nil
		}
	}
	return nil, nil, fmt.Errorf("the server has more than %d pages of changes", maxRounds)
}

// list are the etags of all cards, for servers that tell no changes.
func (c *Client) list(ctx context.Context, at *url.URL) (map[string]string, error) {
	a, _, err := c.ask(ctx, request{"all that is there", "PROPFIND", at, "1",
		`<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:"><d:prop><d:getetag/></d:prop></d:propfind>`})
	if err != nil {
		return nil, err
	}
	etags := map[string]string{}
	for _, m := range a.members {
		if path, own := pathIn(at, m.href); path != "" && !own && m.status/100 != 4 {
			etags[path] = m.etag
		}
	}
	if len(etags) > maxCards {
		return nil, errTooMany
	}
	return etags, nil
}

// pathIn is the path of a card of a collection; empty: it is none. own: it is the
// collection itself.
func pathIn(at *url.URL, href string) (path string, own bool) {
	u, err := at.Parse(href)
	if err != nil || u.Host != at.Host || len(href) > maxField/2 {
		return "", false
	}
	base := strings.TrimSuffix(escapedPath(at), "/") + "/"
	path = escapedPath(u)
	if strings.TrimSuffix(path, "/")+"/" == base {
		return path, true
	}
	rest, in := strings.CutPrefix(path, base)
	if !in || rest == "" || strings.Contains(strings.TrimSuffix(rest, "/"), "/") || wire.HasControl(path) {
		return "", false
	}
	return path, false
}

// escapedPath is a path in one form, however a server has written it.
func escapedPath(u *url.URL) string {
	if strings.Contains(strings.ToLower(u.RawPath), "%2f") {
		return u.EscapedPath()
	}
	return (&url.URL{Path: u.Path}).EscapedPath()
}

// fetch asks for cards, a batch at a time.
func (c *Client) fetch(ctx context.Context, at *url.URL, paths []string, next *Collection, change func(Change)) error {
	total := 0
	for size := batch; len(paths) > 0; {
		some := paths[:min(size, len(paths))]
		got, err := c.cards(ctx, at, some)
		if errors.Is(err, errTooLarge) && len(some) > 1 {
			size = len(some) / 4
			size = max(1, size)
			continue
		}
		if errors.Is(err, errTooLarge) {
			change(Change{Path: some[0], Fault: "has more than 16 MiB"})
			paths = paths[1:]
			continue
		}
		if err != nil {
			return err
		}
		for _, path := range some {
			text, ok := got[path]
			switch {
			case !ok: // it went meanwhile
				delete(next.ETags, path)
				change(Change{Path: path})
			case text == "":
				change(Change{Path: path, Fault: "came without its content"})
			default:
				change(Change{Path: path, Text: text})
			}
			if total += len(text); total > maxTotal {
				return fmt.Errorf("the server has more than %d MiB of cards", maxTotal>>20)
			}
		}
		paths = paths[len(some):]
	}
	return nil
}

// cards are the texts of cards, by their path (RFC 6352 §8.7).
func (c *Client) cards(ctx context.Context, at *url.URL, paths []string) (map[string]string, error) {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><c:addressbook-multiget xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:prop><d:getetag/><c:address-data/></d:prop>`)
	for _, p := range paths {
		b.WriteString("<d:href>" + escaped(p) + "</d:href>")
	}
	b.WriteString("</c:addressbook-multiget>")
	a, _, err := c.ask(ctx, request{fmt.Sprintf("%d cards", len(paths)), "REPORT", at, "1", b.String()})
	if err != nil {
		return nil, err
	}
	got := make(map[string]string, len(paths))
	for _, m := range a.members {
		if path, _ := pathIn(at, m.href); path != "" && m.status/100 != 4 {
			got[path] = m.text
		}
	}
	return got, nil
}
