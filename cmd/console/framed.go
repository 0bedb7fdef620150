package console

import (
	"encoding/base64"
	"errors"
	"io"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"postern/relay/letter"
)

const (
	maxPicture  = 4 << 20  // bytes of one that is shown within a message
	maxPictures = 12 << 20 // bytes of all
	maxFramed   = 24 << 20 // bytes of HTML with the pictures in it
)

// picture is one that the HTML of a message shows by its Content-ID.
type picture struct {
	kind string
	data string // base64
}

// drawn are the types of pictures that are shown. SVG can have scripts, which the
// policy stops; nobody needs it in mail.
var drawn = map[string]bool{"image/png": true, "image/jpeg": true, "image/gif": true, "image/webp": true, "image/bmp": true}

// picturesOf are those of a message by Content-ID, to a bound, as far as it can be
// read.
func picturesOf(r io.Reader) map[string]picture {
	found, left := map[string]picture{}, int64(maxPictures)
	_, _ = letter.Walk(r, func(p *letter.Part, body io.Reader) error {
		if p.ID == "" || !drawn[p.Type] {
			return nil
		}
		content, err := io.ReadAll(io.LimitReader(body, min(maxPicture, left)+1))
		if n := int64(len(content)); err == nil && n <= min(maxPicture, left) {
			left -= n
			found[p.ID] = picture{p.Type, base64.StdEncoding.EncodeToString(content)}
		}
		if left <= 0 {
			return errors.New("enough")
		}
		return nil
	})
	return found
}

// hints are elements that make a browser ask other machines for something before
// any policy counts (preconnect, dns-prefetch; a link connects when it is pressed,
// and is stopped only then), or that change what a page is. They
// are taken by their letters, wherever they stand: no reader of HTML finds one that
// this doesn't.
var hints = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)<(/?)(link|meta|base|script|iframe|object|embed|portal|form)|<(/?)(a|area)([\s/>])`)
})

var references = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)cid:[^"'<>()\s]{1,500}`) })

// framed is the HTML of a message for its frame, with its pictures in it. What keeps
// it from doing anything is the policy of the answer and the sandbox.
func framed(html string, pictures map[string]picture) string {
	html = hints().ReplaceAllString(html, "<${1}${3}x-$2$4$5")
	size := len(html)
	return references().ReplaceAllStringFunc(html, func(ref string) string {
		id := ref[len("cid:"):]
		if plain, err := url.PathUnescape(id); err == nil {
			id = plain
		}
		p, ok := pictures[strings.ReplaceAll(id, "&amp;", "&")]
		if size += len(p.data); !ok || size > maxFramed {
			return ref
		}
		return "data:" + p.kind + ";base64," + p.data
	})
}
