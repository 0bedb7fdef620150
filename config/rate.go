package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

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
	return strconv.Itoa(r.Count) + what + "/" + FormatDuration(r.Per)
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
		return Rate{}, errors.New("has a period of less than " + FormatDuration(minRatePer))
	case r.Per > maxRatePer:
		return Rate{}, errors.New("has a period of more than " + FormatDuration(maxRatePer))
	}
	return r, nil
}

// rateHint is shown with whatever is wrong with a rate.
const rateHint = `"30/1m" is 30 messages in any minute, "10000 recipients/24h" counts recipients`

// readRates reads rate = "30/1m", or a list of such. An empty list takes away
// what a provider would set.
func readRates(t *table, dst *[]Rate) {
	v, ok := t.take("rate")
	if !ok {
		return
	}
	key := t.key("rate")
	var rates []Rate
	read := func(key string, v any) {
		s, ok := v.(string)
		if !ok {
			t.doc.problem(key, "must be a string, not "+kind(v), rateHint)
			return
		}
		r, err := ParseRate(s)
		if err != nil {
			t.doc.problem(key, strconv.Quote(s)+" "+err.Error(), rateHint)
			return
		}
		for _, other := range rates {
			if other.Recipients == r.Recipients && other.Per == r.Per {
				t.doc.problem(key, fmt.Sprintf("%q is for the same period as %q", s, other), "keep the smaller one")
				return
			}
		}
		rates = append(rates, r)
	}
	switch v := v.(type) {
	case string:
		read(key, v)
	case []any:
		if len(v) > maxRates {
			t.doc.problem(key, fmt.Sprintf("has %d entries", len(v)), fmt.Sprintf("at most %d", maxRates))
			return
		}
		for i, element := range v {
			read(joinIndex(key, i), element)
		}
	default:
		t.doc.problem(key, "must be a string or a list of strings, not "+kind(v), rateHint)
		return
	}
	*dst = rates
}
