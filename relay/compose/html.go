package compose

import (
	"bytes"
	"strings"
	"sync"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

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
