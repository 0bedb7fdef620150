package config

import (
	"strconv"
	"strings"
)

// maxNesting bounds arrays in arrays and tables in tables. The contract needs
// four; the TOML decoder recurses without a bound of its own.
const maxNesting = 32

// sourceMap says where in a TOML text each key stands. Paths are written as
// in a Problem: "listener[0].allow[1]", `upstream."a b".port`.
type sourceMap struct {
	lines   map[string]int // path → line of its first mention, from 1
	tooDeep int            // line where maxNesting was passed; 0: nowhere
}

// mapSource finds the line of every key and array element. It is only exact
// for valid TOML; it stops nowhere in the other kind and always ends.
func mapSource(src string) *sourceMap {
	s := &lineScanner{
		src: src, line: 1,
		found:  &sourceMap{lines: map[string]int{}},
		arrays: map[string]int{},
	}
	table := ""
	for s.skipBlank(); s.pos < len(s.src); s.skipBlank() {
		if s.src[s.pos] == '[' {
			table = s.header()
			continue
		}
		start := s.pos
		s.keyValue(table, 0)
		if s.pos == start {
			s.skipLine()
		}
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

// lineScanner walks through TOML text, counting lines and naming keys. It
// reads no values.
type lineScanner struct {
	src    string
	pos    int
	line   int
	found  *sourceMap
	arrays map[string]int // path of an array of tables → elements so far
}

func (s *lineScanner) note(path string) {
	if _, ok := s.found.lines[path]; !ok {
		s.found.lines[path] = s.line
	}
}

// header reads [a.b] or [[a.b]] and returns the path of the table it opens.
func (s *lineScanner) header() string {
	s.pos++
	array := strings.HasPrefix(s.src[s.pos:], "[")
	if array {
		s.pos++
	}
	path := ""
	parts := s.keyParts()
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
	s.skipLine()
	return path
}

// keyValue reads "a.b = value", up to the end of the value.
func (s *lineScanner) keyValue(prefix string, depth int) {
	parts := s.keyParts()
	path := prefix
	for _, part := range parts {
		path = joinKey(path, part)
		s.note(path)
	}
	s.skipSpace()
	if len(parts) == 0 || s.pos >= len(s.src) || s.src[s.pos] != '=' {
		return
	}
	s.pos++
	s.skipSpace()
	s.value(path, depth)
}

// keyParts reads a possibly dotted and quoted key.
func (s *lineScanner) keyParts() []string {
	var parts []string
	for {
		s.skipSpace()
		if s.pos >= len(s.src) {
			return parts
		}
		start := s.pos
		switch c := s.src[s.pos]; {
		case c == '"' || c == '\'':
			s.quoted()
			parts = append(parts, unquoteKey(s.src[start:s.pos]))
		case isBareKeyByte(c):
			for s.pos < len(s.src) && isBareKeyByte(s.src[s.pos]) {
				s.pos++
			}
			parts = append(parts, s.src[start:s.pos])
		default:
			return parts
		}
		s.skipSpace()
		if s.pos >= len(s.src) || s.src[s.pos] != '.' {
			return parts
		}
		s.pos++
	}
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
	if s.pos >= len(s.src) {
		return
	}
	if depth > maxNesting {
		if s.found.tooDeep == 0 {
			s.found.tooDeep = s.line
		}
		s.pos = len(s.src)
		return
	}
	switch s.src[s.pos] {
	case '"', '\'':
		s.quoted()
	case '[':
		s.array(path, depth)
	case '{':
		s.inlineTable(path, depth)
	default:
		s.skipTo(",]}#\r\n")
	}
}

func (s *lineScanner) array(path string, depth int) {
	s.pos++
	for i := 0; ; i++ {
		s.skipBlank()
		if s.pos >= len(s.src) {
			return
		}
		if s.src[s.pos] == ']' {
			s.pos++
			return
		}
		start := s.pos
		s.note(joinIndex(path, i))
		s.value(joinIndex(path, i), depth+1)
		if !s.separator(start) {
			return
		}
	}
}

func (s *lineScanner) inlineTable(path string, depth int) {
	s.pos++
	for {
		s.skipBlank()
		if s.pos >= len(s.src) {
			return
		}
		if s.src[s.pos] == '}' {
			s.pos++
			return
		}
		start := s.pos
		s.keyValue(path, depth+1)
		if !s.separator(start) {
			return
		}
	}
}

// separator steps over a comma. It is false where the text is not TOML, so
// that nothing was read since start.
func (s *lineScanner) separator(start int) bool {
	s.skipBlank()
	if s.pos < len(s.src) && s.src[s.pos] == ',' {
		s.pos++
	}
	return s.pos > start
}

// quoted steps over a string of any of the four kinds.
func (s *lineScanner) quoted() {
	q := s.src[s.pos : s.pos+1]
	if triple := q + q + q; strings.HasPrefix(s.src[s.pos:], triple) {
		s.pos += 3
		s.until(triple, q == `"`)
		// Up to two more quotes belong to the text.
		for range 2 {
			if strings.HasPrefix(s.src[s.pos:], q) {
				s.pos++
			}
		}
		return
	}
	s.pos++
	s.until(q, q == `"`)
}

// until steps behind the next end, counting lines. A string of one line ends
// at the end of its line at the latest.
func (s *lineScanner) until(end string, escapes bool) {
	for s.pos < len(s.src) {
		switch {
		case strings.HasPrefix(s.src[s.pos:], end):
			s.pos += len(end)
			return
		case escapes && s.src[s.pos] == '\\' && s.pos+1 < len(s.src) && s.src[s.pos+1] != '\n':
			s.pos++
		case s.src[s.pos] == '\n':
			if len(end) == 1 {
				return
			}
			s.line++
		}
		s.pos++
	}
}

// skipBlank steps over spaces, newlines and comments.
func (s *lineScanner) skipBlank() {
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case '\n':
			s.line++
			s.pos++
		case ' ', '\t', '\r':
			s.pos++
		case '#':
			s.skipTo("\n")
		default:
			return
		}
	}
}

func (s *lineScanner) skipSpace() {
	for s.pos < len(s.src) && (s.src[s.pos] == ' ' || s.src[s.pos] == '\t') {
		s.pos++
	}
}

// skipLine goes to the end of the line; the newline itself is left.
func (s *lineScanner) skipLine() { s.skipTo("\n") }

func (s *lineScanner) skipTo(stop string) {
	if n := strings.IndexAny(s.src[s.pos:], stop); n >= 0 {
		s.pos += n
		return
	}
	s.pos = len(s.src)
}
