package control

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern/spool"
)

// FuzzRequest: whatever is asked by the control socket, the answer is one that
// is documented, in JSON or a message, and a request that is not understood
// changes nothing.
func FuzzRequest(f *testing.F) {
	id := spool.ID(1).String()
	for _, r := range [][3]string{
		{"GET", "/v1/queue?upstream=office&from=a&to=b&held=true&deferred=true&limit=3", ""},
		{"GET", "//v1/status", ""}, {"POST", "/v1/queue/../reload", ""}, {"GET", "/v1/queue?limit=-1", ""}, {"GET", "/v1/queue?limit=99999999999999999999&%zz;", ""},
		{"GET", "/v1/messages/" + id, ""}, {"GET", "/v1/messages/" + id + "/content", ""}, {"GET", "/v1/messages/..%2f..%2fetc/content", ""},
		{"POST", "/v1/queue/hold", `{"ids":["` + id + `"]}`}, {"POST", "/v1/queue/remove", `{"all":true,"filter":{"from":"a"},"reason":"x"}`},
		{"POST", "/v1/queue/retry", `{"filter":{"upstream":"office","limit":-5}}`}, {"POST", "/v1/queue/remove", `{"ids":[]}{"all":true}`}, {"POST", "/v1/queue/bounce", `{"ids":["` + hostile + `"]}`},
		{"POST", "/v1/upstreams/office/pause", ""}, {"POST", "/v1/upstreams/%00%ff/resume", ""}, {"POST", "/v1/upstreams/a/forget-tls", ""},
		{"POST", "/v1/reload", ""}, {"GET", "/v1/status", ""}, {"GET", "/healthz", ""},
	} {
		f.Add(r[0], r[1], r[2])
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		request, err := http.NewRequest(method, "http://postern"+target, strings.NewReader(body))
		if err != nil {
			return
		}
		daemon := newFake()
		daemon.add(1, "a@example.com", "office", spool.RecipientState{Held: true}, "b@example.com", hostile)
		answer := httptest.NewRecorder()
		daemon.server().control.Handler.ServeHTTP(answer, request)
		switch answer.Code {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge:
			if len(daemon.done) > 0 {
				t.Fatalf("%s %q %q: %d, and yet %q", method, target, body, answer.Code, daemon.done)
			}
		case http.StatusOK, http.StatusNoContent, http.StatusServiceUnavailable, http.StatusConflict, http.StatusInternalServerError:
		default:
			t.Fatalf("%s %q %q: %d %s", method, target, body, answer.Code, answer.Body)
		}
		if method != http.MethodPost && len(daemon.done) > 0 {
			t.Fatalf("%s %q changes something: %q", method, target, daemon.done)
		}
	})
}
