package merge

import (
	"strings"
	"testing"
)

// A format, which may be a value of a row, takes no more memory than a body may.
func TestPrintfIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		format string
		args   []any
		want   string // empty: an error
	}{
		"ordinary":           {"%05.2f|%-4s|%q|%%|5 * 3", []any{3.14159, "ab", "x"}, `03.14|ab  |"x"|%|5 * 3`},
		"a wide verb":        {"%999999d", []any{1}, ""},
		"by an index":        {"%[1]999999d", []any{1}, ""},
		"width as argument":  {"%*d", []any{999999, 1}, ""},
		"precision the same": {"%.*f", []any{999999, 1.0}, ""},
		"many verbs":         {strings.Repeat("%[1]999d", 100_000), []any{1}, ""},
		"many long ones":     {strings.Repeat("%[1]s", 1000), []any{strings.Repeat("x", 1<<20)}, ""},
		"long and escaped":   {"%+q", []any{strings.Repeat("\u200b", maxBody/4)}, ""},
	} {
		got, err := printf(c.format, c.args...)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %.60q, %v", name, got, err)
		}
	}
}
