package compose

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/vanng822/go-premailer/premailer"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

// InlineCSS moves the rules of <style> elements to the elements that they are
// for, as mail programs that drop <style> need it. What can't be moved (@media,
// :hover, selectors with *) stays in a <style>, with !important, so that it
// wins over what was moved. A document without <style> is returned as it is;
// any other comes back whole, with <html>, <head> and <body>.
func InlineCSS(html string) (inlined string, err error) {
	if !containsFold(html, "<style") {
		return html, nil
	}
	if containsFold(html, premailerMark) {
		return "", fmt.Errorf("the HTML has the attribute %s, which is taken", premailerMark)
	}
	defer func() { // its parser of CSS is not made for all that people write
		if r := recover(); r != nil {
			inlined, err = "", fmt.Errorf("the CSS of the HTML can't be read: %v", r)
		}
	}()
	p, err := premailer.NewPremailerFromString(html, premailer.NewOptions())
	if err != nil {
		return "", err
	}
	return p.Transform()
}

// premailerMark is what the library puts on elements; it trusts what it finds.
const premailerMark = "pr-el-id"

// containsFold reports whether s has lower, which is ASCII, in any case.
func containsFold(s, lower string) bool {
	for i := 0; i+len(lower) <= len(s); i++ {
		if s[i]|0x20 == lower[0]|0x20 && strings.EqualFold(s[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}

// markdown is GitHub's: tables, task lists, strikethrough, bare links.
var markdown = sync.OnceValue(func() goldmark.Markdown {
	return goldmark.New(goldmark.WithExtensions(extension.GFM))
})

// Markdown makes an HTML fragment from Markdown with GitHub's tables, task
// lists, strikethrough and links. HTML in it, and links of the schemes
// javascript, vbscript, file and data (but images), are dropped. The Markdown
// itself makes a good text part.
func Markdown(md string) (html string, err error) {
	var b bytes.Buffer
	if err := markdown().Convert([]byte(md), &b); err != nil {
		return "", err
	}
	return b.String(), nil
}
