package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// document is a TOML file on its way to a Config, with what was found wrong so
// far, and with the tables of further files.
type document struct {
	file     string
	folder   string          // of the further files; empty: there is none
	further  []*document     // in the order in which they were read
	from     map[string]part // keys that a further file has
	instead  *replacement    // of a further file; nil: none is
	text     *string         // what the file is taken to hold; nil: what it holds
	foreign  map[string]bool // further files that are links to another place
	source   *sourceMap
	root     map[string]any
	problems findings
	warnings findings
	cfg      *Config         // what it is read into; nil: nothing
	expanded map[string]bool // keys whose values hold variables of the environment
	unset    map[string]bool // keys whose variables are missing
}

// readDocument reads and parses a file. Where it cannot be, root is nil and
// the problems say why.
func readDocument(path string) *document {
	doc := &document{file: path, source: &sourceMap{}, from: map[string]part{}}
	doc.readAll()
	return doc
}

// readAll reads the file and the further ones.
func (d *document) readAll() {
	if d.text != nil {
		d.parse(*d.text)
	} else {
		d.read(readConfiguration)
	}
	if d.root != nil {
		d.readFurther()
		d.environment()
	}
}

// read reads and parses the file by itself, and returns its size in bytes.
func (d *document) read(content func(path string) ([]byte, error)) int {
	path := d.file
	if info, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 {
		// Whoever can write it can have commands run (password_command).
		d.problems.add(Problem{File: path, Text: "everybody on this machine can change it", Hint: "chmod o-w " + path})
	}
	text, err := content(path)
	if err != nil {
		hint := ""
		if errors.Is(err, os.ErrPermission) {
			hint = "run as the user or group that may read it"
		}
		d.problems = findings{list: []Problem{{File: path, Text: "cannot be read: " + reason(err), Hint: hint}}}
		return 0
	}
	d.parse(string(text))
	return len(text)
}

// spool is the folder of the spool, as far as the file was read.
func (d *document) spool() string {
	if d.cfg == nil {
		return ""
	}
	return d.cfg.Spool.Dir
}

// reason is the cause of an error of the file system without the path, which
// stands beside it already.
func reason(err error) string {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return err.Error()
}

// parse decodes the text. It never panics and never repeats a value of the
// text in a problem, for that value can be a password.
func (d *document) parse(text string) {
	if !utf8.ValidString(text) {
		d.problems.add(Problem{File: d.file, Line: invalidLine(text), Text: "is not UTF-8", Hint: "save the file as UTF-8"})
		return
	}
	d.source = mapSource(text)
	if d.source.refused > 0 {
		d.problems.add(Problem{File: d.file, Line: d.source.refused, Text: d.source.why})
		return
	}
	root := map[string]any{} // never nil from here on, even for an empty text
	if _, err := toml.Decode(text, &root); err != nil {
		d.problems.add(d.syntaxProblem(err, text))
		return
	}
	d.root = root
}

func invalidLine(text string) int {
	line := 1
	for _, part := range strings.SplitAfter(text, "\n") {
		if !utf8.ValidString(part) {
			break
		}
		line++
	}
	return line
}

// syntaxProblem turns an error of the TOML decoder into a Problem.
func (d *document) syntaxProblem(err error, text string) Problem {
	p := NotTOML(err)
	p.File = d.file
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return p
	}
	if p.Text == givenTwice {
		if first := d.source.before(parse.LastKey, p.Line); first > 0 {
			p.Hint = fmt.Sprintf("first on line %d; %s", first, p.Hint)
		}
	} else if p.Hint == "" && (secretLine(text, p.Line) || secretPath(parse.LastKey)) {
		p.Text = notValue
	}
	return p
}

// secretLine reports whether a line of the text may hold a secret, so that
// nothing of it may be repeated.
func secretLine(text string, line int) bool {
	for i := 1; i < line && text != ""; i++ {
		_, text, _ = strings.Cut(text, "\n")
	}
	text, _, _ = strings.Cut(text, "\n")
	text = strings.ToLower(text)
	return strings.Contains(text, "pass") || strings.Contains(text, "users") || strings.Contains(text, "secret") ||
		strings.Contains(text, "url") || strings.Contains(text, "command") || strings.Contains(text, "$")
}

func secretPath(key string) bool {
	return strings.Contains(key, "password") || strings.Contains(key, "users") || strings.Contains(key, "secret") ||
		strings.Contains(key, urlKey) || strings.Contains(key, "command")
}

// located are the keys that lead to a daemon: of these every problem is told.
var located = []string{"spool.dir", "control.socket", "control.read_socket", "http.socket", "pickup.dir"}

