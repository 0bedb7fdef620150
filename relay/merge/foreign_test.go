package merge

import (
	"strings"
	"testing"
)

// Whoever uses a message file need not be allowed to read it: problems repeat no
// words of what cannot be understood, unless they are for who may.
func TestForeignWords(t *testing.T) {
	const word = "F0reign"
	files := map[string]string{"t.html": "{{WORD}}", "u.html": "{{if}}WORD"}
	for _, text := range []string{
		"root:$6$WORD:1:::", "WORD", "aws = WORD", "WORD = 1", "[WORD]\na = 1", "aws.WORD = 1\na.b = 'WORD'", "[[WORD]]\na = 1",
		"subject = '{{WORD}}'", "subject = '{{WORD'", "html_file = 't.html'", "html_file = 'u.html'", "text_file = 't.html'",
		`a = "WORD\q"`, "a = 1WORD", "[WORD", "markdown = '{{block \"WORD\"}}'",
	} {
		files["x.toml"] = text
		for name, text := range files {
			files[name] = strings.ReplaceAll(text, "WORD", word)
		}
		f := folderOf(t, files)
		err := f.Check(t.Context(), "x")
		if err == nil {
			t.Errorf("%q can be used", text)
			continue
		}
		if strings.Contains(err.Error(), word) {
			t.Errorf("%q: %s", text, err)
		}
		if !strings.Contains(err.Error(), "x.toml") && !strings.Contains(err.Error(), ".html:1") {
			t.Errorf("%q does not say where: %s", text, err)
		}
		if f.Words = true; text == "WORD = 1" && !strings.Contains(f.Check(t.Context(), "x").Error(), word+": unknown key") {
			t.Errorf("%q: whoever may read it is told %v", text, f.Check(t.Context(), "x"))
		}
	}
}
