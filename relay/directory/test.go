package directory

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"postern/config"
)

// Tested is what a test of one server found.
type Tested struct {
	URL    string        `json:"url"`
	Error  string        `json:"error,omitempty"`
	Hint   string        `json:"hint,omitempty"`
	TLS    string        `json:"tls,omitempty"` // "TLS 1.3"; empty: none
	As     string        `json:"as,omitempty"`  // who we are to it
	Vendor string        `json:"vendor,omitempty"`
	Schema config.Schema `json:"schema,omitempty"`
	Base   string        `json:"base,omitempty"`
	People int           `json:"people"` // entries with an address that are not hidden, of which maxCounted are counted
	Groups int           `json:"groups"`
	Notes  []string      `json:"notes,omitempty"`
	Took   time.Duration `json:"took_ns"`
}

// maxCounted is how many entries a test counts.
const maxCounted = 20_000

// Test asks each server by itself: connects, signs in, and counts. ok: one of
// them can be used.
func (d *Directory) Test(ctx context.Context) (all []Tested, ok bool) {
	for _, server := range d.servers {
		started := time.Now()
		t := Tested{URL: server.URL}
		err := d.test(ctx, server, &t)
		if t.Took = time.Since(started); err != nil {
			t.Error, t.Hint = explain(err)
		}
		ok = ok || err == nil
		all = append(all, t)
	}
	return all, ok
}

func (d *Directory) test(ctx context.Context, server *server, t *Tested) error {
	ctx, cancel := context.WithTimeout(ctx, 4*d.set.Timeout)
	defer cancel()
	s, err := d.open(ctx, server)
	if err != nil {
		return err
	}
	defer s.close()
	if s.state != nil {
		t.TLS = tls.VersionName(s.state.Version)
	}
	t.Vendor, t.Schema, t.Base = s.vendor, s.schema.kind, s.base
	return s.run(ctx, func(ctx context.Context) error {
		if who, err := s.conn.WhoAmI(nil); err == nil { // RFC 4532; not everybody has it
			t.As = line(who.AuthzID)
		}
		out, err := d.search(ctx, s, query{base: s.base, filter: s.schema.addressed, attrs: s.schema.attributes(), page: pageSize}, func(r *rawEntry) bool {
			switch e := s.schema.entry(r); {
			case e.hidden:
			case e.Kind == Person:
				t.People++
			default:
				t.Groups++
			}
			return t.People+t.Groups < maxCounted
		})
		if out.incomplete != "" {
			t.Notes = append(t.Notes, "not all are counted: "+out.incomplete)
		}
		if t.People+t.Groups >= maxCounted {
			t.Notes = append(t.Notes, fmt.Sprintf("only %d are counted", maxCounted))
		}
		if len(out.elsewhere) > 0 {
			t.Notes = append(t.Notes, "parts of it are on "+strings.Join(out.elsewhere, ", ")+", which url doesn't name and nobody asks")
		}
		return err
	})
}
