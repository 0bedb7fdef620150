package manual

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// width is the longest line of a page's source, in bytes; linters ask for less
// than 80.
const width = 78

// page is one manual page in the macros of man(7).
type page struct{ strings.Builder }

// title begins the page: its name in upper case, its section, its date and the
// program with its version.
func (p *page) title(name, section, date, program string) {
	fmt.Fprintf(p, ".TH \"%s\" \"%s\" \"%s\" \"%s\" \"Postern\"\n",
		strings.ToUpper(escape(name)), section, date, escape(program))
}

func (p *page) section(name string)    { p.macro(".SH", name) }
func (p *page) subsection(name string) { p.macro(".SS", name) }

func (p *page) macro(name, argument string) { fmt.Fprintf(p, "%s \"%s\"\n", name, escape(argument)) }

// item is an entry of a list: what it is called, and what there is to say.
func (p *page) item(name string, texts ...string) {
	p.WriteString(".TP\n" + bold(name) + "\n")
	for i, text := range texts {
		if i > 0 {
			p.WriteString(".br\n")
		}
		p.flow(text)
	}
}

// paragraphs are text as a help shows it: an empty line parts paragraphs, and
// what is indented stands as it is.
func (p *page) paragraphs(text string) {
	var flowing, standing []string
	first := true
	end := func() {
		switch {
		case len(flowing) > 0 && !first:
			p.WriteString(".PP\n")
			fallthrough
		case len(flowing) > 0:
			p.flow(strings.Join(flowing, " "))
		case len(standing) > 0:
			p.literal(standing)
		default:
			return
		}
		flowing, standing, first = nil, nil, false
	}
	for _, line := range strings.Split(text, "\n") {
		switch indented := strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "\t"); {
		case strings.TrimSpace(line) == "":
			end()
		case indented:
			if len(flowing) > 0 {
				end()
			}
			standing = append(standing, line)
		default:
			if len(standing) > 0 {
				end()
			}
			flowing = append(flowing, line)
		}
	}
	end()
}

// literal are lines that are not filled. What they are indented by in common is
// left to the page.
func (p *page) literal(lines []string) {
	indent := -1
	for i, line := range lines {
		lines[i] = strings.ReplaceAll(line, "\t", "    ")
		if n := len(lines[i]) - len(strings.TrimLeft(lines[i], " ")); indent < 0 || n < indent {
			indent = n
		}
	}
	p.WriteString(".PP\n.RS 4\n.nf\n")
	for _, line := range lines {
		p.WriteString(guard(escape(strings.TrimRight(line[indent:], " "))) + "\n")
	}
	p.WriteString(".fi\n.RE\n")
}

var command = regexp.MustCompile("`[^`]+`")

// flow is text that is filled. What stands in backquotes is bold.
func (p *page) flow(text string) {
	at := 0
	var marked strings.Builder
	for _, span := range command.FindAllStringIndex(text, -1) {
		marked.WriteString(escape(text[at:span[0]]) + bold(text[span[0]+1:span[1]-1]))
		at = span[1]
	}
	marked.WriteString(escape(text[at:]))
	line := ""
	for _, word := range strings.Fields(marked.String()) {
		if line != "" && len(line)+1+len(word) > width {
			p.WriteString(guard(line) + "\n")
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	p.WriteString(guard(line) + "\n")
}

// bold is text in bold face, which stands anywhere in a line.
func bold(text string) string { return `\fB` + escape(text) + `\fP` }

// guard keeps a line of text from being read as a request.
func guard(line string) string {
	if strings.HasPrefix(line, ".") {
		return `\&` + line
	}
	return line
}

// escape writes text so that troff prints those characters and no others.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		if special, ok := specials[r]; ok {
			b.WriteString(special)
		} else if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		}
	}
	return b.String()
}

// specials are characters that mean something to troff, or that it prints as
// others. "..." is what every terminal can show.
var specials = map[rune]string{
	'\\': `\e`, '-': `\-`, '\'': `\(aq`, '"': `\(dq`, '`': `\(ga`, '^': `\(ha`, '~': `\(ti`, '…': `...`,
}
