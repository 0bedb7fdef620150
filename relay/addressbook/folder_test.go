package addressbook

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// folderOf makes a folder with files by their names.
func folderOf(t testing.TB, files map[string]string) *Folder {
	t.Helper()
	f := &Folder{Name: "team", Dir: t.TempDir()}
	for name, text := range files {
		put(t, f, name, text)
	}
	return f
}

func put(t testing.TB, f *Folder, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func index(t testing.TB, f *Folder) *Index {
	t.Helper()
	f.Refresh()
	x, err := f.Index()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func person(uid, name, more string) string {
	return vcard("4.0", "UID:"+uid+"\nFN:"+name+"\nEMAIL:"+uid+"@example.com\n"+more)
}

// A card that can't be used is named and left alone; the others are there.
func TestBrokenCardsAreNamedAndLeftAlone(t *testing.T) {
	f := folderOf(t, map[string]string{
		"alice.vcf": person("alice", "Alice", ""), "broken.vcf": "not a card", "twin.vcf": person("alice", "Other", ""),
		"two.vcf": person("a", "A", "") + person("b", "B", ""), ".hidden.vcf": "no", "notes.txt": "no",
		"noaddress.vcf": vcard("3.0", "FN:Nobody\nEMAIL:x@\n"),
	})
	if err := os.Mkdir(filepath.Join(f.Dir, "dir.vcf"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("alice.vcf", filepath.Join(f.Dir, "link.vcf")); err != nil {
		t.Skip(err)
	}
	x := index(t, f)
	var faults []string
	for _, f := range x.Faults {
		faults = append(faults, f.String())
	}
	want := []string{
		"team: broken.vcf: line 1: is not NAME:VALUE", "team: dir.vcf: is no regular file", "team: link.vcf: is no regular file",
		`team: noaddress.vcf: EMAIL "x@" is not an address`, "team: twin.vcf: has the UID of alice.vcf", "team: two.vcf: holds 2 cards, and a file of a folder holds one",
	}
	if !slices.Equal(faults, want) {
		t.Errorf("faults\n%q, want\n%q", faults, want)
	}
	if len(x.Entries) != 3 || x.ByUID("noaddress") == nil { // a card without a UID has its file's name
		t.Errorf("%d entries", len(x.Entries))
	}
	if _, err := f.Add(NewCard()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(f.Dir, "broken.vcf")); string(text) != "not a card" {
		t.Errorf("the broken card became %q, %v", text, err)
	}
}

func TestFolderFollowsItsFiles(t *testing.T) {
	f := folderOf(t, map[string]string{"a.vcf": person("a", "Alice", "")})
	before := index(t, f)
	put(t, f, "a.vcf", person("a", "Ellie", "")) // of the same size, within the same second
	put(t, f, "b.vcf", person("b", "Bob", ""))
	if x := index(t, f); len(x.Entries) != 2 || x.ByUID("a").Name != "Ellie" || before.ByUID("a").Name != "Alice" {
		t.Errorf("it holds %+v", x.Entries)
	}
	if err := os.Remove(filepath.Join(f.Dir, "a.vcf")); err != nil {
		t.Fatal(err)
	}
	if x := index(t, f); len(x.Entries) != 1 || x.ByUID("a") != nil {
		t.Errorf("it holds %+v", x.Entries)
	}
	missing := &Folder{Name: "none", Dir: filepath.Join(f.Dir, "none")}
	if x, err := missing.Index(); err != nil || len(x.Entries) != 0 {
		t.Errorf("a folder that isn't there: %v", err)
	}
	file := &Folder{Name: "file", Dir: filepath.Join(f.Dir, "b.vcf")}
	if _, err := file.Index(); err == nil || !strings.Contains(err.Error(), "the folder of file cannot be read") {
		t.Errorf("a folder that is a file: %v", err)
	}
}

// Writers at once lose nothing: those of ours in one process and in several, as
// each has a Folder of its own.
func TestWritersLoseNothing(t *testing.T) {
	f := folderOf(t, map[string]string{"a.vcf": person("a", "Alice", "")})
	e := index(t, f).ByUID("a")
	const writers, each = 4, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			own := &Folder{Name: f.Name, Dir: f.Dir}
			for i := range each {
				group := fmt.Sprintf("%d-%d", w, i)
				err := own.Change(e, func(c *Card) (bool, error) {
					c.SetGroups(append(c.Entry().Groups, group))
					return true, nil
				})
				if err != nil {
					t.Error(err)
				}
				c := NewCard()
				c.SetName(group)
				if _, err := own.Add(c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	x := index(t, f)
	if got := len(x.ByUID("a").Groups); got != writers*each {
		t.Errorf("the card has %d groups, want %d", got, writers*each)
	}
	if got := len(x.Entries); got != 1+writers*each {
		t.Errorf("there are %d cards, want %d", got, 1+writers*each)
	}
	left, err := filepath.Glob(filepath.Join(f.Dir, ".*.tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %q %v", left, err)
	}
}

// What another program has written since is not overwritten.
func TestForeignWriters(t *testing.T) {
	f := folderOf(t, map[string]string{"a.vcf": person("a", "Alice", "")})
	s, err := f.Get(index(t, f).ByUID("a"))
	if err != nil {
		t.Fatal(err)
	}
	foreign := person("a", "Alice", "NOTE:of another program\n")
	put(t, f, "a.vcf", foreign)
	s.SetName("Ours")
	if err := f.Replace(s, s.Card); !errors.Is(err, ErrChanged) {
		t.Errorf("Replace: %v", err)
	}
	if err := f.Remove(s); !errors.Is(err, ErrChanged) {
		t.Errorf("Remove: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(f.Dir, "a.vcf")); string(text) != foreign {
		t.Errorf("the card became %q, %v", text, err)
	}
	rounds := 0
	err = f.Change(s.Entry, func(c *Card) (bool, error) {
		if rounds++; rounds == 1 { // between the reading and the writing
			put(t, f, "a.vcf", person("a", "Alice", "NOTE:again\n"))
		}
		c.SetName("Ours")
		return true, nil
	})
	text, _ := os.ReadFile(filepath.Join(f.Dir, "a.vcf"))
	if err != nil || rounds != 2 || !strings.Contains(string(text), "NOTE:again") || !strings.Contains(string(text), "FN:Ours") {
		t.Errorf("Change: %v after %d rounds\n%s", err, rounds, text)
	}
	os.Remove(filepath.Join(f.Dir, "a.vcf"))
	if _, err := f.Get(s.Entry); !errors.Is(err, ErrGone) {
		t.Errorf("Get: %v", err)
	}
}

func TestNamesOfFiles(t *testing.T) {
	f := folderOf(t, nil)
	for _, uid := range []string{"plain-1", "../../etc/passwd", ".lock", "a/b", strings.Repeat("x", 300), "urn:uuid:77"} {
		c := NewCard()
		c.set("UID", uid)
		e, err := f.Add(c)
		if err != nil {
			t.Fatalf("%s: %v", uid, err)
		}
		if filepath.Base(e.File) != e.File || !isCardName(e.File) {
			t.Errorf("%s: the file %s", uid, e.File)
		}
		if _, err := f.Add(c); !errors.Is(err, ErrThere) {
			t.Errorf("%s twice: %v", uid, err)
		}
	}
	if x := index(t, f); len(x.Entries) != 6 || x.ByUID("77") == nil {
		t.Errorf("%d entries, %v", len(x.Entries), x.Faults)
	}
	if _, err := f.Get(&Entry{File: "../x.vcf"}); !errors.Is(err, ErrGone) {
		t.Errorf("a path: %v", err)
	}
}
