package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file of the folder can be a link to what whoever asks for a reload may not
// read: a problem repeats no words of what is not TOML.
func TestForeignFurtherFile(t *testing.T) {
	const word = "F0reign"
	for _, text := range []string{
		"root:$6$WORD:1:::", "WORD", "aws = WORD", "machine WORD login b", "-----BEGIN WORD KEY-----", "c2VjWORD==", `"WORD`, `a."WORD`, `a = "WORD\q"`,
		"a = 1WORD", `a = "x" WORD`, "WORD.b = WORD", "[WORD", "[[WORD] ]", "a = [WORD", "a = {WORD", "a = trueWORD", "a = 2020-01-01WORD", "[x]\npassword = WORD",
	} {
		dir := t.TempDir()
		main, foreign := filepath.Join(dir, mainName), filepath.Join(dir, "foreign")
		if err := os.Mkdir(filepath.Join(dir, furtherName), 0o700); err != nil {
			t.Fatal(err)
		}
		for path, content := range map[string]string{main: "", foreign: strings.ReplaceAll(text, "WORD", word) + "\n"} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(foreign, filepath.Join(dir, furtherName, "x.toml")); err != nil {
			t.Skip(err) // Windows asks for a right
		}
		doc := readDocument(main)
		told := false
		for _, p := range doc.problems.list {
			told = told || p.Line > 0 && strings.HasSuffix(p.File, "x.toml")
			if strings.Contains(strings.ToLower(p.String()), strings.ToLower(word)) {
				t.Errorf("%q: %s", text, p.String())
			}
		}
		if !told {
			t.Errorf("%q is not told of: %v", text, doc.problems.list)
		}
	}
}

// Where a file of the folder is a link that leads elsewhere, and is TOML, whoever
// may not read it is told the lines alone.
func TestForeignKeys(t *testing.T) {
	const word = "F0reign"
	for _, text := range []string{
		"WORD = 1", "a = 1\n[WORD.b]\nc = 'd'", "[upstream.WORD]\nhost = 1", "[upstream.a]\nWORD = 1", "hostname = 'WORD WORD'", "[[route]]\nfrom = ['WORD']",
		"[retry]\n[retry.WORD]", "[log]\nlevel = 'WORD'",
	} {
		dir, elsewhere := t.TempDir(), t.TempDir()
		main, foreign := filepath.Join(dir, mainName), filepath.Join(elsewhere, "foreign")
		if err := os.Mkdir(filepath.Join(dir, furtherName), 0o700); err != nil {
			t.Fatal(err)
		}
		for path, content := range map[string]string{main: "[retry]\n", foreign: strings.ReplaceAll(text, "WORD", word) + "\n"} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		link := filepath.Join(dir, furtherName, "x.toml")
		if err := os.Symlink(foreign, link); err != nil {
			t.Skip(err) // Windows asks for a right
		}
		_, err := Load(main)
		var found *Problems
		if !errors.As(err, &found) {
			t.Fatalf("%q: %v", text, err)
		}
		if strings.Contains(text, "WORD = 1") && !strings.Contains(found.Error(), word+": unknown key") {
			t.Errorf("%q: whoever may read it is told %s", text, found)
		}
		told := found.ForOthers().Error()
		if strings.Contains(told, word) || !strings.Contains(told, link+":") || len(found.ForOthers().List) != len(found.List) {
			t.Errorf("%q: %s", text, told)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(foreign, filepath.Join(dir, "available")); err != nil { // as links of Debian's and of Kubernetes
			t.Fatal(err)
		}
		if err := os.Symlink("../available", link); err != nil {
			t.Fatal(err)
		}
		_, err = Load(main)
		if !errors.As(err, &found) || found.ForOthers().Error() != found.Error() {
			t.Errorf("%q: a link within the folder: %v", text, err)
		}
	}
}
