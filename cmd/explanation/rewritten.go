package explanation

import (
	"net/textproto"
	"slices"
	"strings"

	"postern/config"
	"postern/relay/rewrite"
	"postern/relay/route"
	"postern/relay/sign"
)

// Rewritten is what becomes of a message on its way to an upstream.
type Rewritten struct {
	Rule string `json:"rule,omitempty"` // empty: none, or it depends on the header, which is not known
	Line int    `json:"line,omitempty"`
	File string `json:"file,omitempty"` // of conf.d that has the rule
	// EnvelopeFrom is the reverse-path that goes out.
	EnvelopeFrom string `json:"envelope_from"`
	// Header has the fields that go out other than they came in, of those that
	// are known: each as it is then, without its line end. Removed are gone.
	Header  []string   `json:"header,omitempty"`
	Removed []string   `json:"removed,omitempty"`
	Broken  []BrokenBy `json:"broken_signatures,omitempty"`
	// SignedFor is the domain that it is signed for, with keys of these
	// selectors; empty: none, or From is not known.
	SignedFor string          `json:"signed_for,omitempty"`
	Selectors []string        `json:"selectors,omitempty"`
	Tried     []route.Trial   `json:"tried,omitempty"`
	change    *rewrite.Change // nil: there is none, or it is open
	open      bool            // which rule counts depends on the header
}

// BrokenBy is a signature that will not hold, by the field that changes.
type BrokenBy struct {
	Domain string `json:"domain"`
	Field  string `json:"field"`
}

// rewriteOf finds what becomes of the message of q at each of some upstreams.
// Those where nothing does have none.
func rewriteOf(cfg *config.Config, q route.Query, upstreams []string) (map[string]*Rewritten, error) {
	table, err := rewrite.New(cfg)
	if err != nil {
		return nil, err
	}
	keys, err := sign.New(cfg)
	if err != nil {
		return nil, err
	}
	all := map[string]*Rewritten{}
	for _, name := range upstreams {
		change, open := table.Find(name, q)
		r := &Rewritten{EnvelopeFrom: q.From, Tried: table.Explain(name, q), change: change, open: open}
		author := rewrite.Author(linesOf(q.Header))
		if change != nil {
			r.Rule, r.File, r.Line = change.Rule, change.File, change.Line
			r.EnvelopeFrom = change.ReversePath(q.From)
			r.apply(linesOf(q.Header))
			if change.From != "" {
				author = change.From
			}
		}
		if d := keys.For(author); d != nil && !open {
			r.SignedFor, r.Selectors = d.Name, d.Selectors()
		}
		if change != nil || open || r.SignedFor != "" {
			all[name] = r
		}
	}
	return all, nil
}

// linesOf is the header that was given, as it stands in a message.
func linesOf(h textproto.MIMEHeader) []byte {
	var b strings.Builder
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			b.WriteString(name + ": " + strings.NewReplacer("\r", " ", "\n", " ").Replace(value) + "\r\n")
		}
	}
	return []byte(b.String())
}

// apply changes the header that is known.
func (r *Rewritten) apply(h []byte) {
	done := r.change.Header(h)
	before := strings.Split(string(h), "\r\n")
	after := strings.Split(strings.ReplaceAll(string(done.Header), "\r\n ", " "), "\r\n")
	for _, line := range after {
		if line != "" && !slices.Contains(before, line) {
			r.Header = append(r.Header, line)
		}
	}
	for _, name := range done.Changed {
		has := func(line string) bool {
			field, _, _ := strings.Cut(line, ":")
			return strings.EqualFold(strings.TrimSpace(field), name)
		}
		if i := slices.IndexFunc(before, has); i >= 0 && !slices.ContainsFunc(after, has) {
			as, _, _ := strings.Cut(before[i], ":")
			r.Removed = append(r.Removed, strings.TrimSpace(as))
		}
	}
	for _, b := range rewrite.BrokenIn(h, done.Changed) {
		r.Broken = append(r.Broken, BrokenBy(b))
	}
}

// lines are what people read of it.
func (r *Rewritten) lines(line func(file string, line int) string) []string {
	switch {
	case r == nil:
		return nil
	case r.open:
		return []string{"a rewrite asks for a field of the header: give it by --header"}
	}
	var out []string
	if r.change != nil {
		out = append(out, r.Rule+line(r.File, r.Line)+": "+r.change.String(), "goes out from <"+r.EnvelopeFrom+">")
	}
	for _, field := range r.Header {
		out = append(out, "goes out with "+field)
	}
	for _, name := range r.Removed {
		out = append(out, "goes out without "+name)
	}
	for _, b := range r.Broken {
		out = append(out, "the signature of "+b.Domain+" covers "+b.Field+" and will not hold")
	}
	if r.SignedFor != "" {
		out = append(out, "signed for "+r.SignedFor+" with "+strings.Join(r.Selectors, ", "))
	}
	return out
}
