package compose

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/PuerkitoBio/goquery"
	"github.com/vanng822/css"
	"github.com/vanng822/go-premailer/premailer"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// InlineCSS moves the rules of <style> elements to the elements that they are
// for, as mail programs that drop <style> need it. What can't be moved (@media,
// :hover, selectors with *) stays in a <style>, with !important, so that it
// wins over what was moved. A document without <style> is returned as it is;
// any other comes back whole, with <html>, <head> and <body>. It is for documents
// of whoever runs the program: see InlineStrangeCSS.
func InlineCSS(html string) (inlined string, err error) { return inlineCSS(html, false) }

// InlineStrangeCSS is InlineCSS for documents of strangers: an error where it
// could take more than some 100 MB, or more than a second or two.
func InlineStrangeCSS(html string) (inlined string, err error) { return inlineCSS(html, true) }

func inlineCSS(document string, strange bool) (inlined string, err error) {
	if !containsFold(document, "<style") {
		return document, nil
	}
	if containsFold(document, premailerMark) {
		return "", fmt.Errorf("the HTML has the attribute %s, which is taken", premailerMark)
	}
	if strange && (len(document) > maxStrange || grown(document) > maxGrown) {
		return "", errHeavy
	}
	defer func() { // its parser of CSS is not made for all that people write
		if r := recover(); r != nil {
			inlined, err = "", fmt.Errorf("the CSS of the HTML can't be read: %v", r)
		}
	}()
	root, err := html.Parse(strings.NewReader(document))
	if err != nil {
		return "", err
	}
	doc := goquery.NewDocumentFromNode(root)
	if strange && heavy(doc, len(document)) {
		return "", errHeavy
	}
	return premailer.NewPremailer(doc, premailer.NewOptions()).Transform()
}

// premailerMark is what the library puts on elements; it trusts what it finds.
const premailerMark = "pr-el-id"

var errHeavy = errors.New("it takes too much to move the rules of this <style> to the elements: use fewer elements, rules, and names in a selector")

const (
	maxStrange = 2 << 20     // octets of a document of strangers
	maxGrown   = 500_000     // elements that it may become
	perElement = 160         // octets of memory
	maxStyle   = 64 << 10    // octets of its rules
	maxScan    = 2 << 20     // octets of rules behind each url( together
	maxSteps   = 200_000_000 // elements looked at, for a second or two
	maxMoved   = 16 << 20    // octets of rules, once for each element that has them
)

// InlineWeight is how many octets of memory InlineStrangeCSS may take, beside a
// few times the length of the document.
func InlineWeight(document string) int64 {
	if !containsFold(document, "<style") || len(document) > maxStrange {
		return 0
	}
	return int64(min(grown(document), maxGrown)) * perElement
}

// formatting are the elements that html.Parse opens again in each block that
// follows, where they are left open, but <a> and <nobr>, of which it does so once.
var formatting = map[atom.Atom]bool{
	atom.B: true, atom.Big: true, atom.Code: true, atom.Em: true, atom.Font: true, atom.I: true, atom.S: true,
	atom.Small: true, atom.Strike: true, atom.Strong: true, atom.Tt: true, atom.U: true,
}

// markers are those within which an end tag ends no formatting from without.
var markers = map[atom.Atom]bool{
	atom.Td: true, atom.Th: true, atom.Caption: true, atom.Object: true, atom.Marquee: true, atom.Applet: true,
}

// elsewhere are those within which html.Parse goes by other rules than here.
var elsewhere = map[atom.Atom]bool{
	atom.Svg: true, atom.Math: true, atom.Select: true, atom.Template: true, atom.Frameset: true,
}

// copies is how many elements an end tag may add that is not where it should be
// (the adoption agency of the HTML standard).
const copies = 32

