package doctor

import (
	"fmt"
	"net/mail"
	"regexp"
	"sync"
	"time"
)

// Reading is somebody else's clock at a moment of ours.
type Reading struct {
	Of   string // whose clock: "the banner of office"
	Then time.Time
	Ours time.Time
}

const (
	// skewed is when a clock is worth a warning; tokens and certificates
	// begin to be refused.
	skewed = 2 * time.Minute
	// skewedBadly is where Kerberos ends (RFC 4120 §7.5.8 leaves it to the
	// KDC; five minutes is what they have).
	skewedBadly = 5 * time.Minute
)

// Clock compares our clock with others'.
func Clock(subject string, readings []Reading) []Finding {
	var out []Finding
	for _, r := range readings {
		d := r.Ours.Sub(r.Then).Truncate(time.Second)
		f := Finding{ID: UpstreamClock, Status: OK, Subject: subject, Facts: map[string]any{"seconds": int(d.Seconds())},
			Text: "the clock agrees with " + r.Of}
		if d.Abs() > skewed {
			f.Status = Warning
			how := "fast"
			if d < 0 {
				how = "slow"
			}
			f.Text = fmt.Sprintf("the clock of this machine is %s %s, if %s is right", d.Abs(), how, r.Of)
			f.Remedy = "Set the clock by NTP (timedatectl set-ntp true): tokens are refused when it is wrong."
		}
		if d.Abs() > skewedBadly {
			f.Remedy = "Set the clock by NTP (timedatectl set-ntp true): tokens and certificates are refused when it is wrong, and Kerberos allows five minutes."
		}
		out = append(out, f)
	}
	return out
}

// bannerDate is a date as some servers have it in their banner (RFC 5322 §3.3).
var bannerDate = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} (?:[+-]\d{4}|GMT|UTC)`)
})

// BannerClock reads the clock of an upstream from its banner, which came at
// ours; false: it does not say.
func BannerClock(banner string, ours time.Time) (Reading, bool) {
	then, err := mail.ParseDate(bannerDate().FindString(banner))
	if err != nil {
		return Reading{}, false
	}
	return Reading{Of: "the date in its banner", Then: then, Ours: ours}, true
}
