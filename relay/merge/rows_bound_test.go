package merge

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestRowsAreBounded: rows end at their bound, and with the context.
func TestRowsAreBounded(t *testing.T) {
	defer func(n int64) { maxRows = n }(maxRows)
	maxRows = 1 << 20
	s := &Step{Rows: Rows{File: "-"}}
	read := func(ctx context.Context, text string) error {
		_, err := s.readRows(ctx, &Options{Stdin: strings.NewReader(text)}, &Problems{}, func(Problem) {})
		return err
	}
	for format, text := range map[string]string{
		"CSV": "a,b\n" + strings.Repeat("1,2\n", 1<<18), "JSON": "[" + strings.Repeat("{\"a\":1},", 1<<17) + "{\"a\":1}]",
		"NDJSON": strings.Repeat("{\"a\":1}\n", 1<<18), "XLSX": "PK\x03\x04" + strings.Repeat("x", 1<<20),
	} {
		if err := read(t.Context(), text); err == nil || !strings.Contains(err.Error(), "there are more than 1 MiB of rows") {
			t.Errorf("%s: %v", format, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := read(ctx, "a,b\n1,2\n"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
