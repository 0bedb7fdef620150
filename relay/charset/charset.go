// Package charset finds the charsets of files that other programs have written,
// by their names. It owns no tables: they are those of the text library of Go, of
// UTF-16 and of what has one byte for each character.
package charset

import (
	"fmt"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"postern/config/wire"
)

// Decoder makes UTF-8 of a charset, by any of its usual names; empty: it is UTF-8
// already. The error names the charsets that there are.
func Decoder(name string) (transform.Transformer, error) {
	short := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, name)
	switch short {
	case "", "utf8":
		return transform.Nop, nil
	case "utf16le", "utf16":
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewDecoder(), nil
	case "utf16be":
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewDecoder(), nil
	case "ansi", "latin1", "iso88591": // as browsers read it
		short = "windows1252"
	}
	short = strings.Replace(strings.Replace(short, "cp125", "windows125", 1), "ibm", "cp", 1)
	for _, e := range charmap.All {
		c, ok := e.(interface {
			encoding.Encoding
			String() string
		})
		if !ok {
			continue
		}
		if strings.NewReplacer("ibm code page ", "cp", " ", "", "-", "").Replace(strings.ToLower(c.String())) == short {
			return c.NewDecoder(), nil
		}
	}
	return nil, fmt.Errorf("%s is no charset that is known here: utf-8, utf-16le, utf-16be, windows-1252, iso-8859-15 and others of one byte are", wire.Quote(wire.Text(name, 100)))
}