// problem records that the configuration cannot be used. Of a value that
// lacks a variable nothing else is said.
func (d *document) problem(key, text, hint string) {
	if d.unset[key] {
		return
	}
	p := d.found(key, text, hint)
	if slices.Contains(located, key) {
		d.problems.list = append(d.problems.list, p)
		return
	}
	d.problems.add(p)
}

// warn records a finding that does not stop a start.
func (d *document) warn(key, text, hint string) {
	if d.unset[key] {
		return
	}
	d.warnings.add(d.found(key, text, hint))
}

// path makes a relative path one that starts at the folder of the file.
func (d *document) path(p string) string {
	if p == "" || filepath.IsAbs(p) || strings.HasPrefix(p, "/") {
		return p
	}
	folder, err := filepath.Abs(filepath.Dir(d.file))
	if err != nil {
		return p
	}
	return filepath.Join(folder, p)
}

const (
	// maxFile bounds a file that the configuration names, and the
	// configuration itself, in bytes.
	maxFile = 4 << 20
	// pipeTimeout is how long a configuration is waited for that comes
	// through a pipe.
	pipeTimeout = 10 * time.Second
)

// ReadFile reads a file that the configuration names, of at most 4 MiB. It
// never waits: a pipe or a device in its place is an error. It may be called
// concurrently.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a file")
	}
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	neverWait(f)
	return readAll(f)
}

// neverWait bounds the reading of what calls itself a file and is waited for as
// a pipe is, such as /proc/kmsg. Of an ordinary file nothing changes.
func neverWait(f *os.File) { _ = f.SetReadDeadline(time.Now().Add(time.Second)) }

// readConfiguration is ReadFile, but for pipes, by which a shell hands over
// what a program writes.
func readConfiguration(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_ = f.SetReadDeadline(time.Now().Add(pipeTimeout)) // fails for what is not waited for
	return readAll(f)
}

func readAll(f *os.File) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = &os.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("it is larger than %s", FormatSize(maxFile))}
	}
	return b, err
}

// LoadKeyPair is tls.LoadX509KeyPair by ReadFile.
func LoadKeyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// environment replaces ${NAME} and ${NAME:-default} in the strings of the
// document by variables of this process; $${ stands for ${ itself. What a
// variable holds is text and never becomes keys, lists or tables. A line for
// the shell is left to the shell.
func (d *document) environment() {
	d.expanded, d.unset = map[string]bool{}, map[string]bool{}
	d.expandTable("", d.root)
}

func (d *document) expandTable(path string, values map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if strings.HasSuffix("_"+name, string(secretCommand)) {
			continue
		}
		values[name] = d.expandValue(joinKey(path, name), values[name])
	}
}

func (d *document) expandValue(key string, value any) any {
	switch v := value.(type) {
	case string:
		if name, ok := strings.CutPrefix(v, "$"); ok && isVariable(name) && name == strings.ToUpper(name) {
			// Not which: it may be a password after all.
			d.warn(key, "looks like a variable of the environment without its braces, and is taken as it stands", "${NAME} is replaced")
		}
		return d.expandText(key, v)
	case map[string]any:
		d.expandTable(key, v)
	case []map[string]any:
		for i := range v {
			d.expandTable(joinIndex(key, i), v[i])
		}
	case []any:
		for i := range v {
			v[i] = d.expandValue(joinIndex(key, i), v[i])
		}
	}
	return value
}

// expandText replaces the variables of one value. Where one is missing, that
// is the only problem that is reported of this key.
func (d *document) expandText(key, text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			break
		}
		if strings.HasSuffix(before, "$") { // $${
			b.WriteByte('{')
			text = rest
			continue
		}
		inner, after, closed := strings.Cut(rest, "}")
		name, fallback, hasFallback := strings.Cut(inner, ":-")
		if !closed || !isVariable(name) {
			d.problem(key, "has ${ without the name of a variable and }", "${NAME} or ${NAME:-default}; write $${ for ${ itself")
			d.unset[key] = true
			return text
		}
		if strings.Contains(fallback, "${") {
			d.problem(key, "has ${ inside of ${ }", "a default is text; it cannot name another variable")
			d.unset[key] = true
			return text
		}
		value, set := os.LookupEnv(name)
		switch {
		case value == "" && hasFallback:
			value = fallback
		case !set:
			d.problem(key, name+" is not set in the environment of this process",
				fmt.Sprintf("set it where postern starts, or write ${%s:-default}", name))
			d.unset[key] = true
		}
		d.expanded[key] = true
		b.WriteString(value)
		text = after
	}
	return b.String()
}

// isVariable is true of a name that POSIX gives to environment variables.
func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
