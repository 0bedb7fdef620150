package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxNesting bounds arrays in arrays and tables in tables. The contract needs
// four; the TOML decoder recurses without a bound of its own.
const maxNesting = 32

// maxPaths bounds the bytes of all keys of a text, each with what it stands in:
// this and the TOML decoder keep them. The longest configuration that is of any
// use has a tenth of it.
const maxPaths = 64 << 20

// sourceMap says where in a TOML text each key stands. Paths are written as
// in a Problem: "listener[0].allow[1]", `upstream."a b".port`.
type sourceMap struct {
	lines   map[string]int  // path → line of its first mention, from 1
	written map[string]bool // tables that a header opens or a value makes, not those that only hold others
	size    int             // bytes of all paths so far, repeated ones too
	parts   []Part
	refused int    // line from which on it was not read; 0: it was
	why     string // what is wrong there
}

// Lines tells on which line of a TOML text each key stands, from 1: ask it for
// "rows.file", "attach[1].name" or "to[0]". It is 0 for what is not there and
// has nothing around it that is. deep is the line where values or keys are nested
// more than 32 deep, or where all keys have come to 64 MiB with what they stand
// in. The TOML decoder must not be given such a text; 0: nowhere.
func Lines(text string) (line func(path string) int, deep int) {
	m := mapSource(text)
	return m.line, m.refused
}

// Part is a table of a TOML text, or a key that stands before all of them.
type Part struct {
	Path string // "hostname", "control", "upstream.office", "listener[1]"
	Line int    // where it begins, from 1
}

// Parts are those of a TOML text, in their order. They are only exact for a text
// that the TOML decoder takes; the others have parts too.
func Parts(text string) []Part { return mapSource(text).parts }

// mapSource finds the line of every key and array element. It is only exact
// for valid TOML; it stops nowhere in the other kind and always ends.
func mapSource(src string) *sourceMap {
	s := &lineScanner{rest: src, line: 1, found: &sourceMap{lines: map[string]int{}, written: map[string]bool{}}, arrays: map[string]int{}}
	s.next()
	table := ""
	for s.skipNewlines(); s.token != ""; s.skipNewlines() {
		line := s.line
		if s.token == "[" {
			table = s.header()
			s.found.parts = append(s.found.parts, Part{table, line})
		} else {
			key := s.keyValue(table, 0)
			if table == "" {
				s.found.parts = append(s.found.parts, Part{key, line})
			}
		}
		s.skip("\n")
	}
	return s.found
}

// line is the line of path, or of the nearest enclosing key that has one.
func (m *sourceMap) line(path string) int {
	for path != "" {
		if n, ok := m.lines[path]; ok {
			return n
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return 0
		}
		path = path[:cut]
	}
	return 0
}

// before is the last line above limit on which a key stands, where key has no
// indexes, as the TOML decoder names it: "listener.address".
func (m *sourceMap) before(key string, limit int) int {
	last := 0
	for path, line := range m.lines {
		if line < limit && line > last && withoutIndexes(path) == key {
			last = line
		}
	}
	return last
}

func withoutIndexes(path string) string {
	var b strings.Builder
	for path != "" {
		before, after, found := strings.Cut(path, "[")
		b.WriteString(before)
		if !found {
			break
		}
		_, path, _ = strings.Cut(after, "]")
	}
	return b.String()
}

