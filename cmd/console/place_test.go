package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A new route stands where the form says: the first that matches counts.
func TestPlaceOfARoute(t *testing.T) {
	f, s := newRelay(t)
	dir := definable(t, f)
	b := open(t, s, "define")
	try := func(name, place string) (code int, to, body string) {
		t.Helper()
		code, h, body := b.post("/definitions/route", url.Values{"name": {name}, "v.from": {"*@" + name + ".example"}, "v.upstream": {"main"}, "place": {place}})
		return code, h.Get("Location"), body
	}
	keep := func(name, place string) {
		t.Helper()
		code, to, body := try(name, place)
		if code != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", name, code, body)
		}
		if code, _, body := b.post(to+"/save", nil); code != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", name, code, body)
		}
	}
	if _, _, body := b.get("/definitions/route"); strings.Contains(body, `name="place"`) {
		t.Error("there is nothing to stand before, and the form asks")
	}
	keep("general", "")
	keep("ours", "before:general")
	keep("mine", "first")
	for _, want := range []string{"50-route-general.toml", "49-route-ours.toml", "48-route-mine.toml"} {
		if have := kept(t, dir); !strings.Contains(have, want) {
			t.Errorf("without %s: %s", want, have)
		}
	}
	_, _, body := b.get("/definitions/route")
	for _, text := range []string{`<option value="before:ours">before ours</option>`, `<option value="first">`} {
		if !strings.Contains(body, text) {
			t.Errorf("without %q: %s", text, body)
		}
	}
	if _, _, body := b.get("/definitions/route?name=ours"); strings.Contains(body, `name="place"`) {
		t.Error("the place of a route that is there is asked")
	}
	before := kept(t, dir)
	for _, wrong := range []string{"before:first", "before:nobody", "before:../x", hostile, "before:" + hostile, "last"} {
		code, _, body := try("more", wrong)
		if code != http.StatusUnprocessableEntity || !strings.Contains(body, "no such route") || strings.Contains(body, "<script>alert") {
			t.Errorf("%q: %d %s", wrong, code, body)
		}
	}
	// What is typed stays where something else is wrong.
	if code, _, body := b.post("/definitions/route", url.Values{"name": {"more"}, "v.from": {"a@example.com"}, "v.upstream": {"nobody"}, "place": {"before:ours"}}); code != http.StatusUnprocessableEntity || !strings.Contains(body, `value="before:ours" selected`) {
		t.Errorf("%d %s", code, body)
	}
	if kept(t, dir) != before {
		t.Error("something was written")
	}
}
