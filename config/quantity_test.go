package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "90s": 90 * time.Second, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute,
		"1.5h": 90 * time.Minute, "5d": 5 * day, "1w": 7 * day, "1w2d3h": 9*day + 3*time.Hour, "0.5d": 12 * time.Hour,
		"250ms": 250 * time.Millisecond, "15250w": 15250 * 7 * day,
	} {
		if got, err := ParseDuration(s); got != want || err != nil {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "5", "5 m", "-5m", "+5m", "m", "5x", "5mm", "1.2.3h", "5m ", " 5m", "1e3s", "٥m", "0x5m", ".h", ".d",
		"15251w", "106752d", "99999999999999999999d", "99999999999999999999w", "9223372036854775807ns1ns", "NaNd", "Infd", "5d5",
	} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", s, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "10GiB": 10 << 30, "256MiB": 256 << 20, "35MB": 35e6, "1KiB": 1024, "1kB": 1000, "1KB": 1000,
		"7B": 7, "1.5MiB": 3 << 19, "10 GiB": 10 << 30, "8388607TiB": 8388607 << 40,
	} {
		if got, err := parseSize(s); got != want || err != nil {
			t.Errorf("parseSize(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "10", "10G", "10gib", "-1MiB", "MiB", "10MiB5", "10MiB ", "10  MiB", "1.2.3MiB", "8388608TiB", "1e9B", "99999999999999999999B",
	} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("parseSize(%q) = %v, want an error", s, got)
		}
	}
}

// What is written can be read again.
func TestFormatRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Min(0).Draw(t, "duration"))
		if got, err := ParseDuration(formatDuration(d)); got != d || err != nil {
			t.Fatalf("ParseDuration(%q) = %v, %v; want %v", formatDuration(d), got, err, d)
		}
		n := rapid.Int64Min(0).Draw(t, "size") &^ (1<<rapid.IntRange(0, 40).Draw(t, "zero bits") - 1)
		if got, err := parseSize(FormatSize(n)); got != n || err != nil {
			t.Fatalf("parseSize(%q) = %v, %v; want %v", FormatSize(n), got, err, n)
		}
	})
}

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
