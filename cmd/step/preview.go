package step

import (
	"bufio"
	"cmp"
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"html/template"
	"io"
	"mime"
	"path"
	"slices"
	"strings"
	"sync"

	"postern/relay/compose"
	"postern/relay/merge"
)

//go:embed preview.html
var previewPage string

// previewTemplates are parsed at the first preview only.
var previewTemplates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Parse(previewPage))
})

// maxInlined bounds a picture that is put into the page, and maxPictures all of
// a message, as often as they stand there, in bytes.
const maxInlined, maxPictures = 2 << 20, 16 << 20

// guarded is put before the HTML of a message: nothing of it is fetched, and
// nothing of it runs.
const guarded = `<meta http-equiv="x-dns-prefetch-control" content="off"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:">`

// card is one message in the page.
type card struct {
	N, Total, Row int
	Size          string
	Problems      []string
	Header        []compose.Field
	Frame         template.HTMLAttr // srcdoc="…"
	Text          string
	Parts         []string
}

// Preview writes one page with every message as a mail program would show it.
// The page fetches nothing, and runs no script. Messages that are wrong show
// why. It is written to a file beside path first.
func Preview(ctx context.Context, p *merge.Plan, name string) error {
	f, err := newReplacement(name)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 256<<10)
	err = preview(ctx, p, out)
	if err == nil {
		err = out.Flush()
	}
	return f.end(err)
}

func preview(ctx context.Context, p *merge.Plan, out io.Writer) error {
	total := p.Messages()
	page := previewTemplates()
	if err := page.ExecuteTemplate(out, "head", total); err != nil {
		return err
	}
	err := merge.Each(ctx, p, Workers(), func(ctx context.Context, r *merge.Renderer, g *merge.Group) *card {
		c := &card{N: g.N, Total: total, Row: g.Row}
		c.Problems = g.Wrong
		if g.Bad != "" {
			return c
		}
		m, problems := r.Render(ctx, g)
		for _, one := range problems {
			c.Problems = append(c.Problems, one.String())
		}
		if m != nil {
			c.fill(m)
		} else if len(c.Problems) == 0 {
			c.Problems = []string{"cannot be sent; the list of problems says why"}
		}
		return c
	}, func(_ *merge.Group, c *card) error {
		return page.ExecuteTemplate(out, "card", c)
	})
	if err != nil {
		return err
	}
	return page.ExecuteTemplate(out, "foot", nil)
}

func (c *card) fill(m *merge.Message) {
	c.Size, c.Header, c.Parts, c.Text = size(m.Mail.Size()), headerOf(m), partsOf(m), m.Source.Text
	if m.Source.HTML == "" {
		return
	}
	if c.Text == "" && !m.Source.NoText {
		c.Text, _ = compose.TextOf(m.Source.HTML)
	}
	// The frame that shows it is a sandbox without rights, so that the HTML of a
	// message may stand as it is: but for this attribute, that it can't end.
	c.Frame = template.HTMLAttr(`srcdoc="` + html.EscapeString(guarded+withPictures(m.Source, still(m.Source.HTML))) + `"`)
}

// withPictures is the HTML with what is embedded put into it.
func withPictures(m *compose.Message, doc string) string {
	parts := append(slices.Clone(m.Embedded), m.Attached...)
	left := int64(maxPictures)
	slices.SortFunc(parts, func(a, b compose.Part) int { return cmp.Compare(len(cidOf(b)), len(cidOf(a))) })
	for _, p := range parts {
		reference := "cid:" + cidOf(p)
		if cidOf(p) == "" || !strings.Contains(doc, reference) || p.Size > maxInlined {
			continue
		}
		r, err := p.Open()
		if err != nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(r, maxInlined))
		r.Close()
		if err != nil {
			continue
		}
		if left -= int64(strings.Count(doc, reference)) * int64(len(b)); left < 0 {
			return doc
		}
		doc = strings.ReplaceAll(doc, reference, fmt.Sprintf("data:%s;base64,%s", pictureType(p), base64.StdEncoding.EncodeToString(b)))
	}
	return doc
}

// pictureType is a media type without anything that could end the URL.
func pictureType(p compose.Part) string {
	t := p.Type
	if t == "" {
		t = mime.TypeByExtension(path.Ext(p.Name))
	}
	t, _, err := mime.ParseMediaType(t)
	if err != nil || strings.ContainsAny(t, "\"'<>&;, ") {
		return "application/octet-stream"
	}
	return t
}
