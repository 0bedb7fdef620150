package config

import (
	"errors"
	"strings"

	"github.com/BurntSushi/toml"

	"postern/config/wire"
)

// mistake is one that people make in TOML.
type mistake struct {
	says []string // words of the decoder, one of which is in its message
	text string
	hint string
}

const (
	givenTwice = "this key or table was already given"
	notValue   = "this is not a value of TOML"
)

var mistakes = []mistake{
	{[]string{"has already been defined", "already created"}, givenTwice, "keep one of them"},
	{[]string{"strings cannot contain newlines", `expected '"'`, `expected "'"`}, "this text has no closing quote", `a text of several lines stands between """ and """, or ''' and '''`},
	{[]string{"invalid escape", "hexadecimal digits"}, `a \ between " and " is the beginning of an escape, and this is none`, `write \\ for each \, or put the text in single quotes, 'C:\mail'`},
	{[]string{"expected a comma", "unexpected comma"}, "a list has no comma or end before this", `a list is ["a", "b"]`},
	{[]string{"expected a top-level item to end"}, "there is something behind the value", `each key has a line of its own, and text stands in quotes, "it's"`},
	{[]string{"expected '.' or '='", "expected key separator"}, "there is no = behind the key", `a line is key = "value", a table is [name], and a comment begins with #`},
	{[]string{"key name appears blank", "unexpected '='", "unexpected '.'"}, "there is no name of a key here", `a line is key = "value"`},
	{[]string{"to end table name", "table array name delimiter", "end of table name", "table separator"}, "this is not the name of a table", "a table is [name], and one of several is [[name]]"},
	{[]string{`expected '"""'`, `expected "'''"`}, "a text of several lines has no end", `it ends with the three quotes that it began with`},
	{[]string{"expected value but found", "expected value", "Invalid ", "invalid float", "invalid datetime", "floats must", "cannot use sign", "expected a digit", "not a binary", "not an octal", "not a hexadecimal", "out of range"},
		notValue, `text stands in quotes, "like this", with \\ for a backslash, and a list in brackets, ["a", "b"]`},
}

// NotTOML says why a text is not TOML, as the decoder has found: in plain words and
// with what to do. File and Key are empty, and so is Line where the decoder names
// none. It repeats a value only where the mistake is none that is known.
func NotTOML(err error) Problem {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return Problem{Text: "is not TOML: " + wire.Text(err.Error(), 1000)}
	}
	for _, m := range mistakes {
		for _, says := range m.says {
			if strings.Contains(parse.Message, says) {
				return Problem{Line: parse.Position.Line, Text: m.text, Hint: m.hint}
			}
		}
	}
	return Problem{Line: parse.Position.Line, Text: "is not TOML: " + wire.Text(strings.TrimSuffix(parse.Message, "."), 1000)}
}
