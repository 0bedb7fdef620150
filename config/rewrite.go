package config

import (
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"postern/config/wire"
)

// The words that stand for an address in a [[rewrite]].
const (
	RewriteKeep      = "keep"     // envelope_from, header_from: as it is
	ReplyToOriginal  = "original" // reply_to: who would have got replies still gets them
	ReplyToNone      = "none"     // reply_to: there is no such field
	maxRewriteFields = 100        // that one rule adds or removes
)

// Rewrite changes messages on their way to upstreams. Every condition that is
// set must hold; an empty one always holds. The first that matches counts.
type Rewrite struct {
	From     []string // patterns for the reverse-path
	User     []string
	UnixUser []string
	Listener []string
	Header   map[string][]string // field name → patterns for its value
	Upstream []string            // names of upstreams that the message goes to

	EnvelopeFrom string            // an address, RewriteKeep, or empty: what the upstream's Sender says
	HeaderFrom   string            // the same, for From
	ReplyTo      string            // an address, ReplyToOriginal or ReplyToNone
	AddHeader    map[string]string // canonical field name → value
	RemoveHeader []string          // canonical field names
	Line         int               // in the file
	File         string            // name of a further file that it stands in; empty: the one at Path
}

func (c *Config) rewriteTables() value {
	return tableList[Rewrite]{
		place: &c.Rewrites, keys: (*Rewrite).keys, check: (*Rewrite).check,
		fresh: func(_ int, t *table) Rewrite {
			var r Rewrite
			r.File, r.Line = t.doc.place(t.path)
			setDefaults(r.keys())
			return r
		},
	}
}

func (r *Rewrite) check(t *table) {
	if !t.hasAny("from", "user", "unix_user", "listener", "header", "upstream") {
		t.problem("", "has no condition, so that it would change every message", `if that is meant, set from = ["*"]`)
	}
	if !t.hasAny("envelope_from", "header_from", "reply_to", "add_header", "remove_header") {
		t.problem("", "does not say what is changed", "set envelope_from, header_from, reply_to, add_header or remove_header")
	}
	for _, name := range r.RemoveHeader {
		if name == "Received" {
			t.warn("remove_header", "without its Received fields, a message that comes back is not known to be in a loop", "leave them where mail can come back")
		}
	}
}

// RewriteName is what the i-th rewrite, from 0, is called where it is shown.
func RewriteName(i int) string { return fmt.Sprintf("rewrite %d", i+1) }

// ownAddress is an address for mail of this relay, such as
// "alerts@example.com".
var (
	ownAddress     = kind[string]{name: "address", parse: readOwnAddress, format: unlessEmpty}
	keepOrAddress  = kind[string]{name: "address", parse: orWord(RewriteKeep), format: unlessEmpty}
	replyToAddress = kind[string]{name: "address", parse: orWord(ReplyToOriginal, ReplyToNone), format: unlessEmpty}
	addHeader      = kind[map[string]string]{name: "fields", parse: readAddHeader, format: showAddHeader}
	removeHeader   = kind[[]string]{name: "fields", parse: readRemoveHeader, format: unlessNone}
)

// orWord reads an address, or one of some words.
func orWord(words ...string) func(f field, v any) (string, bool) {
	return func(f field, v any) (string, bool) {
		if s, ok := v.(string); ok && slices.Contains(words, s) {
			return s, true
		}
		return readOwnAddress(f, v)
	}
}

// ParseAddress reads an address that goes into envelopes and headers, where
// nobody has asked for SMTPUTF8: an international domain becomes ASCII. It is
// false for whatever is not written as "alerts@example.com" is.
func ParseAddress(s string) (address string, ok bool) {
	local, domain := wire.SplitAddress(s)
	if !wire.IsASCII(domain) {
		if canonical, ok := wire.CanonicalDomain(domain); ok {
			s = local + "@" + canonical
		}
	}
	return s, !strings.ContainsAny(s, "<>") && len(s)+2 <= wire.MaxPath && wire.CheckMailbox(s, false) == wire.NoFault
}

