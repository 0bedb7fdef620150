// Package visible has the names by which config/wire was known before.
package visible

import "postern/config/wire"

// The rules for what a reader sees.
var (
	Rune        = wire.Visible
	Addressable = wire.Addressable
	Text        = wire.Text
)

// ASCII reports whether s is printable ASCII.
func ASCII[T string | []byte](s T) bool { return wire.Printable(s) }
