package control

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestEveryRouteHasRightsAndALimit walks the table: by each socket, each row
// is refused with 404, 405, 403 and 413 in this order, and nothing is done.
func TestEveryRouteHasRightsAndALimit(t *testing.T) {
	if len(routes) == 0 {
		t.Fatal("there are no routes")
	}
	f := newFake()
	s := f.server()
	servers := []struct {
		rights Rights
		h      http.Handler
	}{{0, s.metrics.Handler}, {Look, s.reading.Handler}, {Look | Operate, s.control.Handler}}
	for _, r := range routes {
		path := strings.NewReplacer("{id}", "x", "{name}", "office", "{op}", "explode").Replace(r.path)
		for _, d := range servers {
			ask := func(method, path string, body io.Reader) int {
				q := httptest.NewRequest(method, path, body)
				q.Host = "localhost"
				w := httptest.NewRecorder()
				d.h.ServeHTTP(w, q)
				if w.Code >= 400 && w.Header().Get("Content-Type") != "application/json" {
					t.Errorf("%s %s: %d is not in JSON: %s", method, path, w.Code, w.Body)
				}
				return w.Code
			}
			hidden, may := d.rights == 0 && r.needs != 0, d.rights&r.needs == r.needs
			for _, body := range []io.Reader{
				strings.NewReader(strings.Repeat(" ", int(r.limit)+1)),                      // its length is told
				struct{ io.Reader }{strings.NewReader(strings.Repeat(" ", int(r.limit)+1))}, // its length is not told
			} {
				want := http.StatusRequestEntityTooLarge
				if r.limit == streamed { // a body of any length, which makes no sense here
					want = http.StatusBadRequest
				}
				switch {
				case hidden:
					want = http.StatusNotFound
				case !may:
					want = http.StatusForbidden
				}
				if got := ask(r.method, path, body); got != want {
					t.Errorf("%s %s with too long a body, rights %d: %d, want %d", r.method, path, d.rights, got, want)
				}
			}
			want := http.StatusMethodNotAllowed
			if hidden {
				want = http.StatusNotFound
			}
			if got := ask("PATCH", path, strings.NewReader("x")); got != want {
				t.Errorf("PATCH %s, rights %d: %d, want %d", path, d.rights, got, want)
			}
			for _, other := range []string{"/" + path, path + "/", path + "/x/y/z", "/x" + path, strings.Replace(path, "/", "/./", 1)} {
				if got := ask(r.method, other, strings.NewReader("x")); got != http.StatusNotFound {
					t.Errorf("%s %s: %d, want 404", r.method, other, got)
				}
			}
		}
	}
	if len(f.done) > 0 {
		t.Errorf("done: %q", f.done)
	}
}

// A segment is what stands between two slashes as they were sent.
func TestSegmentsOfPaths(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/upstreams/office/pause": "office pause", "/v1/upstreams/of%2Ffice/pause": "of/fice pause", "/v1/upstreams/%2e%2e/pause": ".. pause",
		"/v1/upstreams//pause": "", "/v1%2Fupstreams/office/pause": "", "/v1/upstreams/office": "", "": "", "*": "",
	} {
		u, err := url.Parse("http://postern" + path)
		if err != nil && path != "*" {
			t.Fatal(err)
		}
		if path == "*" {
			u = &url.URL{Path: "*"}
		}
		r := &http.Request{Method: "POST", URL: u}
		got := ""
		if found, _ := find(r, Look|Operate); found != nil {
			got = fmt.Sprintf("%s %s", r.PathValue("name"), r.PathValue("op"))
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
