package importer

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/config"
)

// sources are the relays whose settings can be read, each from a path.
var sources = map[string]func(path string) (*Found, error){
	"dma": readDMA, "exim": readExim, "iis": readIIS, "msmtp": readMSMTP, "nullmailer": readNullmailer, "ssmtp": readSSMTP,
	"postfix": readPostfix,
}

// Sources are the names that Read knows, sorted.
func Sources() []string { return slices.Sorted(maps.Keys(sources)) }

// Unreadable is the error of settings that cannot be read.
type Unreadable struct {
	Path string // with a line, where one is to blame
	Err  error
}

func (u *Unreadable) Error() string { return u.Path + " " + u.sentence() }
func (u *Unreadable) Unwrap() error { return u.Err }

func (u *Unreadable) sentence() string {
	if errors.Is(u.Err, fs.ErrNotExist) {
		return "is not there"
	}
	if errors.Is(u.Err, fs.ErrPermission) {
		return "may not be read by this user"
	}
	return u.Err.Error()
}

// Read reads the settings of a relay, one of Sources. The error is an
// *Unreadable where the file cannot be read; what is merely not understood
// stands in the Notes of what was found.
func Read(source, path string) (*Found, error) {
	read, ok := sources[source]
	if !ok {
		return nil, fmt.Errorf("there is no source %q", source)
	}
	f, err := read(path)
	if err != nil {
		return nil, err
	}
	f.tidy()
	return f, nil
}

// maxNotes bounds what is told of strange settings, and maxConfig the file, of
// which Postern reads no more.
const (
	maxNotes  = 2000
	maxConfig = 4 << 20
)

// Verify tells whether Postern takes the file that f makes at the path out, with
// the further files beside it, and what it warns of; an empty out has none. Nothing
// is written but copies of the passwords, in a folder of its own. What is wrong in
// a further file has its name.
func (f *Found) Verify(source, path, out string) (warnings []config.Problem, err error) {
	dir, err := os.MkdirTemp("", "postern-import")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	secrets := map[*Upstream]string{}
	for _, u := range f.Upstreams {
		if u.Password == "" {
			continue
		}
		secrets[u] = filepath.Join(dir, u.Name+".pw")
		if err := os.WriteFile(secrets[u], []byte("x\n"), 0o600); err != nil {
			return nil, err
		}
	}
	file := out
	if file == "" {
		file = filepath.Join(dir, "imported.toml")
	} else if file, err = filepath.Abs(file); err != nil {
		return nil, err
	}
	for _, secrets := range []map[*Upstream]string{secrets, nil} {
		text := f.TOML(source, path, secrets)
		if len(text) > maxConfig {
			return nil, fmt.Errorf("the configuration would have %d bytes, and Postern reads %d", len(text), maxConfig)
		}
		cfg, err := config.LoadAs(file, string(text))
		if err != nil {
			if warnings, err = f.kept.excused(file, err); err != nil {
				return nil, err
			}
			continue
		}
		warnings = slices.Clone(cfg.Warnings)
		for i := range warnings {
			unplaced(&warnings[i], file)
		}
	}
	return warnings, nil
}

// Left counts what is left to do: the notes that say so, and sign-ins without a
// password.
func (f *Found) Left(secrets map[*Upstream]string) (n int) {
	count := func(notes []Note) {
		for _, note := range notes {
			if note.Do != "" {
				n++
			}
		}
	}
	count(f.Notes)
	for i := range f.Listeners {
		count(f.Listeners[i].Notes)
	}
	for _, u := range f.Upstreams {
		count(u.Notes)
		if u.Username != "" && u.Command == "" && secrets[u] == "" {
			n++
		}
	}
	return n
}

// tidy tells everything once, in the order of the files, and brings what was
// found within what Postern takes.
func (f *Found) tidy() {
	f.settleAliases()
	told := map[Note]bool{}
	once := func(notes []Note) []Note {
		notes = slices.DeleteFunc(notes, func(n Note) bool {
			again := told[n]
			told[n] = true
			return again
		})
		slices.SortStableFunc(notes, func(a, b Note) int {
			return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
		})
		return notes
	}
	f.Notes = once(f.Notes)
	for i := range f.Listeners {
		f.Listeners[i].Notes = once(f.Listeners[i].Notes)
	}
	for _, u := range f.Upstreams {
		u.Notes = once(u.Notes)
	}
	if len(f.Notes) > maxNotes {
		more := len(f.Notes) - maxNotes
		f.Notes = f.Notes[:maxNotes]
		f.note(f.Notes[0].Place, fmt.Sprintf("%d more remarks are left out", more), "")
	}
	if len(f.Routes) == 0 && len(f.Upstreams) > 0 {
		f.note(f.Upstreams[0].Place, "nothing says which mail goes where. ALL MAIL IS REFUSED for now", "name the upstream in the [[route]] in place of reject")
		f.route(Route{Place: f.Upstreams[0].Place, From: []string{"*"}, Reject: "this relay has no route yet"})
	}
	f.Lifetime = bounded(f.Lifetime, time.Minute, 100*24*time.Hour)
	lifetime := cmp.Or(f.Lifetime, 5*24*time.Hour) // the default
	for i, d := range f.Backoff {
		f.Backoff[i] = bounded(d, time.Second, 100*24*time.Hour)
	}
	if len(f.Backoff) > 0 && f.Backoff[0] >= lifetime {
		f.Backoff = nil
	}
	if f.WarnAfter >= lifetime {
		f.WarnAfter = 0
	}
}
