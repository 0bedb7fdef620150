package convert

import (
	"bytes"
	"mime"
	"slices"
	"strings"

	"postern/config/wire"
)

// maxBoundary is the longest boundary, in bytes (RFC 2046 §5.1.1).
const maxBoundary = 70

// entity is a message or a part of one (RFC 2045 §2.4), as its header says.
type entity struct {
	fields    []byte // its header, each field with CRLF at its end
	from      int64  // of content, where the header begins; unless it is outermost
	depth     int
	outermost bool

	kind     string // media type, in lower case
	value    string // of Content-Type, unfolded
	typed    bool   // it has a Content-Type
	encoding string // Content-Transfer-Encoding in lower case; empty: none
	mime     bool   // it has MIME-Version

	// What is found for it.
	become  string // its new encoding; empty: as before
	charset string // for the Content-Type that it lacks
	recoded bool   // its body, or a part of that, is another
}

// parse reads a header. usual is the type of an entity that says none. It fails
// where readers may take different things from it.
func parse(fields []byte, usual string) (*entity, error) {
	e := &entity{fields: fields, kind: usual}
	var types, encodings, read int
	wire.EachField(fields, func(name, value []byte, start, end int) {
		read += end - start
		switch lower := strings.ToLower(string(name)); lower {
		case "content-type":
			types++
			e.typed, e.value = true, wire.Unfold(value)
			kind, _, _ := strings.Cut(e.value, ";")
			e.kind = strings.ToLower(strings.TrimSpace(kind))
		case "content-transfer-encoding":
			encodings++
			e.encoding = strings.ToLower(strings.TrimSpace(wire.Unfold(value)))
		case "mime-version":
			e.mime = true
		}
	})
	if read != len(fields) {
		return nil, left("a header holds what is no field")
	}
	if types > 1 || encodings > 1 {
		return nil, left("a header says twice what its part is")
	}
	if main, sub, ok := strings.Cut(e.kind, "/"); !ok || !isToken(main) || !isToken(sub) {
		if strings.Contains(e.kind, "multipart") || strings.Contains(e.kind, "message") {
			return nil, left("a Content-Type cannot be read")
		}
		e.kind = "application/octet-stream" // RFC 2045 §5.2 has text, of which line ends may be changed
	}
	return e, nil
}

// isToken: RFC 2045 §5.1.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("()<>@,;:\\\"/[]?=", r)
	})
}

// plain reports whether the body stands there as it is.
func (e *entity) plain() bool {
	switch e.encoding {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}

// sealed reports whether a signature or an encryption covers the encoding.
func (e *entity) sealed() bool {
	switch e.kind {
	case "multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime":
		return true
	}
	return false
}

func (e *entity) isText() bool      { return strings.HasPrefix(e.kind, "text/") }
func (e *entity) isMultipart() bool { return strings.HasPrefix(e.kind, "multipart/") }
func (e *entity) isMessage() bool   { return e.kind == "message/rfc822" }

// hasToBe7bit reports a message/… that has to be 7bit by its definition
// (RFC 2046 §5.2); message/global… does not (RFC 6532 §3.5).
func (e *entity) hasToBe7bit() bool {
	return strings.HasPrefix(e.kind, "message/") && !strings.HasPrefix(e.kind, "message/global")
}

// partType is that of parts that say none (RFC 2046 §5.1.5).
func (e *entity) partType() string {
	if e.kind == "multipart/digest" {
		return "message/rfc822"
	}
	return "text/plain"
}

func (e *entity) boundary() (string, error) {
	_, params, err := mime.ParseMediaType(e.value)
	b := params["boundary"]
	if err != nil || b == "" || len(b) > maxBoundary || b[len(b)-1] == ' ' || !wire.Printable(b) {
		return "", left("the boundary of a multipart cannot be read")
	}
	return b, nil
}

// edited is the header as it becomes, and which fields of it changed.
func (e *entity) edited(want Want) (out []byte, changed []string, err error) {
	note := func(name string) {
		if !slices.Contains(changed, name) {
			changed = append(changed, name)
		}
	}
	kept, encoded, ascii := 0, false, want.SevenBit || want.Header && e.outermost
	replace := func(name string, text []byte, start, end int) {
		out = append(append(out, e.fields[kept:start]...), text...)
		kept = end
		note(name)
	}
	wire.EachField(e.fields, func(name, value []byte, start, end int) {
		lower := strings.ToLower(string(name))
		switch {
		case err != nil:
		case lower == "content-transfer-encoding" && e.become != "":
			encoded = true
			replace(lower, []byte(string(name)+": "+e.become+"\r\n"), start, end)
		case ascii && !wire.IsASCII(e.fields[start:end]):
			var text []byte
			if text, err = encodeField(string(name), lower, value); err == nil {
				replace(lower, text, start, end)
			}
		}
	})
	out = append(out, e.fields[kept:]...)
	if err == nil && ascii && !wire.IsASCII(out) {
		err = left("a header holds 8 bits that are of no field")
	}
	if len(out) > 0 && !bytes.HasSuffix(out, crlf) {
		out = append(out, crlf...)
	}
	if e.outermost && e.recoded && !e.mime {
		out = append(out, "MIME-Version: 1.0\r\n"...)
		note("mime-version")
	}
	if e.charset != "" {
		out = append(append(append(out, "Content-Type: text/plain; charset="...), e.charset...), crlf...)
		note("content-type")
	}
	if e.become != "" && !encoded {
		out = append(append(append(out, "Content-Transfer-Encoding: "...), e.become...), crlf...)
		note("content-transfer-encoding")
	}
	return out, changed, err
}