// readOwnAddress reads what ParseAddress does.
func readOwnAddress(f field, v any) (string, bool) {
	s, ok := readText(f, v)
	if !ok {
		return "", false
	}
	address, ok := ParseAddress(s)
	switch {
	case ok:
		return address, true
	case strings.ContainsAny(s, "<>"):
		return "", f.problem(strconv.QuoteToASCII(s)+" is no address", "write it without angle brackets and without a name")
	case wire.CheckMailbox(address, false) == wire.NeedsUTF8:
		return "", f.problem(strconv.QuoteToASCII(s)+" has a letter before the @ that most servers do not take", "choose an address in ASCII")
	default:
		return "", f.problem(strconv.QuoteToASCII(s)+" is no address", `such as "alerts@example.com"`)
	}
}

// Fields that are not for add_header: each stands in a message once, or says
// how it was carried.
var notAdded = []string{
	"From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Date", "Message-Id", "Subject", "Mime-Version", "Received", "Return-Path",
	"Dkim-Signature", "In-Reply-To", "References",
}

// Fields without which a message cannot be read, or none at all.
var notRemoved = []string{"From", "Date", "Mime-Version"}

func readAddHeader(f field, v any) (map[string]string, bool) {
	fields, out, good := f.table(v), map[string]string{}, true
	for _, name := range slices.Sorted(maps.Keys(fields.values)) {
		at := fields.field(name)
		value, ok := readText(at, fields.values[name])
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !ok:
			good = false
		case !readFieldName(at, name, notAdded):
			good = false
		case !wire.Printable(value) || len(value) > 900:
			good = at.problem("has to be up to 900 characters of ASCII", "")
		case out[canonical] != "":
			good = at.problem("is given twice", "field names do not distinguish capitals")
		default:
			out[canonical] = value
		}
	}
	if good && len(out) == 0 {
		return nil, f.problem("is empty", `such as { "X-Origin" = "app1" }`)
	}
	if len(out) > maxRewriteFields {
		return nil, f.problem(fmt.Sprintf("has more than %d fields", maxRewriteFields), "")
	}
	return out, good
}

func showAddHeader(fields map[string]string) any {
	if len(fields) == 0 {
		return nil
	}
	return fields
}

func readRemoveHeader(f field, v any) ([]string, bool) {
	names, ok := listOf(func(f field, name string) (string, bool) {
		return textproto.CanonicalMIMEHeaderKey(name), readFieldName(f, name, notRemoved)
	})(f, v)
	if len(names) > maxRewriteFields {
		return nil, f.problem(fmt.Sprintf("has more than %d fields", maxRewriteFields), "")
	}
	return names, ok
}

// readFieldName checks the name of a field that is added or removed.
func readFieldName(f field, name string, not []string) bool {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case !fieldName(name) || len(name) > 200:
		return f.problem("is not the name of a header field", "letters, digits and hyphens, without the colon")
	case slices.Contains(not, canonical), strings.HasPrefix(canonical, "Content-"), strings.HasPrefix(canonical, "Resent-"):
		return f.problem(strconv.Quote(name)+" cannot be changed so", "header_from and reply_to set From and Reply-To; the rest belongs to the message")
	}
	return true
}

// checkRewrites compares the rewrites with the upstreams, listeners and users
// that they name.
func (d *document) checkRewrites(cfg *Config) {
	listeners, users := cfg.waysIn()
	for i, r := range cfg.Rewrites {
		path := joinIndex("rewrite", i)
		for j, name := range r.Upstream {
			if _, ok := cfg.Upstreams[name]; !ok && name != "" {
				d.unknownName(joinIndex(path+".upstream", j), "upstream", name, slices.Sorted(maps.Keys(cfg.Upstreams)))
			}
		}
		for j, name := range r.Listener {
			if name != "" && name != InternalListener && !slices.Contains(listeners, name) {
				d.unknownName(joinIndex(path+".listener", j), "listener", name, listeners)
			}
		}
		for j, name := range r.User {
			if name != "" && name != "*" && !slices.Contains(users, name) {
				d.warn(joinIndex(path+".user", j), "no listener has a user "+strconv.Quote(name), "this never matches")
			}
		}
	}
}
