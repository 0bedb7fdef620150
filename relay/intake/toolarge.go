package intake

import (
	"math"
	"strconv"

	smtp "github.com/emersion/go-smtp"
)

// tooLarge is the reply to a message of size octets, 0 where that is not
// known, that is larger than max (RFC 1870 §6.1). It tells both in one unit.
func tooLarge(size, max int64) *smtp.SMTPError {
	name, unit := unitOf(max)
	limit := "is larger than the limit of " + strconv.FormatInt(max/unit, 10) + " " + name
	if size <= max {
		return say(552, 5, 3, 4, "message "+limit)
	}
	return say(552, 5, 3, 4, "your message of "+above(size, unit)+" "+name+" "+limit)
}

// units are those of configurations, in the order in which they are preferred.
var units = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
}

// unitOf is the largest unit of which max is a multiple.
func unitOf(max int64) (name string, size int64) {
	for _, u := range units {
		if max > 0 && max%u.size == 0 {
			return u.name, u.size
		}
	}
	return "bytes", 1
}

// above writes size in a unit, rounded up, so that it is never the limit: with
// two decimals below 10, with one below 100.
func above(size, unit int64) string {
	if unit == 1 {
		return strconv.FormatInt(size, 10)
	}
	n := float64(size) / float64(unit)
	digits := 0.0
	for limit := 100.0; digits < 2 && n < limit; limit /= 10 {
		digits++
	}
	scale := math.Pow(10, digits)
	return strconv.FormatFloat(math.Ceil(n*scale)/scale, 'f', -1, 64)
}
