package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/config/visible"
)

// tidySecret makes the secret of what a file, a variable or a command gave.
// What editors and shells add at its ends and nobody sees goes: a byte order
// mark, blanks, newlines. What cannot be a part of a secret and nobody sees
// is an error, which does not hold any of the secret.
func tidySecret(text string) (string, error) {
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		return "", errors.New("is UTF-16: save it as UTF-8, without a byte order mark")
	}
	text = strings.Trim(strings.TrimPrefix(text, "\ufeff"), " \t\r\n")
	switch {
	case text == "":
		return "", errors.New("is empty")
	case strings.ContainsAny(text, "\x00\r\n"):
		return "", errors.New("holds more than one line, or a NUL")
	}
	if unseen := unseenIn(text); unseen != "" {
		return "", errors.New("holds " + unseen + ": type it anew")
	}
	return text, nil
}

// unseenIn names the first character that cannot be seen, as copying from a
// page brings along; "" where there is none. Text that is not UTF-8 has none.
func unseenIn(text string) string {
	if !utf8.ValidString(text) {
		return ""
	}
	for _, r := range text {
		switch {
		case r == ' ':
		case unicode.IsControl(r):
			return fmt.Sprintf("the control character U+%04X", r)
		case unicode.IsSpace(r) || unicode.In(r, unicode.Zs, unicode.Zl, unicode.Zp):
			return fmt.Sprintf("U+%04X, a blank that is no space", r)
		case !visible.Rune(r) && r != utf8.RuneError:
			return fmt.Sprintf("the invisible character U+%04X", r)
		}
	}
	return ""
}
