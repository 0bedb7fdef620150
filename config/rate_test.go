package config

import (
	"testing"
	"time"
)

// A rate is read back as it was written.
func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"30/1m":                  {30, false, time.Minute},
		"14/1s":                  {14, false, time.Second},
		"10000 recipients/24h":   {10000, true, 24 * time.Hour},
		"1/31d":                  {1, false, 31 * 24 * time.Hour},
		"5/1m30s":                {5, false, 90 * time.Second},
		"10000000 recipients/1w": {10_000_000, true, 7 * 24 * time.Hour},
	} {
		got, err := ParseRate(text)
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
		if again, err := ParseRate(got.String()); err != nil || again != got {
			t.Errorf("%q is written as %q, which is %+v, %v", text, got, again, err)
		}
	}
}
