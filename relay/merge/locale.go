package merge

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"golang.org/x/text/currency"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	xnumber "golang.org/x/text/number"
)

// locale is how a language and region write numbers, money and dates.
type locale struct {
	tag            language.Tag
	digits         [10]string
	decimal, group string
	first, further int // digits of the last group and of those before it
	printer        *message.Printer
	english        bool
	names          *names // of months and days; nil: not known, or English
}

// newLocale finds it by its BCP 47 name.
func newLocale(name string) (*locale, error) {
	if name == "" {
		name = "en"
	}
	tag, err := language.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("%s is no locale: 'de-DE', 'en-GB' and 'fr' are", quoted(name))
	}
	l := &locale{tag: tag, printer: message.NewPrinter(tag)}
	for i := range l.digits {
		l.digits[i] = l.printer.Sprint(xnumber.Decimal(i))
	}
	l.signs()
	base, _ := tag.Base()
	l.english, l.names = base.String() == "en", namesIn(base.String())
	return l, nil
}

// signs takes the separators, and where they stand, from a number that is
// written.
func (l *locale) signs() {
	shown := l.printer.Sprint(xnumber.Decimal(1234567890.5, xnumber.Scale(1)))
	for i, d := range l.digits {
		shown = strings.ReplaceAll(shown, d, string(rune('0'+i)))
	}
	var groups []string // from the left, with what stands behind each
	run, sign := "", ""
	var signs []string
	for _, r := range shown {
		if r >= '0' && r <= '9' {
			if sign != "" {
				signs, groups, run, sign = append(signs, sign), append(groups, run), "", ""
			}
			run += string(r)
			continue
		}
		sign += string(r)
	}
	l.decimal, l.first, l.further = ".", 3, 3
	if len(signs) == 0 {
		return
	}
	l.decimal = signs[len(signs)-1]
	if len(signs) > 1 {
		l.group, l.first = signs[0], len(groups[len(groups)-1])
	}
	if len(signs) > 2 {
		l.further = len(groups[len(groups)-2])
	}
}

// maxDigits bounds a number, in characters.
const maxDigits = 64

// number reads a number as rows have it: "1234.5", "-3", "1e6". Nothing else
// is guessed: "1,234" is a thousand to some and one to others.
func number(s string) (n *big.Rat, decimals int, err error) {
	s = strings.TrimSpace(s)
	mantissa, exponent, hasExponent := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(strings.TrimLeft(mantissa, "+-"), ".")
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	if len(s) > maxDigits || len(mantissa)-len(strings.TrimLeft(mantissa, "+-")) > 1 || whole+fraction == "" || !digits(whole+fraction) ||
		hasExponent && (exponent == "" || len(exponent) > 3 || !digits(strings.TrimLeft(exponent, "+-")) || strings.Trim(exponent, "+-") == "") {
		return nil, 0, fmt.Errorf("%s is not a number", quoted(s))
	}
	n, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, 0, fmt.Errorf("%s is not a number", quoted(s))
	}
	if hasExponent {
		_, fraction, _ = strings.Cut(strings.TrimRight(n.FloatString(maxDecimals), "0"), ".")
	}
	return n, min(len(fraction), maxDecimals), nil
}

const maxDecimals = 10

func asNumber(v any) (*big.Rat, int, error) { return number(Cell(v)) }

// number writes a number as the locale does, with as many decimals as it has,
// or as are asked for.
func (r *Renderer) number(v any, decimals ...int) (string, error) {
	n, d, err := asNumber(v)
	if err != nil {
		return "", err
	}
	if len(decimals) > 0 {
		d = max(0, min(decimals[0], maxDecimals))
	}
	return r.plan.locale.format(n, d), nil
}

// format writes n, rounded half away from zero.
func (l *locale) format(n *big.Rat, decimals int) string {
	whole, fraction, _ := strings.Cut(n.FloatString(decimals), ".")
	minus := strings.HasPrefix(whole, "-")
	whole = strings.TrimPrefix(whole, "-")
	var b strings.Builder
	if minus && strings.Trim(whole+fraction, "0") != "" {
		b.WriteString("-")
	}
	for i := range len(whole) {
		left := len(whole) - i // digits from here on
		if i > 0 && l.group != "" && (left == l.first || left > l.first && (left-l.first)%l.further == 0) {
			b.WriteString(l.group)
		}
		b.WriteString(l.digits[whole[i]-'0'])
	}
	if fraction != "" {
		b.WriteString(l.decimal)
		for i := range len(fraction) {
			b.WriteString(l.digits[fraction[i]-'0'])
		}
	}
	return b.String()
}

