package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var (
	errNotDuration = errors.New(`is not a duration such as "90s", "5m" or "1d"`)
	errNotSize     = errors.New(`is not a size such as "256MiB" or "35MB"`)
	errTooLarge    = errors.New("is too large")
)

// ParseDuration reads a duration: numbers with the units of Go (ns, us, ms,
// s, m, h) and d (24 hours) and w (7 days), largest or smallest first, such
// as "1w2d", "90s" or "1.5h". "0" needs no unit. Negative ones are refused.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	var total time.Duration
	for rest := s; ; {
		number, unit, after := splitQuantity(rest)
		d, err := oneDuration(number, unit)
		if err != nil {
			return 0, err
		}
		if total > math.MaxInt64-d {
			return 0, errTooLarge
		}
		total += d
		if after == "" {
			return total, nil
		}
		rest = after
	}
}

func oneDuration(number, unit string) (time.Duration, error) {
	if number == "" || unit == "" {
		return 0, errNotDuration
	}
	days := map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}[unit]
	if days == 0 {
		d, err := time.ParseDuration(number + unit)
		if err != nil {
			return 0, errNotDuration
		}
		return d, nil
	}
	return scale(number, int64(days), errNotDuration)
}

// scale multiplies a decimal number by a unit, rounding down.
func scale(number string, unit int64, malformed error) (time.Duration, error) {
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > math.MaxInt64/unit {
			return 0, errTooLarge
		}
		return time.Duration(n * unit), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, malformed
	}
	if f*float64(unit) >= math.MaxInt64 {
		return 0, errTooLarge
	}
	return time.Duration(f * float64(unit)), nil
}

// splitQuantity cuts "90m30s" into "90", "m" and "30s".
func splitQuantity(s string) (number, unit, rest string) {
	isDigit := func(c byte) bool { return c >= '0' && c <= '9' || c == '.' }
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	j := i
	for j < len(s) && !isDigit(s[j]) {
		j++
	}
	return s[:i], s[i:j], s[j:]
}

var sizeUnits = map[string]int64{
	"B":  1,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// parseSize reads a size in bytes: a number with B, KB, MB, GB, TB (powers of
// 1000) or KiB, MiB, GiB, TiB (powers of 1024). "0" needs no unit.
func parseSize(s string) (int64, error) {
	if s == "0" {
		return 0, nil
	}
	number, unit, rest := splitQuantity(s)
	factor := sizeUnits[strings.TrimPrefix(unit, " ")]
	if number == "" || factor == 0 || rest != "" {
		return 0, errNotSize
	}
	n, err := scale(number, factor, errNotSize)
	return int64(n), err
}

// FormatSize writes a size the way parseSize reads it.
func FormatSize(n int64) string {
	if n == 0 {
		return "0"
	}
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "KB"} {
		if n%sizeUnits[unit] == 0 {
			return strconv.FormatInt(n/sizeUnits[unit], 10) + unit
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// RoughDuration is a duration as a person says it: "3m", "2h5m", "4d".
func RoughDuration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		if m := int(d.Minutes()) % 60; m > 0 {
			return fmt.Sprintf("%dh%dm", int(d.Hours()), m)
		}
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// formatDuration writes a duration the way ParseDuration reads it: "5m"
// rather than "5m0s", "5d" rather than "120h0m0s".
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	const day = 24 * time.Hour
	switch {
	case d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return d.String()
}

// Rate is how much may go to an upstream in any stretch of time of that
// length: messages, or recipients of messages.
type Rate struct {
	Count      int           // at least 1
	Recipients bool          // Count is of recipients; otherwise of messages
	Per        time.Duration // from 1 s to 31 d
}

// The bounds of a rate.
const (
	maxRateCount = 10_000_000
	minRatePer   = time.Second
	maxRatePer   = 31 * 24 * time.Hour
	maxRates     = 8 // of one upstream
)

// String writes a rate as the file does: "30/1m", "10000 recipients/1d".
func (r Rate) String() string {
	what := ""
	if r.Recipients {
		what = " recipients"
	}
	return strconv.Itoa(r.Count) + what + "/" + formatDuration(r.Per)
}

// ParseRate reads "COUNT/PERIOD" or "COUNT recipients/PERIOD", where PERIOD is
// a duration as ParseDuration reads it. The error completes a sentence that
// begins with the text.
func ParseRate(s string) (Rate, error) {
	var r Rate
	amount, period, ok := strings.Cut(s, "/")
	if !ok {
		return Rate{}, errors.New("has no period")
	}
	number, what, named := strings.Cut(amount, " ")
	if named && what != "recipients" {
		return Rate{}, fmt.Errorf("counts %q, which is not known", what)
	}
	r.Recipients = named
	n, err := strconv.ParseUint(number, 10, 63)
	if errors.Is(err, strconv.ErrRange) {
		n, err = maxRateCount+1, nil
	}
	switch {
	case err != nil:
		return Rate{}, errors.New("does not begin with a whole number")
	case n == 0:
		return Rate{}, errors.New("would let nothing through")
	case n > maxRateCount:
		return Rate{}, fmt.Errorf("counts further than %d", maxRateCount)
	}
	r.Count = int(n)
	r.Per, err = ParseDuration(period)
	switch {
	case err != nil:
		return Rate{}, fmt.Errorf("has the period %q, which %w", period, err)
	case r.Per < minRatePer:
		return Rate{}, errors.New("has a period of less than " + formatDuration(minRatePer))
	case r.Per > maxRatePer:
		return Rate{}, errors.New("has a period of more than " + formatDuration(maxRatePer))
	}
	return r, nil
}

// rateHint is shown with whatever is wrong with a rate.
const rateHint = `"30/1m" is 30 messages in any minute, "10000 recipients/24h" counts recipients`

// readRates reads rate = "30/1m", or a list of such. An empty list takes away
// what a provider would set.
func readRates(f field, v any) (rates []Rate, ok bool) {
	switch v := v.(type) {
	case string:
		return readRate(f, v, nil), true
	case []any:
		if len(v) > maxRates {
			return nil, f.problem(fmt.Sprintf("has %d entries", len(v)), fmt.Sprintf("at most %d", maxRates))
		}
		for i, element := range v {
			rates = readRate(f.element(i), element, rates)
		}
		return rates, true
	}
	return nil, f.problem("must be a string or a list of strings, not "+typeOf(v), rateHint)
}

// readRate appends one to rates, where it can be used beside them.
func readRate(f field, v any, rates []Rate) []Rate {
	s, ok := v.(string)
	if !ok {
		f.problem("must be a string, not "+typeOf(v), rateHint)
		return rates
	}
	r, err := ParseRate(s)
	if err != nil {
		f.problem(strconv.Quote(s)+" "+err.Error(), rateHint)
		return rates
	}
	for _, other := range rates {
		if other.Recipients == r.Recipients && other.Per == r.Per {
			f.problem(fmt.Sprintf("%q is for the same period as %q", s, other), "keep the smaller one")
			return rates
		}
	}
	return append(rates, r)
}

// RoughSize is a number of bytes as a person says it: "1.5 MiB".
func RoughSize(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, suffix := float64(n)/unit, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if v < unit {
			break
		}
		v, suffix = v/unit, next
	}
	return fmt.Sprintf("%.1f %s", v, suffix)
}
