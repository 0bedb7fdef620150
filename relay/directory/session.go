package directory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/config/wire"
)

// Bounds of an answer, whatever a directory says.
const (
	maxEntries = 200_000 // that are looked at for one question
	maxPages   = 2_000
	maxEmpty   = 20  // pages in a row
	pageSize   = 500 // Active Directory gives 1,000 at most
)

// session is a connection that is signed in. It is used by one at a time.
type session struct {
	server  *server
	conn    *ldap.Conn
	frames  *frames
	state   *tls.ConnectionState // nil: no TLS
	timeout time.Duration        // of a search
	kept    bool                 // it has answered before
	unpaged bool                 // it refused to give pages

	schema schema
	base   string
	vendor string
}

// broken ends a session. elsewhere: another server may do better.
type broken struct {
	err       error
	elsewhere bool
}

func (e *broken) Error() string { return e.err.Error() }
func (e *broken) Unwrap() error { return e.err }

// refused is the error of a sign-in that no server would accept.
type refused struct{ err error }

func (e *refused) Error() string { return e.err.Error() }
func (e *refused) Unwrap() error { return e.err }

func (s *session) close() { _ = s.conn.Close() }

// run ends the connection when the time is over, and tells why it ended.
func (s *session) run(ctx context.Context, do func(context.Context) error) error {
	stop := context.AfterFunc(ctx, func() { _ = s.frames.Close() })
	defer stop()
	err := do(ctx)
	if why := s.frames.fault.Load(); err != nil && why != nil && ctx.Err() == nil {
		var b *broken
		if errors.As(err, &b) && !errors.Is(err, context.DeadlineExceeded) {
			return &broken{*why, true}
		}
	}
	return err
}

// query is one search.
type query struct {
	base   string
	alone  bool // the base itself
	filter string
	attrs  []string
	page   int // entries that are wanted at a time
}

// got is what a search told beside its entries.
type got struct {
	incomplete string
	elsewhere  []string // servers that have more of it
	referrals  []string // URLs
}

// search gives each entry to take, until that wants no more. The error is a
// *broken.
func (s *session) search(ctx context.Context, q query, take func(*rawEntry) bool) (out got, err error) {
	var cookie []byte
	seen, empty := 0, 0
	for range maxPages {
		at := seen
		next, pages, stopped := []byte(nil), false, false
		again, err := s.page(ctx, q, cookie, &out, func(e *rawEntry) error {
			if seen++; seen > maxEntries {
				return &broken{fmt.Errorf("it gives more than %d entries for one question", maxEntries), false}
			}
			stopped = stopped || !take(e)
			return nil
		}, func(c []byte) { next, pages = c, true })
		switch {
		case err != nil:
			return out, err
		case again:
			continue
		case stopped || !pages || len(next) == 0 || out.incomplete != "":
			return out, nil
		}
		if cookie = next; seen > at {
			empty = 0
		} else if empty++; empty > maxEmpty {
			break
		}
	}
	return out, &broken{errors.New("its pages have no end"), false}
}

// page asks for one, or for all where the server knows no pages. again: it wants
// to be asked without.
func (s *session) page(ctx context.Context, q query, cookie []byte, out *got, take func(*rawEntry) error, next func(cookie []byte)) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var controls []ldap.Control
	if !q.alone && !s.unpaged {
		paging := ldap.NewControlPaging(uint32(min(max(q.page, 1), pageSize)))
		paging.SetCookie(cookie)
		controls = append(controls, paging)
	}
	before, seen := s.frames.done.Load(), 0
	r := s.conn.SearchAsync(ctx, s.request(q, controls), 0)
	for r.Next() {
		if e := r.Entry(); e != nil {
			seen++
			if err := take((*rawEntry)(e)); err != nil {
				return false, err
			}
		}
		if u := r.Referral(); u != "" && len(out.referrals) < maxReferrals {
			out.referrals = append(out.referrals, u)
		}
		if c, ok := ldap.FindControl(r.Controls(), ldap.ControlTypePaging).(*ldap.ControlPaging); ok {
			next(c.Cookie)
		}
	}
	return s.ended(ctx, r.Err(), before, seen == 0 && len(cookie) == 0, out)
}

func (s *session) request(q query, controls []ldap.Control) *ldap.SearchRequest {
	scope := ldap.ScopeWholeSubtree
	if q.alone {
		scope = ldap.ScopeBaseObject
	}
	seconds := max(1, int(s.timeout/time.Second))
	return ldap.NewSearchRequest(q.base, scope, ldap.NeverDerefAliases, 0, seconds, false, q.filter, q.attrs, controls)
}

