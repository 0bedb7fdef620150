package compose

import (
	"strings"
)

// calendarMethod is the METHOD of an iCalendar object (RFC 5545 §3.7.2), which
// the text/calendar part has to repeat (RFC 6047 §2.4); "" where it has none.
// fault is why data isn't one.
func calendarMethod(data string) (method, fault string) {
	if fault := bodyFault(data); fault != "" {
		return "", fault
	}
	data = strings.TrimPrefix(data, "\uFEFF")
	depth, ended := 0, false
	lines(data, func(line string) { // names and METHOD are short: nobody folds them
		name, value, _ := strings.Cut(strings.TrimRight(line, " \t"), ":")
		name, _, _ = strings.Cut(name, ";")
		switch {
		case ended && line != "":
			fault = "goes on after END:VCALENDAR"
		case strings.EqualFold(name, "BEGIN"):
			if depth++; depth == 1 && !strings.EqualFold(value, "VCALENDAR") {
				fault = "is not an iCalendar object"
			}
		case strings.EqualFold(name, "END"):
			depth--
			ended = depth <= 0
		case depth == 0 && line != "":
			fault = "is not an iCalendar object"
		case depth == 1 && strings.EqualFold(name, "METHOD"):
			if method != "" {
				fault = "has two METHODs"
			}
			method = strings.ToUpper(value)
		}
	})
	switch {
	case fault != "":
	case !ended || depth != 0:
		fault = "is not an iCalendar object: it has no END:VCALENDAR of its own"
	case !isToken(method) && method != "":
		fault = "has a METHOD that is not a word: " + show(method)
	}
	return method, fault
}

// isToken reports whether s is letters, digits and hyphens.
func isToken(s string) bool {
	return s != "" && len(s) <= 60 && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-')
	})
}
