package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"postern/config/wire"
)

// jsonLimit is how long a JSON body may be: base64 and escapes make a message
// longer than it is.
func (r *request) jsonLimit() int64 { return 2*r.limits.cfg.MaxMessageSize + 64<<10 }

// decode reads all of a body into v. A field that v lacks is refused by name.
// The decoder bounds how deep it goes.
func (r *request) decode(v any) ([]byte, *failure) {
	b, f := r.whole(r.body, r.jsonLimit())
	if f != nil {
		return nil, f
	}
	n := values(b)
	if n > maxValues {
		return nil, invalid(fmt.Sprintf("the body has more than %d values", maxValues))
	}
	if !r.hold(int64(n) * valueSize) {
		return nil, noMemory
	}
	if !utf8.Valid(b) {
		return nil, invalid("the body is not UTF-8")
	}
	if name := twice(b); name != "" {
		return nil, invalid(wire.Line(name) + ": is given twice")
	}
	return b, decode(b, v)
}

// A value takes more memory when it is decoded than in the text, where "{}," is
// one: about valueSize bytes, which are counted, for maxValues at most.
const maxValues, valueSize = 100_000, 512

// values is how many values a JSON text has at most.
func values(b []byte) (n int) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	return n
}

// twice is a name that an object of a JSON text has twice, or "". Names are the
// same whatever their case, as encoding/json takes them: what one reader takes
// from such an object another one doesn't. A text that is none is no matter here.
func twice(b []byte) string {
	var open []map[string]struct{} // of each object and list around; nil: a list
	inName := false                // a name comes next
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{':
			open, inName = append(open, map[string]struct{}{}), true
		case '[':
			open, inName = append(open, nil), false
		case '}', ']':
			open, inName = open[:max(len(open)-1, 0)], false
		case ',':
			inName = len(open) > 0 && open[len(open)-1] != nil
		case '"':
			from := i
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if !inName || i >= len(b) {
				continue
			}
			inName = false
			var name string
			if json.Unmarshal(b[from:i+1], &name) != nil {
				continue
			}
			names, folded := open[len(open)-1], strings.ToLower(strings.ToUpper(name))
			if _, ok := names[folded]; ok {
				return name
			}
			names[folded] = struct{}{}
		}
	}
	return ""
}

// decode reads a JSON text into v. Only a Decoder refuses fields that v lacks, and
// it holds the text twice more while it grows; so of a long text it sees an
// outline, and what is long comes straight from b.
func decode(b []byte, v any) *failure {
	err := error(nil)
	if len(b) <= freeBody {
		err = decodeKnown(b, v)
	} else if err = decodeKnown(outline(b), reflect.New(reflect.TypeOf(v).Elem()).Interface()); err == nil {
		err = json.Unmarshal(b, v)
	}
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	var kind *json.UnmarshalTypeError
	var wrong *fieldError
	switch {
	case errors.Is(err, io.EOF):
		text = "the body is empty"
	case errors.As(err, &wrong):
		text = wrong.text
	case errors.As(err, &kind) && kind.Field != "":
		text = fmt.Sprintf("%s: cannot be a JSON %s", kind.Field, kind.Value)
	case errors.As(err, &kind):
		text = "the body cannot be a JSON " + kind.Value
	}
	return invalid(wire.Text(text, maxText))
}

// decodeKnown reads a JSON text with no other fields than v has, and nothing
// behind it.
func decodeKnown(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, more := dec.Token(); more != io.EOF {
		return errors.New("more follows the JSON value")
	}
	return nil
}

// longText is how many bytes a text of an outline may have.
const longText = 1 << 10

// outline is a JSON text with an empty text in the place of each long one, names
// of objects excepted.
func outline(b []byte) (out []byte) {
	for len(b) > 0 {
		from := bytes.IndexByte(b, '"')
		if from < 0 {
			return append(out, b...)
		}
		out, b = append(out, b[:from]...), b[from:]
		end := textEnd(b)
		rest := bytes.TrimLeft(b[end:], " \t\r\n")
		if end > longText && !bytes.HasPrefix(rest, []byte{':'}) {
			out = append(out, `""`...)
		} else {
			out = append(out, b[:end]...)
		}
		b = b[end:]
	}
	return out
}

// textEnd is where a JSON text ends that b begins with, behind its quotation
// mark; all of b where there is none.
func textEnd(b []byte) int {
	for i := 1; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		i += n + 1
		escapes := 0
		for b[i-2-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
}

// fieldError is that of a value of our own types.
type fieldError struct{ text string }

func (e *fieldError) Error() string { return e.text }

// texts is a text, or a list of such.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(b []byte) error {
	*t = nil
	if string(b) == "null" {
		return nil
	}
	if b[0] != '[' {
		b = append(append([]byte{'['}, b...), ']')
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return &fieldError{"a list of addresses has to be a text, or a list of texts"}
	}
	*t = list
	return nil
}

// base64Text is what an attachment holds, in base64.
type base64Text []byte

// UnmarshalJSON implements json.Unmarshaler.
func (c *base64Text) UnmarshalJSON(b []byte) error {
	*c = nil
	switch {
	case string(b) == "null":
		return nil
	case b[0] != '"':
		return &fieldError{"the content of an attachment has to be base64"}
	}
	text := b[1 : len(b)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		var plain string
		if err := json.Unmarshal(b, &plain); err != nil {
			return err
		}
		text = []byte(plain)
	}
	data, err := fromBase64(text)
	if err != nil {
		return &fieldError{"the content of an attachment is no base64"}
	}
	*c = data
	return nil
}

// fromBase64 takes what encoders write: with line ends or without, with padding
// or without.
func fromBase64(text []byte) ([]byte, error) {
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)+3))
	n, err := base64.StdEncoding.Decode(out, text)
	if err == nil {
		return out[:n], nil
	}
	n, err = base64.RawStdEncoding.Decode(out, bytes.TrimRight(text, "=\r\n "))
	return out[:n], err
}