// grown is how many elements html.Parse may make of a document, at most.
func grown(document string) (n int) {
	var open []atom.Atom // formatting and markers
	again := 1           // as many as are opened again
	z := html.NewTokenizer(strings.NewReader(document))
	for {
		n += min(again, maxDepth)
		kind := z.Next()
		if kind == html.ErrorToken {
			return n
		}
		if kind == html.TextToken || kind == html.CommentToken || kind == html.DoctypeToken {
			continue
		}
		name, _ := z.TagName()
		a := atom.Lookup(name)
		ends := kind == html.EndTagToken
		switch {
		case elsewhere[a]:
			return grownAtMost(document)
		case a == atom.A || a == atom.Nobr:
			n += copies
		case !formatting[a] && !markers[a]:
		case !ends:
			open = append(open, a)
			if formatting[a] {
				again++
			}
		default:
			if formatting[a] {
				n += copies
			}
			if len(open) > 0 && open[len(open)-1] == a {
				open = open[:len(open)-1]
				if formatting[a] {
					again--
				}
			}
		}
	}
}

// grownAtMost goes by the octets alone: what is a tag, and what only looks like
// one, nobody but the parser itself can tell.
func grownAtMost(document string) int {
	tags, again := 0, 1
	for _, rest, ok := strings.Cut(document, "<"); ok; _, rest, ok = strings.Cut(rest, "<") {
		tags++
		name := rest[:min(len(rest), 8)]
		if n := strings.IndexAny(name, " \t\r\n\f/>"); n > 0 && formatting[atom.Lookup([]byte(strings.ToLower(name[:n])))] {
			again++
		}
	}
	return tags * (min(again, maxDepth) + copies)
}

// heavy reports whether it takes too much to find the elements of each rule of
// a document of so many octets, or to give them what it says.
func heavy(doc *goquery.Document, octets int) bool {
	elements, depth, wide := extent(doc.Nodes[0])
	steps, moved, length := 0, 0, 0
	tooMuch := false
	doc.Find("style").EachWithBreak(func(_ int, s *goquery.Selection) bool {
		text := s.Text()
		// The library looks for the end of each url( to the end of the text.
		if length += len(text); length > maxStyle || countFold(text, "url(")*len(text) > maxScan {
			tooMuch = true
			return false
		}
		for _, rule := range css.Parse(text).GetCSSRuleList() {
			if rule.Type != css.STYLE_RULE {
				continue
			}
			size := 0
			for _, d := range rule.Style.Styles {
				size += len(d.Text()) + 1
			}
			for selector := range strings.SplitSeq(rule.Style.Selector.Text(), ",") {
				if strings.Contains(selector, "*") { // which stays where it is
					continue
				}
				// Values of attributes are read as well.
				if steps += octets/8 + stepsOf(selector, elements, depth, wide); steps > maxSteps {
					tooMuch = true
					return false
				}
				if moved += doc.Find(selector).Length() * (size + 8); moved > maxMoved {
					tooMuch = true
					return false
				}
			}
		}
		return true
	})
	return tooMuch
}

// searching are what looks at all that is in an element.
var searching = regexp.MustCompile(`(?i):(has|haschild|contains|containsown|matches|matchesown)`)

// stepsOf is how many elements are looked at for a selector, at most: for each
// element each way to choose those around it, or beside it, that the selector
// names. Beyond maxSteps it is any number.
func stepsOf(selector string, elements, depth, wide int) int {
	steps := elements
	blank, chosen := false, 0
	searches := searching.MatchString(selector)
	for _, c := range strings.TrimSpace(selector) {
		factor := 1
		switch c {
		case ' ', '\t', '\n', '\r', '\f', '\v':
			if !blank {
				chosen++
				steps = min((steps*max(1, depth-chosen+1)+chosen-1)/chosen, 2*maxSteps)
			}
			blank = true
			continue
		case '~', ':', '[':
			factor = wide
		case '(':
			if searches {
				factor = elements
			}
		}
		blank = false
		steps = min(steps*max(1, factor), 2*maxSteps)
	}
	return steps
}

// extent is how many elements there are, how deep they are in each other, and
// how many stand beside each other.
func extent(n *html.Node) (elements, depth, wide int) {
	beside := 0
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		beside++
		if c.Type != html.ElementNode {
			continue
		}
		e, d, w := extent(c)
		elements, depth, wide = elements+e+1, max(depth, d+1), max(wide, w)
	}
	return elements, depth, max(wide, beside)
}

// countFold is how often s has lower, which is ASCII, in any case.
func countFold(s, lower string) (n int) {
	for i := 0; i+len(lower) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(lower)], lower) {
			n++
		}
	}
	return n
}