// ended looks at how a search came to its end. again: without pages. A limit of
// the directory makes what it gave incomplete, and is no reason to take anybody
// for unknown.
func (s *session) ended(ctx context.Context, err error, before int64, nothing bool, out *got) (again bool, _ error) {
	switch {
	case ctx.Err() != nil:
		return false, &broken{ctx.Err(), true}
	case err == nil && (s.frames.done.Load() == before || s.conn.GetLastError() != nil):
		return false, &broken{errors.New("the connection ended before the answer did"), true}
	case err == nil:
		return false, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultAdminLimitExceeded, ldap.LDAPResultUnavailableCriticalExtension, ldap.LDAPResultUnwillingToPerform) && nothing && !s.unpaged:
		s.unpaged = true
		return true, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultSizeLimitExceeded):
		out.incomplete = "the directory's size limit"
		return false, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultTimeLimitExceeded):
		out.incomplete = "the directory's time limit"
		return false, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultAdminLimitExceeded):
		out.incomplete = "a limit that the directory's administrator has set"
		return false, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultReferral):
		out.referrals = append(out.referrals, referrals(err)...)
		return false, nil
	}
	return false, &broken{err, ldap.IsErrorAnyOf(err, ldap.ErrorNetwork, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable,
		ldap.LDAPResultOther, ldap.ErrorUnexpectedResponse, ldap.ErrorUnexpectedMessage, ldap.LDAPResultProtocolError)}
}

// maxReferrals is how many other servers one answer may name.
const maxReferrals = 20

// referrals are the URLs of a result that is one (RFC 4511 §4.1.10).
func referrals(err error) (urls []string) {
	var e *ldap.Error
	if !errors.As(err, &e) || e.Packet == nil || len(e.Packet.Children) < 2 {
		return nil
	}
	for _, child := range e.Packet.Children[1].Children {
		if child.Tag != 3 {
			continue
		}
		for _, u := range child.Children[:min(len(child.Children), maxReferrals)] {
			urls = append(urls, u.Data.String())
		}
	}
	return urls
}

// search asks a session, and follows it to the servers of the settings; others
// are told, as whoever answers a question could send us, and our password, to
// anybody.
func (d *Directory) search(ctx context.Context, s *session, q query, take func(*rawEntry) bool) (got, error) {
	stopped := false
	taking := func(e *rawEntry) bool {
		stopped = !take(e)
		return !stopped
	}
	out, err := s.search(ctx, q, taking)
	if err != nil || stopped {
		return out, err
	}
	asked := map[string]bool{s.server.URL: true}
	for _, text := range out.referrals {
		u, err := url.Parse(text)
		base := ""
		if err == nil {
			base = strings.TrimPrefix(u.Path, "/")
		}
		if err != nil || u.Host == "" || idle(u.Host, base) {
			continue
		}
		to := d.known(u.Host)
		if to == nil {
			if host := wire.Line(u.Host); !slices.Contains(out.elsewhere, host) {
				out.elsewhere = append(out.elsewhere, host)
			}
			continue
		}
		if asked[to.URL] || stopped {
			continue
		}
		asked[to.URL] = true
		more, err := d.follow(ctx, to, query{base: base, filter: q.filter, attrs: q.attrs, page: q.page, alone: q.alone}, taking)
		if err != nil {
			return out, err
		}
		if more.incomplete != "" {
			out.incomplete = more.incomplete
		}
	}
	return out, nil
}

// idle reports whether a referral leads to the parts of Active Directory that
// hold nobody.
func idle(host, base string) bool {
	host, base = strings.ToLower(host), strings.ToLower(base)
	return strings.HasPrefix(host, "domaindnszones.") || strings.HasPrefix(host, "forestdnszones.") || strings.HasPrefix(base, "cn=configuration,")
}

func (d *Directory) known(host string) *server {
	name, port, found := strings.Cut(host, ":")
	for _, s := range d.servers {
		if strings.EqualFold(s.Host, name) && (!found || port == s.Port || port == "389") {
			return s
		}
	}
	return nil
}

func (d *Directory) follow(ctx context.Context, to *server, q query, take func(*rawEntry) bool) (got, error) {
	s, err := d.open(ctx, to)
	if err != nil {
		return got{}, &broken{fmt.Errorf("it leads to %s, which can't be asked: %w", to.URL, err), false}
	}
	defer s.close()
	var out got
	err = s.run(ctx, func(ctx context.Context) (err error) {
		out, err = s.search(ctx, q, take)
		return err
	})
	return out, err
}
