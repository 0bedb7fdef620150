package route

import (
	"strings"
	"testing"

	"postern/config"
)

func TestRejectEndsTheSearch(t *testing.T) {
	tab := table(t,
		config.Route{Name: "ceo", From: []string{"ceo@example.com"}, User: []string{"ceo"}},
		config.Route{Name: "not you", From: []string{"ceo@example.com"}, Reject: "not your address"},
		config.Route{Name: "competitor", To: []string{"*@competitor.example"}, Reject: "not there"},
		config.Route{Name: "secret", Header: map[string][]string{"X-Class": {"secret"}}, Reject: "not this"},
		config.Route{Name: "rest", From: []string{"*"}},
	)
	for _, c := range []struct {
		q      Query
		sender bool
		route  string
		reject string
	}{
		{Query{From: "ceo@example.com", User: "ceo", To: "a@b"}, true, "ceo", ""},
		{Query{From: "CEO@example.com", User: "app", To: "a@b"}, false, "not you", "not your address"},
		{Query{From: `"ceo"@example.com`, To: "a@b"}, false, "not you", "not your address"},
		{Query{From: "x@example.com", To: "a@competitor.example"}, true, "competitor", "not there"},
		{Query{From: "x@example.com", To: "a@b", Header: map[string][]string{"X-Class": {"secret"}}}, true, "secret", "not this"},
		{Query{From: "x@example.com", To: "a@b", Header: map[string][]string{}}, true, "rest", ""},
		{Query{From: "x@example.com", To: "a@b"}, true, "", ""},
	} {
		d := tab.Recipient(c.q)
		if d.Route != c.route || d.Reject != c.reject || d.Matched != (c.route != "" && c.reject == "") || c.reject != "" && len(d.Upstreams) > 0 {
			t.Errorf("%+v: %+v", c.q, d)
		}
		if got := tab.Sender(c.q); got != c.sender {
			t.Errorf("%+v: sender %v", c.q, got)
		}
		if text := tab.Refusal(c.q); !c.sender && text != c.reject {
			t.Errorf("%+v: refusal %q", c.q, text)
		}
	}
}

// A reject that can't be reached by everybody does not refuse at MAIL.
func TestRejectBehindAnOpenRoute(t *testing.T) {
	tab := table(t,
		config.Route{From: []string{"a@example.com"}, To: []string{"x@y"}},
		config.Route{From: []string{"*"}, Reject: "no"},
	)
	if !tab.Sender(Query{From: "a@example.com"}) || tab.Sender(Query{From: "b@example.com"}) {
		t.Error("the wrong sender is refused")
	}
}

func TestSendersNarrow(t *testing.T) {
	s, err := NewSenders([]config.Sender{
		{Listener: []string{"site"}, From: []string{"*@example.com", "<>"}},
		{User: []string{"app1"}, From: []string{"app1@example.com", "x@example.org"}, CheckFrom: true},
		{UnixUser: []string{"www-data"}, From: []string{"www@example.com"}},
		{User: []string{"*"}, UnixUser: []string{"*"}, From: []string{"both@example.com"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    Query
		want bool
	}{
		{Query{From: "anyone@anywhere.example", Listener: "other"}, true},
		{Query{From: "anyone@anywhere.example", Listener: "site"}, false},
		{Query{From: "", Listener: "site"}, true},
		{Query{From: "APP1@Example.com", Listener: "site", User: "app1"}, true},
		{Query{From: "b@example.com", Listener: "site", User: "app1"}, false},
		{Query{From: "x@example.org", Listener: "site", User: "app1"}, false}, // both have to allow it
		{Query{From: "x@example.org", Listener: "other", User: "app1"}, true},
		{Query{From: "", Listener: "other", User: "app1"}, false},
		{Query{From: "www@example.com", UnixUser: "www-data"}, true},
		{Query{From: "root@example.com", UnixUser: "www-data"}, false},
		{Query{From: "www\u200b@example.com", UnixUser: "www-data"}, false},
		{Query{From: "both@example.com", UnixUser: "x", User: "y"}, true},
		{Query{From: "one@example.com", UnixUser: "x", User: "y"}, false},
	} {
		if got := s.Envelope(c.q); got != c.want {
			t.Errorf("%+v: %v", c.q, got)
		}
		forbids := false
		for _, trial := range s.Explain(c.q) {
			forbids = forbids || trial.Result == Forbids
		}
		if forbids == c.want {
			t.Errorf("%+v: explained otherwise: %+v", c.q, s.Explain(c.q))
		}
	}
	if q := (Query{User: "app1", Listener: "other"}); !s.ChecksFrom(q) || s.Author(q, "ceo@example.com") || !s.Author(q, "app1@example.com") {
		t.Error("authors of app1")
	}
	if s.ChecksFrom(Query{Listener: "site"}) {
		t.Error("authors at site are checked")
	}
	if _, err := NewSenders([]config.Sender{{From: []string{"example.com"}}}); err == nil || !strings.Contains(err.Error(), "example.com") {
		t.Errorf("error %v", err)
	}
}

// What a reader can't see matches no route but "*".
func TestHiddenCharactersMatchNothing(t *testing.T) {
	tab := table(t, config.Route{From: []string{"*@example.com", "*@*.example.com", "root@*", "<>"}})
	for _, a := range []string{"a\u200b@example.com", "a\u202e@example.com", "a\u00a0@example.com", "a@x\u00ad.example.com", "a\U000e0041@example.com", "a\ufe0f@example.com", "root@\u2066x.example"} {
		if tab.Sender(Query{From: a}) || tab.Recipient(Query{From: a, To: "x@y"}).Matched {
			t.Errorf("%q matches", a)
		}
	}
}
