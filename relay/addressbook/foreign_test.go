package addressbook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/config"
)

// The file of a book can be a link to what whoever asks the book may not read:
// nothing repeats words of what is no book.
func TestForeignWords(t *testing.T) {
	const word = "F0reign"
	for _, format := range Formats {
		for _, text := range []string{
			"root:$6$WORD:1:::", "WORD", "a,WORD\nb,c", "machine WORD login WORD", "-----BEGIN WORD KEY-----\nWORD\n", "mail: WORD", "member: WORD",
			"mail:: WORD", "cn: WORD\nmail: WORD\n\nmail: WORD", "WORD: x", "BEGIN:VCARD\nWORD", "version: 1\nmail: WORD",
		} {
			path := filepath.Join(t.TempDir(), "foreign")
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "WORD", word)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, columns := range []map[string]string{nil, {"email": "e-mail"}} {
				b := &fileBook{settings: config.Book{Name: "o", Provider: format, File: path, Columns: columns}}
				index, err := b.Index()
				told := ""
				if err != nil {
					told = err.Error()
				} else {
					for _, f := range index.Faults {
						told += f.String() + "\n"
					}
				}
				if strings.Contains(told, word) {
					t.Errorf("%s of %q: %s", format, text, told)
				}
			}
		}
	}
}
