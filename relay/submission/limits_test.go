package submission

import "testing"

func TestTooLarge(t *testing.T) {
	for _, c := range []struct {
		size, max int64
		want      string
	}{
		{12_300_000, 10_000_000, "your message of 12.3 MB is larger than the limit of 10 MB"},
		{35<<20 + 1, 35 << 20, "your message of 35.1 MiB is larger than the limit of 35 MiB"},
		{1<<30 + 1, 1 << 30, "your message of 1.01 GiB is larger than the limit of 1 GiB"},
		{150<<20 + 1, 150 << 20, "your message of 151 MiB is larger than the limit of 150 MiB"},
		{200 << 20, 10 << 20, "your message of 200 MiB is larger than the limit of 10 MiB"},
		{31, 30, "your message of 31 bytes is larger than the limit of 30 bytes"},
		{0, 10_000_000, "message is larger than the limit of 10 MB"},
	} {
		if r := TooLarge(c.size, c.max); r.Sentence != c.want || r.Code != 552 || r.Enhanced != [3]int{5, 3, 4} {
			t.Errorf("%d of %d: %v, want %s", c.size, c.max, r, c.want)
		}
	}
}
