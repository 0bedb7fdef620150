package compose

import (
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// references is the Content-IDs that a document asks for by a URL of the scheme
// cid (RFC 2392), in its attributes and styles, each once.
func references(doc string) []string {
	if !mentions(doc) {
		return nil
	}
	var ids []string
	seen := map[string]bool{}
	add := func(s string) {
		for id := range cids(s) {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	z := html.NewTokenizer(strings.NewReader(doc))
	inStyle := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return ids
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			inStyle = string(name) == "style"
			for more {
				var value []byte
				_, value, more = z.TagAttr()
				add(string(value))
			}
		case html.TextToken:
			if inStyle {
				add(string(z.Raw()))
			}
		case html.EndTagToken:
			inStyle = false
		}
	}
}

// mentions reports whether "cid:" occurs in s at all, as it does in few.
func mentions(s string) bool {
	for {
		n := strings.IndexByte(s, ':')
		if n < 0 {
			return false
		}
		if n >= 3 && strings.EqualFold(s[n-3:n], "cid") {
			return true
		}
		s = s[n+1:]
	}
}

// cids yields the identifiers of the URLs in a value of an attribute or a style.
func cids(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for {
			n := strings.IndexByte(s, ':')
			if n < 0 {
				return
			}
			before, rest := s[:n], s[n+1:]
			s = rest
			if n < 3 || !strings.EqualFold(before[n-3:], "cid") || n > 3 && !strings.ContainsRune(" \t\r\n'\"(,=", rune(before[n-4])) {
				continue
			}
			if end := strings.IndexAny(rest, " \t\r\n'\")(,<>"); end >= 0 {
				rest = rest[:end]
			}
			if id, err := url.PathUnescape(rest); err == nil {
				rest = id
			}
			if rest != "" && !yield(rest) {
				return
			}
		}
	}
}

// contentIDFault says why s can't be a Content-ID that a cid URL names without
// escapes of which programs think differently.
func contentIDFault(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > 200:
		return "is longer than 200 octets"
	case strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.@+!$&*=~", r))
	}):
		return "has signs other than letters, digits and - _ . @ + ! $ & * = ~: " + show(s)
	}
	return ""
}
