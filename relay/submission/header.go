package submission

import (
	"bytes"
	"net/textproto"
	"strings"

	"postern/config/wire"
)

// headerEnd looks on from the line that begins at from. found: the header is
// b[:end], and the body begins at body. Otherwise end is where to go on with
// more bytes.
//
// What is not a field ends the header, as if an empty line stood before it:
// programs that hand over bare text are many, and the text must not become a
// broken header. Postfix does the same.
func headerEnd(b []byte, from int) (end, body int, found bool) {
	for i := from; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return i, 0, false
		}
		line := b[i : i+n+1]
		switch {
		case len(line) == 2 && line[0] == '\r':
			return i, i + 2, true
		case wire.IsContinuation(line) && i > 0, wire.FieldName(line) > 0:
			i += len(line)
		default:
			return i, i, true
		}
	}
}

// fields is what is to be known of a header.
type fields struct {
	received     int
	hasDate      bool
	hasMessageID bool
	messageID    string
	auto         bool
	hasFrom      bool
	long         bool   // a field may have a line that is too long, and no signature covers it
	drop         []span // fields that don't go on as they are, in order
	kept         int
	keys         int    // of the message
	key          []byte // the last
}

// readFields goes through a header, once where nothing is to be repaired.
func readFields(h []byte, repair bool) (f fields) {
	signed, doubled := false, false
	ids, dates, usable := 0, 0, true
	var seen single
	eachField(h, func(name, value []byte, start, end int) {
		f.long = f.long || end-start > wire.MaxTextLine
		if repair {
			s := singleOf(name)
			doubled = doubled || seen&s != 0
			seen |= s
		}
		switch len(name) {
		case 3:
			if fold(name, "bcc") {
				f.drop = append(f.drop, span{start: start, end: end})
			}
		case 4:
			if fold(name, "date") {
				f.hasDate = true
				dates++
				usable = usable && (!repair || isDate(value))
			}
			if fold(name, "from") {
				if empty := len(bytes.TrimSpace(value)) == 0; !empty {
					f.hasFrom = true
				} else if repair {
					f.drop = append(f.drop, span{start, end, true})
				}
			}
		case 8:
			if fold(name, "received") {
				f.received++
			}
		case 10:
			if fold(name, "message-id") {
				if !f.hasMessageID {
					f.hasMessageID, f.messageID = true, wire.MessageID(value)
				}
				ids++
				usable = usable && (!repair || wire.IsMessageID(bytes.TrimSpace(value)))
			}
			if fold(name, "resent-bcc") {
				f.drop = append(f.drop, span{start: start, end: end})
			}
		case 11:
			if repair && fold(name, "return-path") { // RFC 5321 §4.4: of the last hop alone
				f.drop = append(f.drop, span{start: start, end: end})
			}
		case 14:
			signed = signed || fold(name, "dkim-signature")
			if fold(name, "auto-submitted") {
				// RFC 3834 §5.2: "no", or anything else, with parameters.
				word, _, _ := strings.Cut(strings.TrimSpace(string(value)), ";")
				word, _, _ = strings.Cut(word, " ")
				f.auto = f.auto || !strings.EqualFold(strings.TrimSpace(word), "no")
			}
		case len(KeyField):
			if fold(name, "postern-idempotency-key") {
				f.drop = append(f.drop, span{start: start, end: end})
				f.keys, f.key = f.keys+1, value
			}
		}
	})
	f.long = f.long && !signed
	if repair && (ids > 1 || dates > 1 || !usable || doubled) {
		f.repair(h, signed)
	}
	return f
}

// eachField calls visit for each field. value still has its folds and ends
// before the last CRLF.
func eachField(h []byte, visit func(name, value []byte, start, end int)) {
	for i := 0; i < len(h); {
		end := i
		for {
			n := bytes.IndexByte(h[end:], '\n')
			if n < 0 {
				end = len(h)
				break
			}
			end += n + 1
			if end == len(h) || h[end] != ' ' && h[end] != '\t' {
				break
			}
		}
		field := h[i:end]
		if n := wire.FieldName(field); n > 0 {
			colon := n + bytes.IndexByte(field[n:], ':')
			visit(field[:n], bytes.TrimSuffix(field[colon+1:], crlf), i, end)
		}
		i = end
	}
}

// parseHeader makes the form that routes look at: unfolded values of the fields
// that they ask for, under these names.
func parseHeader(h []byte, wanted []string) textproto.MIMEHeader {
	m := textproto.MIMEHeader{}
	eachField(h, func(name, value []byte, _, _ int) {
		for _, w := range wanted {
			if len(name) == len(w) && strings.EqualFold(string(name), w) {
				m[w] = append(m[w], strings.TrimSpace(wire.Unfold(value)))
			}
		}
	})
	return m
}

func fold(b []byte, lower string) bool {
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
