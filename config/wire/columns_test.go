package wire

import "testing"

func TestColumns(t *testing.T) {
	for s, want := range map[string]int{"": 0, "a b": 3, "Zoë": 3, "表示": 4, "e\u0301x": 2, "ｶ": 1, "Ａ": 2, "😀": 2} {
		if got := Columns(s); got != want {
			t.Errorf("%q: %d columns, want %d", s, got, want)
		}
		for n := range want + 1 {
			if cut := Within(s, n); Columns(cut) > n || s[:len(cut)] != cut || n == want && cut != s {
				t.Errorf("%q within %d: %q", s, n, cut)
			}
		}
	}
}
