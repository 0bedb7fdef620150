package merge

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"postern/config/strict"
)

// Step says what messages to make: a message file, or what flags say in place
// of one. Every string that is for people or for mail is a template. The zero
// value has nothing: no sender, no recipient, no rows.
type Step struct {
	// Path is the message file; empty: none. Dir is where relative file names
	// start; empty: the working directory.
	Path, Dir string

	From                 string
	To, Cc, Bcc, ReplyTo []string
	Subject              string
	Text, HTML, Markdown Content
	Calendar             Content // an invitation: iCalendar with a METHOD
	InlineCSS            bool    // put the rules of <style> at the elements
	Locale               string  // BCP 47, for number, money and date; empty: "en"
	Save, Key            string
	Priority             string   // "high", "normal", "low" or empty
	DSN                  []string // "never", or any of "success", "failure", "delay"; empty: the relay's default
	Headers              []Header
	Rows                 Rows
	Attach               []Attach
	Embed                []Embed
	Vars                 map[string]string // {{.var.NAME}}

	// ForOthers: whoever uses it gives the values, and may be a stranger. Sender
	// and recipients may be missing; there are no rows but the values, nothing is
	// saved, and every file is a regular one below Dir that only root and this
	// user can change.
	ForOthers bool

	// Flags are the keys that a command line gave, "attach[1]", with the flag
	// that it used, "--attach", which problems name then. A key stands for what
	// is below it.
	Flags map[string]string

	lines func(path string) int
	// quiet: problems repeat no words of what is no message file and no template.
	quiet bool
}

// Content is a body: Text where Set, else what File holds; without either there
// is none. A Literal text is no template: it comes from another program.
type Content struct {
	Set, Literal bool
	Text         string
	File         string
}

func (c Content) none() bool { return !c.Set && c.File == "" }

// Header is one header field.
type Header struct{ Name, Value string }

// Rows says where rows come from and how they become messages.
type Rows struct {
	File    string   // "-" is standard input
	Command []string // its standard output; no shell
	Sheet   string   // of an XLSX file; empty: the first
	Format  Format
	Charset string // where no byte order mark tells; empty: UTF-8
	Per     string // "row" (or empty), "all", or a column
	Require []string
	Empty   Empty
}

// Given reports whether there are rows at all.
func (r *Rows) Given() bool { return r.File != "" || len(r.Command) > 0 }

// Format of rows.
type Format string

// The formats. Auto goes by the file name, then by the content.
const (
	Auto   Format = "auto"
	CSV    Format = "csv" // RFC 4180, with "," or ";"
	TSV    Format = "tsv"
	JSON   Format = "json"   // one array of objects, or an object with one
	NDJSON Format = "ndjson" // an object a line
	XLSX   Format = "xlsx"
)

// Empty says what becomes of a step without rows.
type Empty string

// The values of rows.empty.
const (
	EmptySkip Empty = "skip" // nothing is sent, and nothing is wrong
	EmptySend Empty = "send" // one message
	EmptyFail Empty = "fail"
)

// Attach is an attachment: a file, or the rows of the message.
type Attach struct {
	File    string
	Name    string // empty: the file's
	Type    string // empty: by the name
	Each    string // "rows": one for each row; empty: one
	Rows    string // "csv" or "html": the rows themselves; empty: File
	Columns []string
	BOM     bool // a byte order mark before CSV, for Excel
	Gzip    bool
}

// Embed is a file that the HTML shows: <img src="cid:CID">.
type Embed struct {
	File, CID, Type string // CID empty: the name of the file
}

// folder is where relative names start.
func (s *Step) folder() string {
	if s.Dir == "" {
		return "."
	}
	return s.Dir
}

// path is a file name of the step as it can be opened.
func (s *Step) path(name string) string {
	if name == "" || s.Dir == "" || filepath.IsAbs(name) || runtime.GOOS == "windows" && os.IsPathSeparator(name[0]) {
		return name
	}
	return filepath.Join(s.Dir, name)
}

// reach is why a file of a step for others may not be read; nil: it may.
func (s *Step) reach(path string) error {
	if !s.ForOthers {
		return nil
	}
	folder, err := filepath.EvalSymlinks(s.folder())
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(folder, real); err != nil || !filepath.IsLocal(rel) {
		return errors.New("leaves the folder of message files")
	}
	if info, err := os.Stat(real); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return errors.New("is no regular file")
	}
	var unsafe *strict.Unsafe
	if err := strict.File(path); errors.As(err, &unsafe) { // the path is nothing for those who use it
		return errors.New("is a file that others than root and this user can change, or lies in such a folder")
	} else if err != nil {
		return err
	}
	return nil
}

// read is the text of a template, or of the message file itself.
func (s *Step) read(name string) (string, error) {
	path := s.path(name)
	if err := s.reach(path); err != nil {
		return "", err
	}
	return readTemplate(path)
}

// line is where a key stands in the message file; 0: nowhere.
func (s *Step) line(key string) int {
	if s.lines == nil {
		return 0
	}
	return s.lines(key)
}

// flagOf is the flag that gave a key; empty: the message file did.
func (s *Step) flagOf(key string) string {
	for {
		if flag, ok := s.Flags[key]; ok {
			return flag
		}
		cut := strings.LastIndexAny(key, ".[")
		if cut < 0 {
			return ""
		}
		key = key[:cut]
	}
}

// name is what the user calls a key.
func (s *Step) name(key string) string {
	if flag := s.flagOf(key); flag != "" {
		return flag
	}
	return key
}

// problem is one about a key of the message file or a flag.
func (s *Step) problem(key, text, hint string) Problem {
	if flag := s.flagOf(key); flag != "" {
		return Problem{Field: flag, Text: text, Hint: hint}
	}
	return Problem{File: s.Path, Line: s.line(key), Field: key, Text: text, Hint: hint}
}

func index(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }
