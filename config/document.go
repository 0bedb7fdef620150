package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"postern/config/visible"
)

// document is one TOML file on its way to a Config, with what was found
// wrong so far.
type document struct {
	file     string
	source   *sourceMap
	root     map[string]any
	problems []Problem
	warnings []Problem
	cfg      *Config         // what it is read into; nil: nothing
	expanded map[string]bool // keys whose values hold variables of the environment
	unset    map[string]bool // keys whose variables are missing
}

// readDocument reads and parses a file. Where it cannot be, root is nil and
// the problems say why.
func readDocument(path string) *document {
	doc := &document{file: path, source: &sourceMap{}}
	if info, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 {
		// Whoever can write it can have commands run (password_command).
		doc.problems = []Problem{{File: path, Text: "everybody on this machine can change it", Hint: "chmod o-w " + path}}
	}
	text, err := readConfiguration(path)
	if err != nil {
		hint := ""
		if errors.Is(err, os.ErrPermission) {
			hint = "run as the user or group that may read it"
		}
		doc.problems = []Problem{{File: path, Text: "cannot be read: " + reason(err), Hint: hint}}
		return doc
	}
	doc.parse(string(text))
	return doc
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
		d.problems = append(d.problems, Problem{
			File: d.file, Line: invalidLine(text), Text: "is not UTF-8", Hint: "save the file as UTF-8",
		})
		return
	}
	d.source = mapSource(text)
	if d.source.tooDeep > 0 {
		d.problems = append(d.problems, Problem{
			File: d.file, Line: d.source.tooDeep, Text: fmt.Sprintf("nests values more than %d deep", maxNesting),
		})
		return
	}
	root := map[string]any{} // never nil from here on, even for an empty text
	if _, err := toml.Decode(text, &root); err != nil {
		d.problems = append(d.problems, d.syntaxProblem(err, text))
		return
	}
	d.root = root
	d.environment()
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
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return Problem{File: d.file, Text: "is not TOML: " + err.Error()}
	}
	p := Problem{File: d.file, Line: parse.Position.Line}
	message := parse.Message
	switch {
	case strings.Contains(message, "has already been defined"), strings.Contains(message, "already created"):
		p.Text = "this key or table was already given"
		if first := d.source.before(parse.LastKey, p.Line); first > 0 {
			p.Hint = fmt.Sprintf("first on line %d; keep one of them", first)
		}
	case strings.Contains(message, "expected value but found"), strings.HasPrefix(message, "Invalid "), secretLine(text, p.Line), secretPath(parse.LastKey):
		p.Text = "this is not a value of TOML"
		p.Hint = `text stands in quotes, "like this", with \\ for a backslash, and a list in brackets, ["a", "b"]`
	default:
		p.Text = "is not TOML: " + visible.Text(strings.TrimSuffix(message, "."), 1000)
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
		strings.Contains(text, "$")
}

func secretPath(key string) bool {
	return strings.Contains(key, "password") || strings.Contains(key, "users") || strings.Contains(key, "secret")
}

// problem records that the configuration cannot be used. Of a value that
// lacks a variable nothing else is said.
func (d *document) problem(key, text, hint string) {
	if d.unset[key] {
		return
	}
	d.problems = append(d.problems, Problem{File: d.file, Line: d.source.line(key), Key: key, Text: text, Hint: hint})
}

// warn records a finding that does not stop a start.
func (d *document) warn(key, text, hint string) {
	if d.unset[key] {
		return
	}
	d.warnings = append(d.warnings, Problem{File: d.file, Line: d.source.line(key), Key: key, Text: text, Hint: hint})
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
