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
	if strange && heavy(doc) {
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
	maxWalked  = 20_000_000  // open elements looked at by its tags
	perElement = 160         // octets of memory
	maxSheets  = 100         // <style> elements
	maxStyle   = 64 << 10    // octets of its rules
	maxScan    = 2 << 20     // octets of rules behind each url( together
	maxChoice  = 4096        // octets of a selector, whose escapes are put together one by one
	maxSteps   = 100_000_000 // elements and octets of attributes looked at, for a second or two
	maxMoved   = 32 << 20    // octets of rules, once for each element that has them
	perRule    = 64          // octets that it takes at an element, beside its declarations
	perStyle   = 32          // octets of a declaration, beside its text
	perInline  = 16          // for each octet of a style attribute
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

// grown is how many elements html.Parse may make of a document, at most; more
// than maxGrown where it looks at too many that are open on its way.
func grown(document string) (n int) {
	var open []atom.Atom // formatting and markers
	again := 1           // as many as are opened again
	var nested []string  // all elements but those whose end followed
	walked := 0
	wholes := wholes{}
	z := html.NewTokenizer(strings.NewReader(document))
	for {
		n += min(again, maxDepth)
		kind := z.Next()
		if kind == html.ErrorToken {
			return n + wholes.copied
		}
		if kind == html.TextToken || kind == html.CommentToken || kind == html.DoctypeToken {
			continue
		}
		name, more := z.TagName()
		a := atom.Lookup(name)
		ends := kind == html.EndTagToken
		if elsewhere[a] {
			return grownAtMost(document)
		}
		// Each may have brought two others, such as <tbody> and <tr>.
		if walked += min(3*len(nested)+again, maxDepth); walked > maxWalked {
			return maxGrown + 1
		}
		switch last := len(nested) - 1; {
		case !ends && !endless[a]:
			nested = append(nested, string(name))
		case ends && last >= 0 && nested[last] == string(name):
			nested = nested[:last]
		}
		attributes := 0
		for ; more; attributes++ {
			_, _, more = z.TagAttr()
		}
		n += attributes / 4
		wholes.add(a, attributes)
		switch {
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

// endless are elements without an end.
var endless = map[atom.Atom]bool{
	atom.Area: true, atom.Base: true, atom.Br: true, atom.Col: true, atom.Embed: true, atom.Hr: true, atom.Img: true, atom.Image: true,
	atom.Input: true, atom.Link: true, atom.Meta: true, atom.Param: true, atom.Source: true, atom.Track: true, atom.Wbr: true,
}

// wholes counts what further <html> and <body> cost: their attributes are added
// to the first one, of which html.Parse looks at all, each time.
type wholes struct{ tags, attributes, copied int }

func (w *wholes) add(a atom.Atom, attributes int) {
	if a != atom.Html && a != atom.Body {
		return
	}
	w.attributes += attributes
	if w.tags++; w.tags > 2 {
		w.copied += 1 + w.attributes
	}
}

// grownAtMost goes by the octets alone: what is a tag, and what only looks like
// one, nobody but the parser itself can tell.
func grownAtMost(document string) int {
	tags, again, whole := 0, 1, 0
	for _, rest, ok := strings.Cut(document, "<"); ok; _, rest, ok = strings.Cut(rest, "<") {
		tags++
		name := rest[:min(len(rest), 8)]
		if n := strings.IndexAny(name, " \t\r\n\f/>"); n > 0 {
			a := atom.Lookup([]byte(strings.ToLower(name[:n])))
			if formatting[a] {
				again++
			}
			if a == atom.Html || a == atom.Body {
				whole++
			}
		}
	}
	if tags*maxDepth > maxWalked {
		return maxGrown + 1
	}
	return tags*(min(again, maxDepth)+copies) + max(0, whole-2)*len(document)/2
}

// heavy reports whether it takes too much to find the elements of each rule of
// a document, or to give them what it says.
func heavy(doc *goquery.Document) bool {
	x := extentOf(doc.Nodes[0])
	w := load{extent: x, doc: doc, scan: x.scan, moved: x.style * perInline}
	sheets := doc.Find("style")
	if sheets.Length() > maxSheets || w.tooMuch() {
		return true
	}
	for _, n := range sheets.Nodes {
		if w.sheet(goquery.NewDocumentFromNode(n).Text()); w.tooMuch() {
			return true
		}
	}
	return false
}

// load is what the rules of a document take.
type load struct {
	extent
	doc                        *goquery.Document
	length, scan, steps, moved int
}

func (w *load) tooMuch() bool {
	return w.length > maxStyle || w.scan > maxScan || w.steps > maxSteps || w.moved > maxMoved
}

// sheet adds a <style>.
func (w *load) sheet(text string) {
	// The library looks for the end of each url( to the end of the text.
	w.length += len(text)
	if w.scan += countFold(text, "url(") * len(text); w.tooMuch() {
		return
	}
	for _, rule := range css.Parse(text).GetCSSRuleList() {
		if rule.Type != css.STYLE_RULE {
			continue
		}
		size := perRule
		for _, d := range rule.Style.Styles {
			size += len(d.Text()) + perStyle
		}
		for selector := range strings.SplitSeq(rule.Style.Selector.Text(), ",") {
			if len(selector) > maxChoice {
				w.steps = maxSteps + 1
			}
			w.moved += size + len(selector) // it is copied where it stays
			stays := strings.Contains(selector, "*")
			if !stays {
				w.steps += w.attributes + stepsOf(selector, w.elements, w.depth, w.wide)
			}
			if w.tooMuch() {
				return
			}
			if !stays {
				w.moved += w.doc.Find(selector).Length() * size
			}
		}
	}
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
// how many stand beside each other; the octets of their attributes, and those of
// style attributes by themselves.
type extent struct {
	elements, depth, wide   int
	attributes, style, scan int
}

func extentOf(n *html.Node) (x extent) {
	beside := 0
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		beside++
		if c.Type != html.ElementNode {
			continue
		}
		in := extentOf(c)
		for _, a := range c.Attr {
			in.attributes += len(a.Val)
			if a.Key == "style" {
				in.style += len(a.Val)
				in.scan += countFold(a.Val, "url(") * len(a.Val)
			}
		}
		x.elements += in.elements + 1
		x.depth, x.wide = max(x.depth, in.depth+1), max(x.wide, in.wide)
		x.attributes, x.style = x.attributes+in.attributes, x.style+in.style
		x.scan = min(x.scan+in.scan, 2*maxScan)
	}
	x.wide = max(x.wide, beside)
	return x
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
