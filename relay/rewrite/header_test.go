package rewrite

import (
	"slices"
	"strings"
	"testing"

	"postern/config"
	"postern/relay/route"
)

// crlfs writes a header of the test with the line ends of mail.
func crlfs(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestHeader(t *testing.T) {
	to := func(c Change) Change {
		if c.ReplyTo == "" {
			c.ReplyTo = config.ReplyToOriginal
		}
		return c
	}
	for _, c := range []struct {
		name         string
		change       Change
		before, want string
		changed      []string
	}{
		{"From, and who gets replies", Change{From: "a@b"}, "To: x@y\nFrom: R\u00f6\u00f6t <root@host>\nSubject: s\n",
			"To: x@y\nFrom: R\u00f6\u00f6t <a@b>\nReply-To: R\u00f6\u00f6t <root@host>\nSubject: s\n", []string{"from", "reply-to"}},
		{"a Reply-To stays", Change{From: "a@b"}, "Reply-To: z@z\nFrom: root@host\n", "Reply-To: z@z\nFrom: a@b\n", []string{"from"}},
		{"an empty Reply-To leads nowhere", Change{From: "a@b"}, "Reply-To: \nFrom: root@host\n", "Reply-To: \nFrom: a@b\nReply-To: root@host\n", []string{"from", "reply-to"}},
		{"From is right already", Change{From: "a@b"}, "From: A <a@B>\nSender: s@t\n", "From: A <a@B>\nSender: s@t\n", nil},
		{"From twice", Change{From: "a@b"}, "From: A <a@b>\nX: 1\nFrom: C <c@d>\n", "From: A <a@b>\nReply-To: A <a@b>\nX: 1\n", []string{"from", "reply-to"}},
		{"Sender goes", Change{From: "a@b"}, "Sender: s@t\nFrom: x@y\n", "From: a@b\nReply-To: x@y\n", []string{"sender", "from", "reply-to"}},
		{"no From", Change{From: "a@b"}, "To: x@y\n", "To: x@y\nFrom: a@b\n", []string{"from"}},
		{"blanks before the colon", Change{From: "a@b"}, "FROM : x@y\n", "From: a@b\nReply-To: x@y\n", []string{"from", "reply-to"}},
		{"folded", Change{From: "a@b"}, "From: A\n B\n\t<x@y>\nTo: z@z\n", "From: A\n B\n\t<a@b>\nReply-To: A\n B\n\t<x@y>\nTo: z@z\n", []string{"from", "reply-to"}},
		{"Resent- stays", Change{From: "a@b", ReplyTo: config.ReplyToNone}, "Resent-From: r@s\nResent-Sender: q@s\nResent-Reply-To: p@s\nFrom: x@y\nReply-To: z@z\n",
			"Resent-From: r@s\nResent-Sender: q@s\nResent-Reply-To: p@s\nFrom: a@b\n", []string{"from", "reply-to"}},
		{"Reply-To is set", Change{ReplyTo: "z@z"}, "Reply-To: a@a\nFrom: x@y\nReply-To: b@b\n", "From: x@y\nReply-To: z@z\n", []string{"reply-to"}},
		{"added and removed", Change{add: []byte("X-Origin: app1\r\n"), remove: []string{"X-Internal"}},
			"x-internal: 1\n folded\nFrom: x@y\nX-Internal-Not: 2\nX-INTERNAL: 3\n", "From: x@y\nX-Internal-Not: 2\nX-Origin: app1\n", []string{"x-internal", "x-origin"}},
		{"what is no field stays", Change{From: "a@b"}, "junk without a colon\nFrom: x@y\n", "junk without a colon\nFrom: a@b\nReply-To: x@y\n", []string{"from", "reply-to"}},
		{"nothing", Change{}, "From: x@y\n", "From: x@y\n", nil},
	} {
		change := to(c.change)
		got := change.Header([]byte(crlfs(c.before)))
		if string(got.Header) != crlfs(c.want) || !slices.Equal(got.Changed, c.changed) {
			t.Errorf("%s: %q, changed %q\nwant %q, %q", c.name, got.Header, got.Changed, crlfs(c.want), c.changed)
		}
	}
}

// A From near the longest line has a Reply-To that is folded.
func TestLongReplyTo(t *testing.T) {
	long := "From: " + strings.Repeat("word ", 195) + "<x@y>\r\n"
	c := Change{From: "a@b", ReplyTo: config.ReplyToOriginal}
	for line := range strings.SplitSeq(string(c.Header([]byte(long)).Header), "\r\n") {
		if len(line) > 998 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}

func TestBrokenSignatures(t *testing.T) {
	h := crlfs("DKIM-Signature: v=1; a=rsa-sha256; d=one.example; s=x;\n h=To : From:Subject; b=x=\n" +
		"DKIM-Signature: v=1; d=two.example; h=Subject:To; b=x\n" +
		"ARC-Message-Signature: i=1; d=three.example; h=subject:reply-to\n" +
		"X-Signature: d=four.example; h=From\n" +
		"DKIM-Signature: h=From\n")
	got := BrokenIn([]byte(h), []string{"from", "reply-to"})
	if want := []Broken{{"one.example", "from"}, {"three.example", "reply-to"}, {"", "from"}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := BrokenIn([]byte(h), nil); got != nil {
		t.Errorf("nothing changed, and %v broke", got)
	}
}

func TestFind(t *testing.T) {
	cfg := &config.Config{
		Upstreams: map[string]*config.Upstream{"one": {}, "two": {Sender: "two@example.com"}},
		Rewrites: []config.Rewrite{
			{From: []string{"root@*"}, Upstream: []string{"one"}, EnvelopeFrom: "root@example.com"},
			{Header: map[string][]string{"X-Class": {"bulk"}}, HeaderFrom: "bulk@example.com"},
			{User: []string{"app"}, EnvelopeFrom: "keep", AddHeader: map[string]string{"X-A": "1"}},
			{Listener: []string{"site"}, HeaderFrom: "keep"},
		},
	}
	table, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{}
	for _, c := range []struct {
		upstream             string
		q                    route.Query
		rule, envelope, from string
		open                 bool
	}{
		{"one", route.Query{From: "root@host", Header: known}, "rewrite 1", "root@example.com", "", false},
		{"two", route.Query{From: "root@host", Header: known}, "sender of two", "two@example.com", "two@example.com", false},
		{"one", route.Query{From: "x@y", Header: known}, "", "", "", false},
		{"one", route.Query{From: "x@y"}, "", "", "", true},
		{"two", route.Query{From: "x@y", Header: map[string][]string{"X-Class": {"Bulk"}}}, "rewrite 2", "two@example.com", "bulk@example.com", false},
		{"two", route.Query{From: "x@y", User: "app", Header: known}, "rewrite 3", "", "two@example.com", false},
		{"two", route.Query{From: "x@y", Listener: "site", Header: known}, "rewrite 4", "two@example.com", "", false},
		{"two", route.Query{Header: known}, "sender of two", "two@example.com", "two@example.com", false},
		{"three", route.Query{From: "x@y"}, "", "", "", false},
	} {
		got, open := table.Find(c.upstream, c.q)
		if got == nil {
			got = &Change{}
		}
		if got.Rule != c.rule || got.Envelope != c.envelope || got.From != c.from || open != c.open {
			t.Errorf("%s %+v: %+v, %v", c.upstream, c.q, got, open)
		}
	}
	if table.Any("three") || !table.Any("one") || (*Table)(nil).Any("one") {
		t.Error("Any is wrong")
	}
	c := Change{Envelope: "a@b"}
	if c.ReversePath("") != "" || c.ReversePath("x@y") != "a@b" {
		t.Error("the null reverse-path does not stay")
	}
}

// Whatever the header holds, what comes of it is a header of whole lines with
// one From, of a size that its own bounds.
func FuzzHeader(f *testing.F) {
	f.Add("From: a <b@c>\r\nReply-To: x\r\n", true)
	f.Add("From: a: b@c, d@e;\r\n x\r\nFrom: z\r\n", false)
	f.Fuzz(func(t *testing.T, h string, reply bool) {
		if !strings.HasSuffix(h, "\r\n") || strings.ContainsAny(strings.ReplaceAll(h, "\r\n", ""), "\r\n") || strings.Contains(h, "\r\n\r\n") || strings.HasPrefix(h, "\r\n") {
			return
		}
		c := Change{From: "us@example.com", ReplyTo: config.ReplyToOriginal}
		if reply {
			c.ReplyTo = "to@example.com"
		}
		got := string(c.Header([]byte(h)).Header)
		if !strings.HasSuffix(got, "\r\n") || strings.Contains(got, "\r\n\r\n") || len(got) > 2*len(h)+200 {
			t.Fatalf("%q became %q", h, got)
		}
		froms := 0
		for line := range strings.SplitSeq(got, "\r\n") {
			if name, _, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.Trim(name, " \t"), "from") && line[0] != ' ' && line[0] != '\t' {
				froms++
			}
		}
		if froms != 1 {
			t.Fatalf("%q became %q", h, got)
		}
	})
}
