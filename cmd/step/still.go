package step

import (
	"strings"

	"golang.org/x/net/html"
)

// fetching are elements that make a browser ask or connect to somebody whatever
// its Content-Security-Policy says: <link rel="preconnect">, <meta
// http-equiv="refresh">. The others have no place in a mail.
var fetching = map[string]bool{
	"link": true, "meta": true, "base": true, "script": true, "iframe": true, "frame": true, "frameset": true,
	"object": true, "embed": true, "applet": true, "portal": true, "fencedframe": true, "template": true,
}

// links are attributes with a place that a browser may look up beforehand, or
// go to at a click.
var links = map[string]bool{"href": true, "action": true, "formaction": true, "ping": true, "manifest": true}

// still is a document of which a browser fetches nothing, but for what a policy
// keeps it from: pictures, fonts and styles. Where links lead is shown as their
// title. It is "" where that can't be had: what is read again may be other than
// what was written.
func still(document string) string {
	for range 4 {
		root, err := html.ParseWithOptions(strings.NewReader(document), html.ParseOptionEnableScripting(false))
		if err != nil {
			return ""
		}
		changed := calm(root)
		var b strings.Builder
		if html.Render(&b, root) != nil {
			return ""
		}
		if document = b.String(); !changed {
			return document
		}
	}
	return ""
}

// calm takes what fetches out of a tree, and reports whether there was any.
func calm(root *html.Node) bool {
	var gone []*html.Node
	changed := false
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if fetching[strings.ToLower(n.Data)] {
			gone = append(gone, n)
			continue
		}
		for i := range n.Attr {
			a := &n.Attr[i]
			if !links[strings.ToLower(a.Key)] || strings.HasPrefix(a.Val, "#") || n.Data == "image" || n.Data == "use" {
				continue
			}
			target := a.Val
			a.Val, changed = "#", true
			if n.Data == "a" {
				n.Attr = append(n.Attr, html.Attribute{Key: "title", Val: target})
			}
		}
	}
	for _, n := range gone {
		if n.Parent != nil {
			n.Parent.RemoveChild(n)
		}
	}
	return changed || len(gone) > 0
}
