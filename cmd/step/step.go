package step

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/config"
	"postern/relay/merge"
)

// Flags are what the command line says of a step. Given tells which of them
// were there, by their names.
type Flags struct {
	File                           string // the message file; empty: none
	From, Subject                  string
	To, Cc, Bcc, ReplyTo           []string
	Text, HTML, Markdown, Calendar string // files; "-" is standard input
	Body                           string
	Attach, Embed, Header          []string
	Rows, RowsFormat, Per          string
	Set, SetFile                   []string
	Save, Key, Priority            string
	Given                          func(flag string) bool
	Stdin                          io.Reader
}

// Usage is an error of the command line.
type Usage struct{ Text, Hint string }

func (e *Usage) Error() string { return e.Text }

func usage(format string, args ...any) error { return &Usage{Text: fmt.Sprintf(format, args...)} }

// maxInput bounds what a flag takes from standard input or a file, in bytes.
const maxInput = 16 << 20

// Step is the message file with the flags over it. A flag replaces what the
// file says; attachments, embedded files, header fields and variables add to
// it. The error is a *Usage or a *merge.Problems.
func (f *Flags) Step() (*merge.Step, error) {
	if err := f.words(); err != nil {
		return nil, err
	}
	step := &merge.Step{InlineCSS: true}
	if f.File != "" {
		var err error
		if step, err = merge.Load(f.File); err != nil {
			return nil, err
		}
	}
	if err := f.stdinOnce(); err != nil {
		return nil, err
	}
	step.Flags = f.names()
	f.strings(step)
	if err := f.bodies(step); err != nil {
		return nil, err
	}
	if err := f.rows(step); err != nil {
		return nil, err
	}
	for _, add := range []func(*merge.Step) error{f.parts, f.headers, f.variables} {
		if err := add(step); err != nil {
			return nil, err
		}
	}
	return step, nil
}

// flagKeys are the keys of a message file that flags stand for, --body and
// --text being the same one.
var flagKeys = map[string]string{
	"from": "from", "to": "to", "cc": "cc", "bcc": "bcc", "reply-to": "reply_to", "subject": "subject", "body": "text", "text": "text",
	"html": "html", "markdown": "markdown", "calendar": "calendar", "rows": "rows", "rows-format": "rows.format", "per": "rows.per",
	"save": "save", "key": "key", "priority": "priority", "attach": "attach", "embed": "embed", "header": "headers", "set": "var",
}

// names are the flags by the keys that they gave. Without a message file there
// are only flags.
func (f *Flags) names() map[string]string {
	names := map[string]string{}
	for _, flag := range slices.Sorted(maps.Keys(flagKeys)) {
		key := flagKeys[flag]
		switch {
		case key == "attach" || key == "embed" || key == "headers" || key == "var":
			if f.File == "" { // otherwise each by itself, as it is added
				names[key] = "--" + flag
			}
		case f.Given(flag):
			names[key], names[key+"_file"] = "--"+flag, "--"+flag
		case f.File == "" && names[key] == "":
			names[key] = "--" + flag
		}
	}
	return names
}

// words refuses what a flag does not know.
func (f *Flags) words() error {
	if f.Given("priority") && !slices.Contains(merge.Priorities(), f.Priority) {
		hint := ""
		if near := config.Nearest(f.Priority, merge.Priorities()); near != "" {
			hint = "Did you mean " + near + "?"
		}
		return &Usage{Text: fmt.Sprintf("--priority %q is none of %s", f.Priority, strings.Join(merge.Priorities(), ", ")), Hint: hint}
	}
	return nil
}

// stdinOnce refuses to read standard input for two things.
func (f *Flags) stdinOnce() error {
	var takers []string
	for flag, value := range map[string]string{"--text": f.Text, "--html": f.HTML, "--markdown": f.Markdown, "--calendar": f.Calendar, "--rows": f.Rows} {
		if value == "-" {
			takers = append(takers, flag)
		}
	}
	if len(takers) > 1 {
		slices.Sort(takers)
		return usage("%s and %s both read standard input", takers[0], takers[1])
	}
	return nil
}

func (f *Flags) strings(step *merge.Step) {
	for flag, set := range map[string]struct {
		to    *string
		value string
	}{
		"from": {&step.From, f.From}, "subject": {&step.Subject, f.Subject}, "save": {&step.Save, f.path(step, f.Save)},
		"key": {&step.Key, f.Key}, "priority": {&step.Priority, f.Priority}, "per": {&step.Rows.Per, f.Per},
	} {
		if f.Given(flag) {
			*set.to = set.value
		}
	}
	for flag, set := range map[string]struct {
		to    *[]string
		value []string
	}{"to": {&step.To, f.To}, "cc": {&step.Cc, f.Cc}, "bcc": {&step.Bcc, f.Bcc}, "reply-to": {&step.ReplyTo, f.ReplyTo}} {
		if f.Given(flag) {
			*set.to = set.value
		}
	}
}

// path is a file of the command line, which starts at the working directory,
// for a step whose files start at the folder of the message file.
func (f *Flags) path(step *merge.Step, name string) string {
	if step.Dir == "" || name == "" || filepath.IsAbs(name) {
		return name
	}
	if wd, err := os.Getwd(); err == nil && !strings.Contains(wd, "{{") {
		return filepath.Join(wd, name)
	}
	return name
}

