package main

import (
	"bytes"
	"encoding/json"
	"io"

	"postern/config/wire"
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
	_, err := io.WriteString(w, wire.JSON(b.Bytes()))
	return err
}
