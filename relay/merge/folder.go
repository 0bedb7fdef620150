package merge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"postern/relay/compose"
)

// Folder is a folder of message files for others than their author, each used
// by its name without ".toml". It may be used concurrently, and files may
// change at any time.
type Folder struct {
	Dir    string // empty: it has none
	Domain string // of Message-IDs; empty: that of From
	Book   Book   // nil: there is none
	// Words has problems repeat words of what is no message file and no template:
	// for who may read the files.
	Words bool
	// Memory is asked by Fill before something takes that many bytes of memory
	// beside the message; false: they can't be had. It is asked for more and more,
	// and all of it is free again when Fill returns. nil: all can be had.
	Memory func(bytes int64) bool
}

// Filled is a message file with its values. Mail is not checked as a whole, and
// may lack sender and recipients: it is for the caller to complete and compose.
type Filled struct {
	Mail *compose.Message
	Key  string   // of idempotency; empty: none
	DSN  []string // as in the Step
}

// ErrMemory: Folder.Memory has said no.
var ErrMemory = errors.New("there is no memory for it at present")

// ErrUnknown: a folder has no message file of that name.
var ErrUnknown = errors.New("there is no such message file")

// Values reads those of a message file from a JSON object. They are its columns.
func Values(object []byte) (Row, error) {
	if len(object) == 0 || string(object) == "null" {
		return Row{}, nil
	}
	if err := countJSON(object); err != nil {
		return nil, err
	}
	row := Row{}
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	if err := d.Decode(&row); err != nil {
		return nil, errors.New("has to be an object")
	}
	for name, v := range row {
		if v == nil {
			row[name] = ""
		}
	}
	return row, nil
}

// Names are those of the message files, sorted. A folder that is not there has
// none.
func (f Folder) Names() ([]string, error) {
	if f.Dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(f.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".toml"); ok && isName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, err
}

// maxName is how long the name of a message file may be.
const maxName = 100

// isName keeps names within the folder, on every system.
func isName(name string) bool {
	return name != "" && len(name) <= maxName && name[0] != '.' && name[0] != '-' &&
		!strings.ContainsFunc(name, func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
		})
}

// Fill makes the message of a message file and the values of its columns. The
// error is ErrUnknown, ErrMemory or a *Problems, which name files within the
// folder alone.
func (f Folder) Fill(ctx context.Context, name string, values Row) (*Filled, error) {
	var filled *Filled
	err := f.FillRows(ctx, name, []Row{values}, func(one *Filled) error { filled = one; return nil })
	var wrong *Problems
	if errors.As(err, &wrong) {
		for i := range wrong.List {
			wrong.List[i].Row = 0 // there is no other
		}
	}
	if err != nil {
		return nil, err
	}
	return filled, nil
}

// Check looks at a message file as far as it goes without values. The error is
// ErrUnknown or a *Problems.
func (f Folder) Check(ctx context.Context, name string) error {
	p, err := f.plan(ctx, name)
	if err == nil {
		p.Close()
	}
	return err
}

func (f Folder) plan(ctx context.Context, name string) (*Plan, error) {
	if f.Dir == "" || !isName(name) {
		return nil, ErrUnknown
	}
	step := &Step{Path: name + ".toml", Dir: f.Dir, InlineCSS: true, ForOthers: true, quiet: !f.Words}
	text, err := step.read(step.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, ErrUnknown
	case err != nil:
		return nil, one(Problem{Kind: NoInput, File: step.Path, Text: "cannot be read: " + Reason(err)})
	}
	if err := step.parse(text); err != nil {
		return nil, err
	}
	return Prepare(ctx, step, Options{Now: time.Now(), Domain: f.Domain, Book: f.Book})
}