// bodies takes text, HTML and the others. What comes by standard input was made
// by another program and is no template.
func (f *Flags) bodies(step *merge.Step) error {
	if f.Given("body") {
		if f.Given("text") {
			return usage("--body and --text exclude each other")
		}
		step.Text = merge.Content{Set: true, Text: f.Body}
	}
	for _, b := range []struct {
		flag, file string
		to         *merge.Content
	}{{"text", f.Text, &step.Text}, {"html", f.HTML, &step.HTML}, {"markdown", f.Markdown, &step.Markdown}, {"calendar", f.Calendar, &step.Calendar}} {
		switch {
		case !f.Given(b.flag):
		case b.file == "-":
			text, err := readAll(f.Stdin, "standard input")
			if err != nil {
				return err
			}
			*b.to = merge.Content{Set: true, Literal: true, Text: text}
		default:
			*b.to = merge.Content{File: f.path(step, b.file)}
		}
	}
	return nil
}

func readAll(r io.Reader, name string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(b) > maxInput {
		err = fmt.Errorf("has more than %d MiB", maxInput>>20)
	}
	if err != nil {
		return "", unreadable(name, err)
	}
	return strings.ToValidUTF8(strings.TrimPrefix(string(b), "\ufeff"), "\ufffd"), nil
}

func unreadable(name string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err // somebody has ended the command
	}
	return &merge.Problems{List: []merge.Problem{{Kind: merge.NoInput, File: name, Text: "cannot be read: " + merge.Reason(err)}}, Total: 1}
}

// rows takes the flags of rows, which mean nothing where there are none.
func (f *Flags) rows(step *merge.Step) error {
	if f.Given("rows") {
		step.Rows.File, step.Rows.Command = f.Rows, nil
		if f.Rows != "-" {
			step.Rows.File = f.path(step, f.Rows)
		}
	}
	if f.Given("rows-format") {
		step.Rows.Format = merge.Format(f.RowsFormat)
		if !slices.Contains(formats, step.Rows.Format) {
			return usage("--rows-format %q is none of auto, csv, tsv, json, ndjson, xlsx", f.RowsFormat)
		}
	}
	for _, flag := range []string{"rows-format", "per", "failed"} {
		if f.Given(flag) && !step.Rows.Given() {
			return &Usage{Text: "--" + flag + " is for rows, and there are none", Hint: "Name them with --rows FILE, or under [rows] of a message file."}
		}
	}
	return nil
}

// formats are those that --rows-format can name.
var formats = []merge.Format{merge.Auto, merge.CSV, merge.TSV, merge.JSON, merge.NDJSON, merge.XLSX}

// parts adds --attach FILE[:NAME[:TYPE]] and --embed FILE[:CID].
func (f *Flags) parts(step *merge.Step) error {
	for _, value := range f.Attach {
		p, err := fields("--attach", value, 3)
		if err != nil {
			return err
		}
		step.Flags[fmt.Sprintf("attach[%d]", len(step.Attach))] = "--attach"
		step.Attach = append(step.Attach, merge.Attach{File: f.path(step, p[0]), Name: p[1], Type: p[2]})
	}
	for _, value := range f.Embed {
		p, err := fields("--embed", value, 2)
		if err != nil {
			return err
		}
		step.Flags[fmt.Sprintf("embed[%d]", len(step.Embed))] = "--embed"
		step.Embed = append(step.Embed, merge.Embed{File: f.path(step, p[0]), CID: p[1]})
	}
	return nil
}

// fields cuts a value at colons outside of {{ }}. A file whose name has a colon
// is taken as a whole; the letter of a drive belongs to its path.
func fields(flag, value string, most int) ([3]string, error) {
	var out [3]string
	if _, err := os.Stat(value); err == nil {
		out[0] = value
		return out, nil
	}
	drive := filepath.VolumeName(value)
	parts := merge.Split(value[len(drive):], ":")
	if len(parts) > most || parts[0] == "" {
		return out, usage("%s %q is not FILE[:NAME]", flag, value)
	}
	copy(out[:], parts)
	out[0] = drive + out[0]
	return out, nil
}

func (f *Flags) headers(step *merge.Step) error {
	for _, h := range f.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return usage("--header %q is not 'Name: value'", h)
		}
		step.Flags["headers."+strings.TrimSpace(name)] = "--header"
		step.Headers = append(step.Headers, merge.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	return nil
}

func (f *Flags) variables(step *merge.Step) error {
	vars := map[string]string{}
	maps.Copy(vars, step.Vars)
	for _, set := range f.Set {
		name, value, ok := strings.Cut(set, "=")
		if !ok || name == "" {
			return usage("--set %q is not NAME=VALUE", set)
		}
		vars[name] = value
	}
	for _, set := range f.SetFile {
		name, file, ok := strings.Cut(set, "=")
		if !ok || name == "" || file == "" {
			return usage("--set-file %q is not NAME=FILE", set)
		}
		r, err := os.Open(file)
		if err != nil {
			return unreadable(file, err)
		}
		text, err := readAll(r, file)
		r.Close()
		if err != nil {
			return err
		}
		vars[name] = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	}
	step.Vars = vars
	return nil
}
