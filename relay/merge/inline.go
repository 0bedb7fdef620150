package merge

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/net/html"

	"postern/relay/compose"
)

// inlined is a template of HTML in which the rules of <style> are put at the
// elements once, so that it need not be done for each message. It is false
// where that might give another result than doing it to the finished HTML:
// where what values there are decides about the elements, or about which rules
// hold for them; and where a template for others is too much for InlineStrangeCSS.
func inlined(source string, strange bool) (string, bool) {
	if !strings.Contains(strings.ToLower(source), "<style") {
		return "", false
	}
	move := compose.InlineCSS
	if strange {
		move = compose.InlineStrangeCSS
	}
	s := &stencil{}
	document, ok := s.cut(source)
	if !ok || !s.sound(document) {
		return "", false
	}
	done, err := move(document)
	if err != nil || !s.whole(done) {
		return "", false
	}
	return s.fill(done)
}

// stencil is a template whose actions were taken out, with a mark for each: a
// word where a value stands, a comment where a block begins, turns or ends.
type stencil struct {
	word    string // begins each mark; the source doesn't have it
	actions []action
	at      map[string]int // of each mark, the place in actions
	blocks  int            // {{if}}, {{range}} and {{with}} that were met
}

type action struct {
	text, mark string
	kind       actionKind
}

type actionKind int

const (
	aValue actionKind = iota
	aOpen
	aTurn
	aEnd
	aSilent // writes nothing
)

var (
	firstWord = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\{\{(?:- )?\s*([a-z]*)`)
	})
	setsOnly = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\{\{(?:- )?\s*\$\w*\s*:?=[^=]`)
	})
	// makesHTML are functions whose result is elements. define, block and
	// template take actions out of their place.
	makesHTML = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\b(table|markdown|define|block|template)\b`)
	})
)

// cut puts marks in place of actions.
func (s *stencil) cut(source string) (string, bool) {
	s.word, s.at = "pstn", map[string]int{}
	for strings.Contains(source, s.word) {
		s.word += "q"
	}
	var b strings.Builder
	for source != "" {
		before, _, found := strings.Cut(source, "{{")
		b.WriteString(before)
		if !found {
			break
		}
		source = source[len(before):]
		a := action{text: source[:actionLen(source)], mark: fmt.Sprintf("%s%dz", s.word, len(s.actions))}
		source = source[len(a.text):]
		if makesHTML().MatchString(a.text) || !strings.HasSuffix(a.text, "}}") {
			return "", false
		}
		switch word := firstWord().FindStringSubmatch(a.text)[1]; {
		case word == "if" || word == "range" || word == "with":
			a.kind = aOpen
			s.blocks++
		case word == "else":
			a.kind = aTurn
		case word == "end":
			a.kind = aEnd
		case word == "break", word == "continue", setsOnly().MatchString(a.text), strings.Contains(a.text, "/*"):
			a.kind = aSilent
		}
		s.at[a.mark] = len(s.actions)
		s.actions = append(s.actions, a)
		if a.kind == aValue {
			b.WriteString(a.mark)
		} else {
			b.WriteString("<!--" + a.mark + "-->")
		}
	}
	return b.String(), true
}

var (
	// Selectors whose elements depend on values, and on how often a block is
	// there.
	byValue = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)\[|:empty|:has|:not|:is|:where`)
	})
	byPlace = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)\+|~|:nth|:first|:last|:only`)
	})
)

// sound reports whether every mark stands where it doesn't matter what comes in
// its place, and every block holds whole elements.
func (s *stencil) sound(document string) bool {
	z := html.NewTokenizer(strings.NewReader(document))
	var open []string // elements
	count := map[string]int{}
	var blocks []int // how many were open where each block began
	for {
		switch z.Next() {
		case html.ErrorToken:
			return len(blocks) == 0
		case html.CommentToken:
			text := string(z.Text())
			if !strings.Contains(text, s.word) {
				continue
			}
			i, known := s.at[text]
			if !known || !block(s.actions[i].kind, &blocks, len(open)) {
				return false
			}
		case html.TextToken:
			if !s.soundText(string(z.Raw()), open, len(blocks)) {
				return false
			}
		case html.StartTagToken:
			t := z.Token()
			if !s.soundTag(t) || t.Data == "style" && len(blocks) > 0 {
				return false
			}
			if !void[t.Data] {
				open = append(open, t.Data)
				count[t.Data]++
			}
		case html.SelfClosingTagToken:
			if !s.soundTag(z.Token()) {
				return false
			}
		case html.EndTagToken:
			name := z.Token().Data
			last := len(open) - 1
			if s.blocks == 0 { // nothing comes or goes, balanced or not
				if count[name] > 0 {
					i := lastIndex(open, name)
					for _, closed := range open[i:] {
						count[closed]--
					}
					open = open[:i]
				}
				continue
			}
			if last < 0 || open[last] != name || len(blocks) > 0 && blocks[len(blocks)-1] > last {
				return false
			}
			open = open[:last]
		}
	}
}

// whole reports whether the marks of each block still have one parent: between
// them the parser puts in what was left out, such as <tbody>.
func (s *stencil) whole(document string) bool {
	root, err := html.Parse(strings.NewReader(document))
	if err != nil {
		return false
	}
	parent := map[string]*html.Node{}
	for n := range root.Descendants() {
		if n.Type == html.CommentNode {
			parent[n.Data] = n.Parent
		}
	}
	var blocks []*html.Node
	for _, a := range s.actions {
		last := len(blocks) - 1
		switch {
		case a.kind == aOpen:
			blocks = append(blocks, parent[a.mark])
		case a.kind == aValue || a.kind == aSilent:
		case last < 0 || blocks[last] != parent[a.mark]:
			return false
		case a.kind == aEnd:
			blocks = blocks[:last]
		}
	}
	return true
}

func lastIndex(list []string, s string) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == s {
			return i
		}
	}
	return -1
}

// block follows the beginning and the end of blocks; it is false where one does
// not end with the elements open that were so at its beginning.
func block(kind actionKind, blocks *[]int, open int) bool {
	last := len(*blocks) - 1
	switch kind {
	case aOpen:
		*blocks = append(*blocks, open)
		return true
	case aTurn, aEnd:
		if last < 0 || (*blocks)[last] != open {
			return false
		}
		if kind == aEnd {
			*blocks = (*blocks)[:last]
		}
		return true
	}
	return kind == aSilent
}

// soundText looks at the text of an element: rules, or what has marks.
func (s *stencil) soundText(text string, open []string, blocks int) bool {
	in := ""
	if len(open) > 0 {
		in = open[len(open)-1]
	}
	if in == "style" {
		rules := !byValue().MatchString(text) && (s.blocks == 0 || !byPlace().MatchString(text))
		return rules && !strings.Contains(text, s.word)
	}
	// A block in here would be text: its mark is no comment.
	if in == "title" || in == "textarea" || in == "script" || in == "noscript" || in == "iframe" || in == "xmp" || in == "noembed" || in == "noframes" || in == "plaintext" {
		return !strings.Contains(text, s.word) || in == "title" && !strings.Contains(text, "<!--"+s.word)
	}
	return true
}

func (s *stencil) soundTag(t html.Token) bool {
	if strings.Contains(t.Data, s.word) {
		return false
	}
	for _, a := range t.Attr {
		marked := strings.Contains(a.Val, s.word)
		if strings.Contains(a.Key, s.word) || marked && (a.Key == "class" || a.Key == "id" || a.Key == "style" || strings.Contains(a.Val, "<!--"+s.word)) {
			return false
		}
	}
	return true
}

// void are elements without an end (HTML, 13.1.2).
var void = map[string]bool{
	"area": true, "base": true, "br": true, "col": true, "embed": true, "hr": true, "img": true, "input": true, "link": true,
	"meta": true, "source": true, "track": true, "wbr": true,
}

// fill puts the actions back. Each has to be there once, in its old order.
func (s *stencil) fill(document string) (string, bool) {
	var b strings.Builder
	for _, a := range s.actions {
		mark := a.mark
		if a.kind != aValue {
			mark = "<!--" + mark + "-->"
		}
		before, after, found := strings.Cut(document, mark)
		if !found || strings.Contains(before, s.word) {
			return "", false
		}
		b.WriteString(before)
		b.WriteString(a.text)
		document = after
	}
	b.WriteString(document)
	return b.String(), !strings.Contains(document, s.word)
}
