package carddav

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Whatever a server does, there is an error that says so, soon, and nothing that
// was known is lost.
func TestHostileServers(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("another site is asked: %s, with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	open := `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav">`
	body := func(text string) func(http.ResponseWriter, *http.Request, string) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ string) bool {
			w.WriteHeader(http.StatusMultiStatus)
			io.WriteString(w, text)
			return true
		}
	}
	at := func(kind string, do func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request, string) bool {
		return func(w http.ResponseWriter, _ *http.Request, body string) bool {
			if !strings.Contains(body, kind) {
				return false
			}
			w.WriteHeader(http.StatusMultiStatus)
			do(w)
			return true
		}
	}
	for _, c := range []struct {
		name    string
		instead func(http.ResponseWriter, *http.Request, string) bool
		want    string
	}{
		{"entity bomb", body(`<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>` + open + `&b;</d:multistatus>`), "has a document type"},
		{"entity", body(open + `&b;</d:multistatus>`), "is not XML"},
		{"deep", body(open + strings.Repeat("<a>", 1000)), "more than 32 deep"},
		{"long tag", body(open + `<d:response ` + strings.Repeat(`a="" `, 100_000)), "a tag of more than 64 KiB"},
		{"long tag with quotes", body(open + `<d:response ` + strings.Repeat(`a=">" `, 100_000)), "a tag of more than 64 KiB"},
		{"namespaces", body(open + `<d:response ` + func() (s string) {
			for i := range 300 {
				s += fmt.Sprintf(`xmlns:n%d="x" `, i)
			}
			return s
		}() + `/>`), "more than 200 namespaces"},
		{"too long", at("propfind", func(w http.ResponseWriter) {
			io.WriteString(w, open)
			for range 20 {
				io.WriteString(w, "<x>"+strings.Repeat("y", 100<<10)+"</x>")
			}
		}), "larger than 16 MiB"},
		{"half", body(open + `<d:response><d:href>/`), "ends in the middle"},
		{"half, at an element", body(open + `<d:response></d:response>`), "ends in the middle"},
		{"nothing", body(""), "ends in the middle"},
		{"two", body(open + "</d:multistatus>" + open + "</d:multistatus>"), "goes on behind its end"},
		{"HTML", body("<html><br>&nbsp;</html>"), "is not XML"},
		{"crossed", body("<a></b>"), "ends that has not begun"},
		{"another charset", body(`<?xml version="1.0" encoding="utf-7"?>` + open + "</d:multistatus>"), `encoding "utf-7" declared`},
		{"closes half-way", at("propfind", func(w http.ResponseWriter) {
			io.WriteString(w, open)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}), ""},
		{"leads in circles", func(w http.ResponseWriter, r *http.Request, _ string) bool {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
			return true
		}, "more than 5 times"},
		{"leads elsewhere", func(w http.ResponseWriter, r *http.Request, _ string) bool {
			http.Redirect(w, r, other.URL, http.StatusFound)
			return true
		}, "another site and gets no password"},
		{"a principal elsewhere", body(open + `<d:response><d:href>/</d:href>` + ok(`<d:current-user-principal><d:href>`+other.URL+`/</d:href></d:current-user-principal>`) + `</d:response></d:multistatus>`), "another site"},
		{"a home elsewhere", body(open + `<d:response><d:href>/</d:href>` + ok(`<c:addressbook-home-set><d:href>`+other.URL+`/</d:href></c:addressbook-home-set>`) + `</d:response></d:multistatus>`), "another site"},
		{"no book", body(open + `<d:response><d:href>/</d:href>` + ok("") + `</d:response></d:multistatus>`), "no address book for this user"},
		{"500", func(w http.ResponseWriter, r *http.Request, _ string) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}, "500 Internal Server Error"},
		{"more without end", at("sync-collection", func(w http.ResponseWriter) {
			io.WriteString(w, open+`<d:response><d:href>`+home+`contacts/</d:href><d:status>HTTP/1.1 507 x</d:status></d:response><d:sync-token></d:sync-token></d:multistatus>`)
		}), "there is more, and not where"},
		{"cards of others", at("sync-collection", func(w http.ResponseWriter) {
			io.WriteString(w, open+`<d:response><d:href>/etc/passwd</d:href>`+ok(`<d:getetag>"x"</d:getetag>`)+`</d:response><d:response><d:href>`+home+`contacts/../x/y</d:href>`+
				ok(`<d:getetag>"x"</d:getetag>`)+`</d:response><d:sync-token>t</d:sync-token></d:multistatus>`)
		}), "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.instead = c.instead
			h := &heard{}
			err := h.sync(t, f.book())
			if c.want == "none" {
				if err != nil || len(h.cards) > 0 {
					t.Errorf("%v %q", err, h.cards)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A server that drips, or says nothing, costs the time-out.
func TestSlowServers(t *testing.T) {
	for name, between := range map[string]string{"drips": " ", "is silent": ""} {
		f := newFixture(t)
		f.instead = func(w http.ResponseWriter, r *http.Request, _ string) bool {
			w.WriteHeader(http.StatusMultiStatus)
			for r.Context().Err() == nil {
				io.WriteString(w, between)
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
			return true
		}
		b := f.book()
		b.Directory.Timeout = 200 * time.Millisecond
		began := time.Now()
		if err := (&heard{}).sync(t, b); err == nil || !strings.Contains(err.Error(), "took too long") || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
	}
}

// A card that is too large is one fault, and hides no other.
func TestLargeCard(t *testing.T) {
	f, h := newFixture(t), &heard{}
	for i := range 3 {
		f.put(fmt.Sprintf("c%d.vcf", i), strings.Repeat("x", 100<<10))
	}
	f.put("large.vcf", strings.Repeat("x", 1100<<10))
	if err := h.sync(t, f.book()); err != nil || len(h.cards) != 3 || h.faults["large.vcf"] != "has more than 16 MiB" {
		t.Errorf("%v, %d cards, %v", err, len(h.cards), h.faults)
	}
}

// FuzzParse: whatever a server sends, reading it ends.
func FuzzParse(f *testing.F) {
	f.Add(`<d:multistatus xmlns:d="DAV:"><d:response><d:href>/x</d:href><d:propstat><d:prop><d:getetag>"1"</d:getetag></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`)
	f.Add(`<!DOCTYPE x><a/>`)
	f.Add(`<a xmlns="DAV:"><![CDATA[<]]><!-- > --></a>`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parse(strings.NewReader(text), maxAnswer)
		if (a == nil) == (err == nil) {
			t.Error(a, err)
		}
	})
}

// An answer of resources of nothing takes more memory than bytes.
func TestResourcesOfNothing(t *testing.T) {
	text := `<multistatus xmlns="DAV:">` + strings.Repeat("<response/>", maxCards+2) + "</multistatus>"
	if _, err := parse(strings.NewReader(text), maxAnswer); err != errTooMany {
		t.Error(err)
	}
}
