package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"postern/cmd/eventlog"
)

// printJSON prints v for a program: indented, one document.
func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, jsonSafe(b.Bytes()))
	return err
}

// jsonSafe escapes what JSON allows in its strings and a terminal would obey:
// DEL, C1 controls, bidi overrides. A reader of JSON sees no difference.
func jsonSafe(doc []byte) string {
	var b strings.Builder
	b.Grow(len(doc))
	for _, r := range string(doc) {
		switch {
		case r == '\n' || !eventlog.Hostile(r):
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
