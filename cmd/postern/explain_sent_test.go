//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/cmd/explanation"
	"postern/config"
	"postern/relay/outgoing"
	"postern/relay/upstream"
	"postern/spool"
)

// bytesContent is a content.
type bytesContent struct{ *bytes.Reader }

func (bytesContent) Close() error { return nil }

// sent is what goes out in place of a message: what `postern explain` tells
// before, in its words.
type sent struct {
	from          string
	changed, gone []string // fields that came in otherwise, names of those that are not there any more
	domain        string   // that it is signed for
	selectors     []string
	broken        []explanation.BrokenBy
}

// TestExplainShowsWhatIsSent: what `postern explain` tells of rewriting, broken
// signatures and DKIM for an upstream is what a session with that upstream sends,
// whether it converts to 7 bits or not.
func TestExplainShowsWhatIsSent(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		if r := perform(t, "", "dkim", "new", "example.com", "--selector", name, "--type", "ed25519", "--out", filepath.Join(dir, name+".pem")); r.code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	const signing = "[dkim.\"example.com\"]\nkeys = [{ selector = \"one\", key_file = \"DIR/one.pem\" }, { selector = \"two\", key_file = \"DIR/two.pem\" }]\n"
	configs := map[string][2]string{ // what stands in the upstream office, and behind it
		"nothing":            {},
		"sender":             {"sender = \"alerts@example.com\""},
		"sender and dkim":    {"sender = \"alerts@example.com\"", signing},
		"dkim":               {"", signing},
		"dkim of subdomains": {"", strings.Replace(signing, "example.com", "*.example.com", 1)},
		"long lines":         {"encode_long_lines = true", signing},
		"a rule for one": {"sender = \"alerts@example.com\"", "[[rewrite]]\nfrom = [\"root@*\"]\nupstream = [\"backup\"]\nenvelope_from = \"bounces@example.com\"\n" +
			"header_from = \"keep\"\nadd_header = { \"X-Origin\" = \"app1\" }\nremove_header = [\"X-Internal\", \"Reply-To\"]\n" + signing},
		"by the header": {"", "[[rewrite]]\nheader = { \"X-Kind\" = [\"batch\"] }\nheader_from = \"batch@example.com\"\nreply_to = \"none\"\nremove_header = [\"X-Kind\"]\n" +
			"[[rewrite]]\nfrom = [\"*\"]\nenvelope_from = \"ops@example.com\"\nreply_to = \"help@example.com\"\nadd_header = { \"X-Origin\" = \"ours\", \"X-Long\" = \"" + strings.Repeat("word ", 30) + "\" }\n" + signing},
	}
	headers := map[string][]string{
		"plain":   {"From: Cron <root@app1>", "To: you@example.net", "Subject: s"},
		"own":     {"From: a@example.com", "Reply-To: b@example.com", "Subject: s", "X-Internal: 1", "X-Internal: 2"},
		"batch":   {"From: \"A, B\" <a@sub.example.com>", "X-Kind: batch", "Sender: c@example.com"},
		"two":     {"From: a@example.com, b@other.example", "To: x@example.net"},
		"nobody":  {"To: you@example.net", "X-Kind: other"},
		"signed":  {"From: root@app1", "DKIM-Signature: v=1; a=rsa-sha256; d=app1.example; s=x; h=from:subject; bh=AA==; b=AA==", "Subject: s"},
		"encoded": {"From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>", "Subject: =?utf-8?q?=C3=BC?="},
		"utf-8":   {"From: Jürgen <j@example.com>", "Subject: ü", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"},
	}
	n := 0
	for _, named := range slices.Sorted(maps.Keys(configs)) {
		extra := configs[named]
		text := strings.ReplaceAll("[spool]\ndir = \"DIR/spool\"\n[[route]]\nfrom = [\"*\", \"<>\"]\nupstream = [\"office\", \"backup\"]\n"+
			"[upstream.office]\nhost = \"mx.example.com\"\n"+extra[0]+"\n[upstream.backup]\nhost = \"mx2.example.com\"\n"+extra[1], "DIR", dir)
		file := filepath.Join(dir, "postern.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(file)
		if err != nil {
			t.Fatalf("%s: %v", named, err)
		}
		policy, err := outgoing.NewPolicy(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, which := range slices.Sorted(maps.Keys(headers)) {
			for _, from := range []string{"root@app1", ""} {
				shown := explainJSON(t, file, from, headers[which])
				for _, up := range []string{"office", "backup"} {
					for _, sevenBit := range []bool{false, true} {
						got := sendForm(t, policy, cfg.Upstreams[up], from, headers[which], sevenBit)
						if same := compare(shown.Upstreams[up].Rewrite, got, from); same != "" {
							t.Errorf("%s, %s, from <%s> by %s, 7 bits %v: %s", named, which, from, up, sevenBit, same)
						}
						if shown.Upstreams[up].Rewrite != nil {
							n++
						}
					}
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d of them changed anything", n)
	}
}

func explainJSON(t *testing.T, file, from string, header []string) (e explanation.Recipient) {
	t.Helper()
	args := []string{"explain", "--config", file, "--json", "--from", from, "--to", "you@example.net"}
	for _, field := range header {
		args = append(args, "--header", field)
	}
	r := perform(t, "", args...)
	if err := json.Unmarshal([]byte(r.stdout), &e); err != nil || r.code != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	return e
}

// sendForm gives a message with such a header the form in which a session sends
// it.
func sendForm(t *testing.T, policy *outgoing.Policy, up *config.Upstream, from string, header []string, sevenBit bool) (s sent) {
	t.Helper()
	forms := outgoing.New(func(e outgoing.Event) {
		if b, ok := e.(outgoing.SignatureBroken); ok && b.Rule != "7 bits" {
			s.broken = append(s.broken, explanation.BrokenBy{Domain: b.Domain, Field: b.Field})
		}
	})
	forms.Use(policy)
	content := strings.Join(header, "\r\n") + "\r\n\r\nGrüße\r\n"
	form := &upstream.Form{Upstream: up, SevenBit: sevenBit, From: from, EightBit: true,
		Content: bytesContent{bytes.NewReader([]byte(content))}, Delivery: &spool.Delivery{ID: 7, Envelope: &spool.Envelope{From: from, Has8Bit: true}}}
	if o := forms.Form(form); o != nil {
		t.Fatalf("%+v", o)
	}
	text, err := io.ReadAll(io.NewSectionReader(form.Content, 0, form.Content.Size()))
	if err != nil {
		t.Fatal(err)
	}
	decoded := slices.Clone(header)
	for i := range decoded {
		if sevenBit {
			decoded[i], _ = new(mime.WordDecoder).DecodeHeader(decoded[i])
		}
	}
	head, _, _ := strings.Cut(string(text), "\r\n\r\n")
	fields := strings.Split(strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(head), "\r\n")
	s.from = form.From
	for len(fields) > 0 && strings.HasPrefix(fields[0], "DKIM-Signature:") && !slices.Contains(header, fields[0]) {
		tags := regexp.MustCompile(`[;\s]([ds])=([^;\s]+)`).FindAllStringSubmatch(fields[0], -1)
		for _, tag := range tags {
			if tag[1] == "d" {
				s.domain = tag[2]
			} else {
				s.selectors = append(s.selectors, tag[2])
			}
		}
		fields = fields[1:]
	}
	for _, field := range fields {
		if sevenBit { // names and subjects become encoded words, which say the same
			if field, err = new(mime.WordDecoder).DecodeHeader(field); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Contains(decoded, field) {
			s.changed = append(s.changed, field)
		}
	}
	for _, field := range header {
		name, _, _ := strings.Cut(field, ":")
		has := func(field string) bool { return strings.HasPrefix(strings.ToLower(field), strings.ToLower(name)+":") }
		if !slices.ContainsFunc(fields, has) && !slices.Contains(s.gone, name) {
			s.gone = append(s.gone, name)
		}
	}
	return s
}

// compare says in what that which was shown differs from what was sent.
func compare(shown *explanation.Rewritten, got sent, from string) string {
	if shown == nil {
		shown = &explanation.Rewritten{EnvelopeFrom: from}
	}
	// How a body travels is found out with the upstream.
	got.changed = slices.DeleteFunc(got.changed, func(field string) bool {
		return strings.HasPrefix(field, "Content-Transfer-Encoding:") || strings.HasPrefix(field, "MIME-Version:") || strings.HasPrefix(field, "Content-Type:")
	})
	list := func(s []string) string {
		s = slices.Clone(s)
		for i := range s {
			s[i], _ = new(mime.WordDecoder).DecodeHeader(s[i])
		}
		slices.Sort(s)
		return fmt.Sprintf("%q", s)
	}
	var wrong []string
	for _, c := range [][3]string{
		{"reverse-path", shown.EnvelopeFrom, got.from},
		{"fields", list(shown.Header), list(got.changed)},
		{"fields that are gone", list(shown.Removed), list(got.gone)},
		{"domain", shown.SignedFor, got.domain},
		{"selectors", list(shown.Selectors), list(got.selectors)},
		{"broken signatures", fmt.Sprint(shown.Broken), fmt.Sprint(got.broken)},
	} {
		if c[1] != c[2] {
			wrong = append(wrong, fmt.Sprintf("%s: shown %s, sent %s", c[0], c[1], c[2]))
		}
	}
	return strings.Join(wrong, "; ")
}
