package submission

import (
	"bytes"
	"strings"

	"postern/config/wire"
)

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
	wire.EachField(h, func(name, value []byte, start, end int) {
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
