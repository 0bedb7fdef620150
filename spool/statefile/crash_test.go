package statefile

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// remains is what a power cut may leave of a folder: the state of each file that
// is durable, and those that are not.
type remains struct {
	entries map[string][]byte // names that are durable
	pending map[string][]byte // names as they are now; a cut keeps some of them
}

// look reads the folder as it is in memory of the system.
func look(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range list {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = content
	}
	return files
}

// cuts are the folders that a cut at this moment may leave: each name as it is
// durable, or as it is now; and a file that is not synced of any length, and
// with zeros.
func (d *remains) cuts(synced bool) []map[string][]byte {
	var all []map[string][]byte
	for _, entries := range []map[string][]byte{d.entries, d.pending} {
		for _, other := range []map[string][]byte{d.entries, d.pending} {
			// The entry of the file from one, that of the temporary file from the other.
			left := map[string][]byte{}
			if c, ok := entries["fact"]; ok {
				left["fact"] = c
			}
			if c, ok := other["fact.new"]; ok {
				left["fact.new"] = c
			}
			all = append(all, left)
		}
	}
	if synced {
		return all
	}
	for _, left := range slices.Clone(all) {
		for name, content := range left {
			if !bytes.Equal(content, d.entries[name]) {
				for n := range content {
					for _, wreck := range [][]byte{content[:n], make([]byte, n), append(bytes.Clone(content[:n]), make([]byte, len(content)-n)...)} {
						one := map[string][]byte{}
						for k, v := range left {
							one[k] = v
						}
						one[name] = wreck
						all = append(all, one)
					}
				}
			}
		}
	}
	return all
}

// crash cuts the power before each step of a write, and after it, and returns
// what a reader then finds that is neither the old nor the new content, or
// what a write that was acknowledged has lost. skip takes a step out.
func crash(t *testing.T, skip string) (wrong []string, states int) {
	d := folder(t)
	write(t, d, "old content")
	at := &remains{entries: look(t, d.Dir)}
	synced := false
	check := func(when string, acknowledged bool) {
		at.pending = look(t, d.Dir)
		for _, files := range at.cuts(synced) {
			states++
			left := folder(t)
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(left.Dir, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := left.Read("fact", 100)
			if err != nil || string(got) != "new content" && (acknowledged || string(got) != "old content") {
				wrong = append(wrong, when+": "+string(got))
				continue
			}
			write(t, left, "newest") // nothing that is left is in the way
		}
	}
	var last string
	d.Step = func(operation string) error {
		// last is done by now.
		synced = synced || last == "sync" && skip != "sync"
		check("before "+operation, false)
		last = operation
		return nil
	}
	write(t, d, "new content")
	if last == "sync folder" && skip != last {
		at.entries = look(t, d.Dir)
	}
	check("after all", true)
	return wrong, states
}

// TestPowerCuts: whenever the power goes, there is the old content or the new
// one, and after Write has returned the new one. Without one of the two syncs
// there would not be.
func TestPowerCuts(t *testing.T) {
	wrong, states := crash(t, "")
	if len(wrong) > 0 || states < 50 {
		t.Errorf("%d states, wrong %q", states, wrong)
	}
	t.Logf("%d states", states)
	for _, skip := range []string{"sync", "sync folder"} {
		if wrong, _ := crash(t, skip); len(wrong) == 0 {
			t.Errorf("it is not noticed that %q is missing", skip)
		}
	}
}
