package manual

import "testing"

// Whatever a text holds, troff prints it and obeys none of it.
func TestText(t *testing.T) {
	for text, want := range map[string]string{
		".so /etc/passwd":       "\\&.so /etc/passwd\n",
		"'br":                   "\\(aqbr\n",
		`a\fBb`:                 "a\\efBb\n",
		"-f '<>' …":             "\\-f \\(aq<>\\(aq ...\n",
		"Zürich ~^":             "Z\\[u00FC]rich \\(ti\\(ha\n",
		"say `postern check`.":  "say \\fBpostern check\\fP.\n",
		"`.x` of a ` backquote": "\\fB.x\\fP of a \\(ga backquote\n",
		"one two three four five six seven eight nine ten eleven twelve thirteen fourteen .15": "one two three four five six seven eight nine ten eleven twelve thirteen\nfourteen .15\n",
		"one two three four five six seven eight nine ten eleven twelve thirteen 14 of .15":    "one two three four five six seven eight nine ten eleven twelve thirteen 14 of\n\\&.15\n",
	} {
		p := &page{}
		p.flow(text)
		if p.String() != want {
			t.Errorf("%q: %q, want %q", text, p.String(), want)
		}
	}
}

func TestParagraphs(t *testing.T) {
	p := &page{}
	p.paragraphs("One\ntwo.\n\nThree:\n  ls\n    .x\n\nFour.\n")
	want := "One two.\n.PP\nThree:\n.PP\n.RS 4\n.nf\nls\n  .x\n.fi\n.RE\n.PP\nFour.\n"
	if p.String() != want {
		t.Errorf("%q, want %q", p.String(), want)
	}
}
