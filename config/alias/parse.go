package alias

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/config/wire"
)

// Entry is one alias.
type Entry struct {
	// Name is compared in canonical form: without quotes, ASCII letters in lower
	// case; "*" takes every name that has no alias.
	Name string
	To   []Target // at least one
	File string   // empty: it stands in the configuration
	Line int      // in File
}

// Target is one thing that an alias stands for.
type Target struct {
	Address string // in wire form; a name alone has no domain
	Final   bool   // "\name": whatever alias the name has, it is not looked at
	// Book is a name of the address books: "group:Sales", "book:team/Alice". Then
	// there is no address.
	Book string
}

// IsBook reports whether a name is one of the address books alone.
func IsBook(name string) bool {
	return strings.HasPrefix(name, "group:") || strings.HasPrefix(name, "book:")
}

// String is the target as a file would have it.
func (t Target) String() string {
	if t.Book != "" {
		return t.Book
	}
	if t.Final {
		return `\` + t.Address
	}
	return t.Address
}

// Problem is what is wrong with aliases.
type Problem struct {
	File string // empty: the configuration
	Line int    // 0: the file as a whole
	Text string
	Hint string // what to do; may be empty
}

// String is "file:line: text (hint)", on one line.
func (p Problem) String() string {
	text := p.Text
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	switch {
	case p.File == "":
		return text
	case p.Line == 0:
		return p.File + ": " + text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, text)
}

// Problems is the error of aliases that can't be used.
type Problems []Problem

// Error has one line for each problem, without a newline at the end.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

const (
	// maxFiles and maxBytes bound a file together with all that it includes.
	maxFiles = 100
	maxBytes = 8 << 20
	// maxIncludes is how deep files may include each other.
	maxIncludes = 8
	// maxProblems is how many are told at once.
	maxProblems = 20
)

// parser reads one aliases(5) file with what it includes. What it says of a file
// names its lines and repeats none of their words: the file may be a link to
// one, or include one, that whoever is told may not read.
type parser struct {
	read     func(path string) ([]byte, error)
	entries  map[string]*Entry
	problems Problems
	files    []string // that were read
	bytes    int
	open     []string // files that are being read: which one includes which
	books    []Led
}

func (p *parser) problem(file string, line int, text, hint string) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{file, line, text, hint})
	}
}

// text reads a file; false: it can't be used, and why is told at line of by.
func (p *parser) text(file, by string, line int) (string, bool) {
	if len(p.files) >= maxFiles {
		p.problem(by, line, fmt.Sprintf("more than %d files are included", maxFiles), "")
		return "", false
	}
	b, err := p.read(file)
	if err != nil {
		var at *fs.PathError
		if by == file && errors.As(err, &at) {
			err = at.Err
		}
		p.problem(by, line, err.Error(), "")
		return "", false
	}
	p.files = append(p.files, file)
	if p.bytes += len(b); p.bytes > maxBytes {
		p.problem(by, line, fmt.Sprintf("the aliases and all that they include are larger than %d MiB", maxBytes>>20), "")
		return "", false
	}
	text := strings.TrimPrefix(string(b), "\uFEFF")
	if !utf8.ValidString(text) {
		p.problem(file, 0, "is not UTF-8", "")
		return "", false
	}
	return text, true
}

// file reads a whole aliases file.
func (p *parser) file(file string) {
	text, ok := p.text(file, file, 0)
	if !ok {
		return
	}
	p.open = append(p.open, file)
	// The alias that is being read: where it begins, and its lines with their ends.
	first, begun, logical := 0, false, strings.Builder{}
	end := func() {
		if begun {
			p.alias(file, first, logical.String())
		}
		begun = false
		logical.Reset()
	}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		plain := strings.TrimSpace(line)
		switch {
		case plain == "" || plain[0] == '#':
			logical.WriteByte('\n') // a continued line may follow, and lines are counted
		case line[0] == ' ' || line[0] == '\t':
			if !begun {
				p.problem(file, number, "begins with a blank, and there is no alias before it that it could continue", "")
				continue
			}
			logical.WriteString(line + "\n")
		default:
			end()
			first, begun = number, true
			logical.WriteString(line + "\n")
		}
	}
	end()
	p.open = p.open[:len(p.open)-1]
}

// alias reads one alias, whose lines begin at first.
func (p *parser) alias(file string, first int, text string) {
	colon := outside(text, ':')
	if colon < 0 {
		p.problem(file, first, "has no colon", "an alias is written name: address, address")
		return
	}
	name, fault := canonicalName(strings.TrimSpace(text[:colon]))
	if fault != "" {
		p.problem(file, first, "its name "+fault, "aliases are of names without a domain; local_domains says at which domains they count")
		return
	}
	if old := p.entries[name]; old != nil {
		p.problem(file, first, fmt.Sprintf("this name has an alias in line %d already", old.Line), "put all of its addresses into one")
		return
	}
	e := &Entry{Name: name, File: file, Line: first}
	before := len(p.problems)
	e.To = p.list(nil, file, first, text[colon+1:])
	p.entries[name] = e
	if len(e.To) == 0 && len(p.problems) == before {
		p.problem(file, first, "stands for nobody", "")
	}
}

// canonicalName is a name as it is compared; fault is what is wrong with it,
// without the name.
func canonicalName(name string) (canonical, fault string) {
	if name == "*" {
		return name, ""
	}
	switch wire.CheckMailbox(name, true) {
	case wire.NoDomain:
	case wire.NoFault:
		return "", "has a domain"
	default:
		return "", "is not a name"
	}
	canonical, ok := wire.CanonicalLocal(name)
	if !ok || canonical == "" {
		return "", "is not a name"
	}
	return canonical, ""
}

// list reads what stands behind a colon, or in a line of an included file.
// Commas part it; a line end is a blank.
func (p *parser) list(to []Target, file string, line int, text string) []Target {
	for text != "" {
		one, rest := text, ""
		if comma := outside(text, ','); comma >= 0 {
			one, rest = text[:comma], text[comma+1:]
		}
		blank := one[:len(one)-len(strings.TrimLeftFunc(one, unicode.IsSpace))]
		at := line + strings.Count(blank, "\n")
		to = p.element(to, file, at, strings.TrimSpace(one))
		line += strings.Count(one, "\n")
		text = rest
	}
	return to
}

// outside is where c first stands outside of quotes; -1: nowhere.
func outside(s string, c byte) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == c && !quoted:
			return i
		}
	}
	return -1
}

const listHint = "addresses are parted by commas, and a comment has a line of its own"

// element reads one thing that an alias stands for.
func (p *parser) element(to []Target, file string, line int, text string) []Target {
	if text == "" {
		return to // a comma at the end
	}
	inner := text
	if len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' {
		inner = strings.TrimSpace(text[1 : len(text)-1])
	}
	special := strings.ToLower(inner)
	switch {
	case strings.HasPrefix(special, "|"):
		p.problem(file, line, "leads to a command, and this relay runs none", "name the address of a mailbox in place of it")
		return to
	case strings.HasPrefix(special, "/"):
		p.problem(file, line, "leads to a file, and this relay has no mailboxes", "name the address of a mailbox in place of it")
		return to
	case strings.HasPrefix(special, ":include:"):
		return p.include(to, file, line, strings.TrimSpace(inner[len(":include:"):]))
	case strings.HasPrefix(special, ":"):
		p.problem(file, line, "begins with a colon, and is not :include:", "addresses and :include: are known")
		return to
	}
	if IsBook(inner) { // the quotes are for its blanks and commas
		text = inner
	}
	t, fault := parseTarget(text)
	if fault != "" {
		p.problem(file, line, "what stands here "+fault, listHint)
		return to
	}
	if t.Book != "" {
		p.books = append(p.books, Led{Book: t.Book, File: file, Line: line})
	}
	return append(to, t)
}

// ParseTarget reads one address or name, as aliases of the configuration have
// it. The error is a sentence without its subject's place.
func ParseTarget(text string) (Target, error) {
	t, fault := parseTarget(strings.TrimSpace(text))
	if fault != "" {
		return t, fmt.Errorf("%s %s", wire.Exact(strings.TrimSpace(text)), fault)
	}
	return t, nil
}

// maxBookName bounds a name of the address books, in bytes.
const maxBookName = 1000

// parseTarget reads one address or name; fault is what is wrong with it, without
// its words.
func parseTarget(text string) (t Target, fault string) {
	if IsBook(text) {
		_, name, _ := strings.Cut(text, ":")
		switch {
		case strings.TrimSpace(name) == "" || len(text) > maxBookName || wire.HasControl(text):
			return t, "is no name of an address book"
		}
		return Target{Book: text}, ""
	}
	address := text
	if strings.HasPrefix(address, `\`) {
		t.Final, address = true, address[1:]
	}
	if len(address) > 2 && address[0] == '<' && address[len(address)-1] == '>' {
		address = address[1 : len(address)-1]
	}
	const bad = "is not an address"
	local, domain := wire.SplitAddress(address)
	if domain != "" && !wire.IsASCII(domain) {
		canonical, ok := wire.CanonicalDomain(domain)
		if !ok {
			return t, bad
		}
		address = local + "@" + canonical
	}
	switch wire.CheckMailbox(address, true) {
	case wire.NoDomain:
		// In any disguise: of quotes, of a backslash, of angle brackets.
		if bare := strings.TrimPrefix(address, `"`); strings.HasPrefix(bare, "/") || strings.HasPrefix(bare, "|") {
			return t, "leads to a file or a command, and this relay has neither"
		}
	case wire.NoFault:
		if t.Final {
			return t, "has a domain behind a backslash, which keeps a name as it is"
		}
	default:
		return t, bad
	}
	if len(address)+2 > wire.MaxPath {
		return t, "is too long"
	}
	t.Address = address
	return t, ""
}

// include reads the addresses of another file.
func (p *parser) include(to []Target, by string, line int, file string) []Target {
	switch {
	case !filepath.IsAbs(file) && !path.IsAbs(file):
		p.problem(by, line, ":include: needs a path from the root", `such as ":include:/etc/postern/team"`)
		return to
	case len(p.open) > maxIncludes:
		p.problem(by, line, fmt.Sprintf("files include each other deeper than %d", maxIncludes), "")
		return to
	}
	for i, open := range p.open {
		if open == file {
			p.problem(by, line, "is a loop: "+strings.Join(append(p.open[i:], file), " → "), "")
			return to
		}
	}
	text, ok := p.text(file, by, line)
	if !ok {
		return to
	}
	p.open = append(p.open, file)
	number := 0
	for one := range strings.Lines(text) {
		number++
		if one = strings.TrimSpace(one); one != "" && one[0] != '#' {
			to = p.list(to, file, number, one)
		}
	}
	p.open = p.open[:len(p.open)-1]
	return to
}