// joinKey appends a key to a path, quoted where TOML needs quotes.
func joinKey(path, key string) string {
	if !isBareKey(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func joinIndex(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

func isBareKey(key string) bool {
	for i := range len(key) {
		if !isBareKeyByte(key[i]) {
			return false
		}
	}
	return key != ""
}

func isBareKeyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// token is what text begins with: a string, a word, a comment, or any other byte. Text that is not TOML has tokens too.
func token(text string) string {
	in := func(yes func(c byte) bool) string {
		n := 1
		for n < len(text) && yes(text[n]) {
			n++
		}
		return text[:n]
	}
	if text == "" {
		return ""
	}
	switch c := text[0]; {
	case c == '"' || c == '\'':
		return quoted(text)
	case c == '#':
		return in(func(c byte) bool { return c != '\n' })
	case isBareKeyByte(c):
		return in(isBareKeyByte)
	}
	return text[:1]
}

// quoted is the string that text begins with, of one of the four kinds. One that
// does not end goes to the end of its line, or of the text.
func quoted(text string) string {
	quote := text[:1]
	end, n := quote, 1
	if triple := quote + quote + quote; strings.HasPrefix(text, triple) {
		end, n = triple, 3
	}
	for n < len(text) && !strings.HasPrefix(text[n:], end) {
		if text[n] == '\n' && end == quote {
			return text[:n]
		}
		if text[n] == '\\' && quote == `"` && !strings.HasPrefix(text[n+1:], "\n") {
			n++
		}
		n++
	}
	n = min(n+len(end), len(text))
	for more := 0; more < 2 && end != quote && strings.HasPrefix(text[n:], quote); more++ {
		n++ // up to two more quotes belong to the text
	}
	return text[:n]
}

// lineScanner walks through TOML text, counting lines and naming keys. It
// reads no values.
type lineScanner struct {
	token  string // where it is; empty: at the end
	rest   string // behind token
	line   int    // of token
	found  *sourceMap
	arrays map[string]int // path of an array of tables → elements so far
}

// next goes to the next token that is neither blank nor a comment.
func (s *lineScanner) next() {
	for {
		s.line += strings.Count(s.token, "\n")
		s.token = token(s.rest)
		s.rest = s.rest[len(s.token):]
		if s.token == "" || !strings.ContainsAny(s.token[:1], " \t\r#") {
			return
		}
	}
}

// skip goes to the next token that is one of stop, which is left.
func (s *lineScanner) skip(stop ...string) {
	for s.token != "" && !slices.Contains(stop, s.token) {
		s.next()
	}
}

func (s *lineScanner) skipNewlines() {
	for s.token == "\n" {
		s.next()
	}
}

// refuse ends the scan.
func (s *lineScanner) refuse(why string) {
	if s.found.refused == 0 {
		s.found.refused, s.found.why = s.line, why
	}
	s.token, s.rest = "", ""
}

func (s *lineScanner) tooDeep() { s.refuse(fmt.Sprintf("nests values more than %d deep", maxNesting)) }

func (s *lineScanner) note(path string) {
	if s.found.size += len(path); s.found.size > maxPaths {
		s.refuse("has too many or too long keys: with the tables that they stand in they come to more than 64 MiB")
		return
	}
	if _, ok := s.found.lines[path]; !ok {
		s.found.lines[path] = s.line
	}
}

// header reads [a.b] or [[a.b]] and returns the path of the table it opens.
func (s *lineScanner) header() string {
	s.next()
	array := s.token == "["
	if array {
		s.next()
	}
	path := ""
	parts := s.keyParts(maxNesting)
	for i, part := range parts {
		path = joinKey(path, part)
		s.note(path)
		if last := i == len(parts)-1; last && array {
			s.arrays[path]++
		}
		if n := s.arrays[path]; n > 0 {
			path = joinIndex(path, n-1)
			s.note(path)
		}
	}
	s.found.written[path] = true
	return path
}

// keyValue reads "a.b = value", up to the end of the value, and returns the path
// of the key.
func (s *lineScanner) keyValue(path string, depth int) string {
	parts := s.keyParts(maxNesting + 1 - depth)
	for _, part := range parts {
		path = joinKey(path, part)
		s.note(path)
		s.found.written[path] = true
	}
	if len(parts) > 0 && s.token == "=" {
		s.next()
		s.value(path, depth+len(parts)-1)
	}
	return path
}

// keyParts reads a possibly dotted and quoted key of at most that many parts.
func (s *lineScanner) keyParts(most int) (parts []string) {
	for s.token != "" {
		if len(parts) == most {
			s.tooDeep()
			return nil
		}
		switch c := s.token[0]; {
		case c == '"' || c == '\'':
			parts = append(parts, unquoteKey(s.token))
		case isBareKeyByte(c):
			parts = append(parts, s.token)
		default:
			return parts
		}
		if s.next(); s.token != "." {
			return parts
		}
		s.next()
	}
	return parts
}

func unquoteKey(quoted string) string {
	if quoted[0] == '"' {
		if key, err := strconv.Unquote(quoted); err == nil {
			return key
		}
	}
	return strings.Trim(quoted, quoted[:1])
}

func (s *lineScanner) value(path string, depth int) {
	switch {
	case depth > maxNesting:
		s.tooDeep()
	case s.token == "[":
		s.elements("]", func(i int) {
			s.note(joinIndex(path, i))
			s.value(joinIndex(path, i), depth+1)
		})
	case s.token == "{":
		s.elements("}", func(int) { s.keyValue(path, depth+1) })
	default:
		s.skip(",", "]", "}", "\n")
	}
}

// elements reads what stands between brackets, one by one.
func (s *lineScanner) elements(end string, one func(i int)) {
	s.next()
	for i := 0; ; i++ {
		s.skipNewlines()
		before := len(s.rest)
		if s.token == end {
			s.next()
			return
		}
		one(i)
		if s.skipNewlines(); s.token == "," {
			s.next()
		}
		if len(s.rest) == before {
			return // the end, or no TOML
		}
	}
}