// Where a locale writes the sign of a currency, as CLDR has it: in front, in
// front with a blank, else behind with one.
var (
	signBefore = map[string]bool{"en": true, "ja": true, "zh": true, "ko": true, "th": true, "he": false, "hi": true, "tr": true}
	signApart  = map[string]bool{"nl": true, "pt-BR": true, "de-AT": true, "de-CH": true, "de-LI": true, "nb": true, "no": true}
	signRegion = map[string]bool{"es-MX": true, "es-US": true, "es-AR": false}
)

// money writes an amount with the sign of its currency, by ISO 4217.
func (r *Renderer) money(v any, code string) (string, error) {
	n, _, err := asNumber(v)
	if err != nil {
		return "", err
	}
	unit, err := currency.ParseISO(code)
	if err != nil {
		return "", fmt.Errorf("%s is no currency: 'EUR' is", quoted(code))
	}
	l := r.plan.locale
	scale, _ := currency.Standard.Rounding(unit)
	sign := l.printer.Sprint(currency.NarrowSymbol(unit))
	if sign == "" || sign == "¤" {
		sign = unit.String()
	}
	minus := ""
	if n.Sign() < 0 {
		minus, n = "-", new(big.Rat).Neg(n)
	}
	amount := l.format(n, scale)
	base, _ := l.tag.Base()
	region, _ := l.tag.Region()
	place := base.String() + "-" + region.String()
	switch {
	case signApart[place], signApart[base.String()]:
		return minus + sign + "\u00a0" + amount, nil
	case signBefore[base.String()], signRegion[place]:
		if len(sign) > 1 && strings.Trim(sign, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
			sign += "\u00a0"
		}
		return minus + sign + amount, nil
	}
	return minus + amount + "\u00a0" + sign, nil
}

var layouts = []string{
	time.RFC3339Nano, "2006-01-02", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05Z07", "2006-01-02 15:04:05 -0700", "20060102", time.RFC1123Z, time.RFC1123,
}

// moment reads a time as databases and programs write it. "1/2/2026" is not
// guessed at.
func moment(v any) (time.Time, error) {
	if t, ok := v.(time.Time); ok {
		return t, nil
	}
	s := strings.TrimSpace(Cell(v))
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is not a date: 2006-01-02 and 2006-01-02 15:04:05 are", quoted(s))
}

// date writes a time by a layout of Go, with the names of the locale.
func (r *Renderer) date(layout string, v any) (string, error) {
	t, err := moment(v)
	if err != nil {
		return "", err
	}
	if len(layout) > 1000 {
		return "", errors.New("the layout is too long")
	}
	return r.plan.locale.date(layout, t)
}

func (l *locale) date(layout string, t time.Time) (string, error) {
	if l.english || !named(layout) {
		return t.Format(layout), nil
	}
	if l.names == nil {
		return "", fmt.Errorf("the names of months in %s are not known here: use numbers, as in 2006-01-02", l.tag)
	}
	month, day := int(t.Month())-1, int(t.Weekday())
	months := l.names.months
	if withDay(layout) {
		months = l.names.ofMonths
	}
	var b strings.Builder
	for layout != "" {
		at, word := nextName(layout)
		b.WriteString(t.Format(layout[:at]))
		switch word {
		case "January":
			b.WriteString(months[month])
		case "Jan":
			b.WriteString(l.names.shortMonths[month])
		case "Monday":
			b.WriteString(l.names.days[day])
		case "Mon":
			b.WriteString(l.names.shortDays[day])
		}
		layout = layout[at+len(word):]
	}
	return b.String(), nil
}

func named(layout string) bool {
	_, word := nextName(layout)
	return word != ""
}

// withDay tells "2 January" from "January 2006".
func withDay(layout string) bool {
	return strings.Contains(strings.ReplaceAll(layout, "2006", ""), "2")
}

// nextName finds the first name in a layout, as package time does.
func nextName(layout string) (at int, word string) {
	for i := range len(layout) {
		for _, w := range []string{"January", "Monday", "Jan", "Mon"} {
			rest, ok := strings.CutPrefix(layout[i:], w)
			if ok && (len(w) > 3 || rest == "" || rest[0] < 'a' || rest[0] > 'z') {
				return i, w
			}
		}
	}
	return len(layout), ""
}
