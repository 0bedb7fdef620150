package compose

import (
	"bytes"
	"errors"
	"strings"
	"sync"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	syntax "github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// markdown is GitHub's: tables, task lists, strikethrough, bare links.
var markdown = sync.OnceValue(func() goldmark.Markdown {
	inline := append(syntax.DefaultInlineParsers(), util.Prioritized(extension.NewStrikethroughParser(), 500))
	for i := range inline {
		inline[i].Value = &weighed{inline[i].Value.(syntax.InlineParser)}
	}
	// It is asked at each blank, and looks no further than the next one.
	inline = append(inline, util.Prioritized(extension.NewLinkifyParser(), 999))
	return goldmark.New(
		goldmark.WithParser(syntax.NewParser(syntax.WithBlockParsers(syntax.DefaultBlockParsers()...), syntax.WithInlineParsers(inline...),
			syntax.WithParagraphTransformers(syntax.DefaultParagraphTransformers()...))),
		goldmark.WithExtensions(extension.Table, extension.TaskList),
		goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(extension.NewStrikethroughHTMLRenderer(), 500))),
	)
})

// maxMarkdown bounds what is looked through for marks of the text, in bytes: for
// each one that may begin something the library looks for its end, and for the
// beginning of each one that may end something. 100,000 marks that are nothing,
// in one paragraph, take it minutes. It is a second or two.
const maxMarkdown = 1 << 30

// maxText bounds a text by its length, in bytes: what takes no search at all, such
// as headings, takes two seconds for each MiB.
const maxText = 4 << 20

// perByte of Markdown is how much memory it takes at most while HTML is made of
// it, in bytes: each block and each mark is an object of the library.
const perByte = 160

// MarkdownWeight is about how many bytes of memory Markdown takes at most.
func MarkdownWeight(md string) int64 { return int64(len(md)) * perByte }

var (
	errLong     = errors.New("the Markdown is longer than 4 MiB")
	errMarkdown = errors.New("the Markdown has too many marks in one paragraph")
	errNested   = errors.New("the Markdown is nested more than 100 deep, defines more than 3,000 links in a row, or has more than 500,000 cells of tables")
)

// Bounds of blocks, whose work grows as the square as well. GitHub nests no
// deeper.
const (
	maxMarkers    = 100   // blocks in each other, of one line
	maxReferences = 3_000 // definitions of links in a row
	// maxFilled of tables: the library fills up each row to the columns of the
	// first line, so that 400 KB have four thousand million.
	maxFilled = 500_000
)

// tooNested reports whether blocks go beyond the bounds.
func tooNested(md string) bool {
	references, columns, cells := 0, 0, 0
	for line := range strings.Lines(md) {
		depth := 0
		rest := strings.TrimLeft(line, " \t")
		if references++; !strings.HasPrefix(rest, "[") || !strings.Contains(rest, "]:") {
			references = 0
		}
		for depth <= maxMarkers {
			after, ok := behindMarker(rest)
			if !ok {
				break
			}
			rest = strings.TrimLeft(after, " \t")
			depth++
		}
		switch {
		case strings.Trim(line, " \t\r\n>") == "":
			columns = 0
		case strings.Trim(line, " \t\r\n>|:-+*0123456789.)") == "" && strings.Contains(line, "-"): // it may be that below the first line
			columns = max(columns, strings.Count(line, "|")+1)
		}
		if cells += columns; depth > maxMarkers || references > maxReferences || cells > maxFilled {
			return true
		}
	}
	return false
}

// behindMarker is what stands behind the mark of a quotation or of an item.
func behindMarker(line string) (after string, ok bool) {
	if after, ok := strings.CutPrefix(line, ">"); ok {
		return after, true
	}
	after = strings.TrimLeft(line, "0123456789")
	if digits := len(line) - len(after); digits > 9 || after == "" || !strings.ContainsRune(".)", rune(after[0])) && digits > 0 ||
		digits == 0 && !strings.ContainsRune("-+*", rune(after[0])) {
		return "", false
	}
	after = after[1:]
	return after, after == "" || strings.ContainsRune(" \t\r\n", rune(after[0]))
}

// weight is what has been looked through of one text.
type weight struct {
	left  int
	block ast.Node // that is looked at
	marks int      // of it that may be emphasis
}

var weightKey = syntax.NewContextKey()

// weighed is a parser of what stands within a paragraph, which is no longer
// asked when too much was looked through.
type weighed struct{ syntax.InlineParser }

// Parse implements syntax.InlineParser.
func (p *weighed) Parse(block ast.Node, in text.Reader, pc syntax.Context) ast.Node {
	w := pc.Get(weightKey).(*weight)
	if w.block != block {
		w.block, w.marks = block, 0
	}
	if w.left < 0 {
		return nil
	}
	line, at := in.PeekLine()
	node := p.InlineParser.Parse(block, in, pc)
	switch {
	case node != nil && strings.IndexByte("*_~", line[0]) >= 0: // compared with all before it
		w.marks++
		w.left -= 8 * w.marks
	case node == nil && searches(line):
		if lines := block.Lines(); lines.Len() > 0 {
			w.left -= max(lines.At(lines.Len()-1).Stop-at.Start, 0)
		}
	}
	return node
}

// searches reports whether the end of what begins with a line may have been
// looked for in all of the paragraph.
func searches(line []byte) bool {
	switch line[0] {
	case '`', '<':
		return true
	case ']':
		return len(line) > 1 && (line[1] == '(' || line[1] == '[')
	}
	return false
}

// CloseBlock implements syntax.CloseBlocker.
func (p *weighed) CloseBlock(block ast.Node, in text.Reader, pc syntax.Context) {
	if c, ok := p.InlineParser.(syntax.CloseBlocker); ok {
		c.CloseBlock(block, in, pc)
	}
}

// Markdown makes an HTML fragment from Markdown with GitHub's tables, task
// lists, strikethrough and links. HTML in it, and links of the schemes
// javascript, vbscript, file and data (but images), are dropped. The Markdown
// itself makes a good text part. What would take more than seconds is an error.
func Markdown(md string) (html string, err error) {
	if len(md) > maxText {
		return "", errLong
	}
	if tooNested(md) {
		return "", errNested
	}
	var b bytes.Buffer
	w, pc := &weight{left: maxMarkdown}, syntax.NewContext()
	pc.Set(weightKey, w)
	if err := markdown().Convert([]byte(md), &b, syntax.WithContext(pc)); err != nil {
		return "", err
	}
	if w.left < 0 {
		return "", errMarkdown
	}
	return b.String(), nil
}
