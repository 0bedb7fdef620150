package storm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"postern/config/wire"
	"postern/relay/letter"
	"postern/spool"
)

// Mail is what is looked at of a message.
type Mail struct {
	From    string // reverse-path
	Subject string // value of the field, as it came
	To      []spool.Recipient
}

// Shape is what messages that are alike have in common, as a hash.
type Shape [16]byte

// MarshalText writes it in hexadecimal.
func (s Shape) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Shape) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err == nil && len(b) != len(s) {
		err = errors.New("a shape has 16 bytes")
	}
	if err == nil {
		copy(s[:], b)
	}
	return err
}

// Shape is that of m: the sender and each recipient with their domains in lower
// case, in any order, and the subject by its words. Copies for an administrator
// are no recipients.
func (m *Mail) Shape() (s Shape) {
	to := make([]string, 0, len(m.To))
	for i := range m.To {
		if !m.To[i].Copy {
			to = append(to, strings.ToLower(m.To[i].Address))
		}
	}
	slices.Sort(to)
	h := sha256.New()
	for _, text := range append([]string{strings.ToLower(m.From), words(m.Subject)}, to...) {
		h.Write([]byte(text))
		h.Write([]byte{0})
	}
	copy(s[:], h.Sum(nil))
	return s
}

// maxSubject is how much of a subject is looked at, in bytes.
const maxSubject = 1000

// decode is a subject as a person sees it.
func decode(subject string) string {
	return letter.Decode([]byte(subject[:min(len(subject), maxSubject)]))
}

// words are those of a subject, with "#" in the place of each that has a digit
// or looks like an ID: "Job 17 failed (8f3ac2d1)" is "job # failed #".
func words(subject string) string {
	var b strings.Builder
	for _, w := range strings.FieldsFunc(decode(subject), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.IsPunct(r) && r != '#'
	}) {
		if strings.ContainsFunc(w, unicode.IsDigit) || isID(w) {
			w = "#"
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strings.ToLower(w))
	}
	return b.String()
}

// longID is from how many characters on a word of hexadecimal digits is an ID.
const longID = 8

func isID(w string) bool {
	return len(w) >= longID && !strings.ContainsFunc(w, func(r rune) bool { return !strings.ContainsRune("abcdefABCDEF0123456789", r) })
}

// record begins the record of a storm whose first message is m.
func (m *Mail) record(id spool.ID, now time.Time) *Storm {
	s := &Storm{ID: id, From: wire.Text(m.From, maxText), Subject: wire.Text(strings.Join(strings.Fields(decode(m.Subject)), " "), maxText),
		Shape: m.Shape(), Began: now.Round(0), Latest: now.Round(0)}
	for i := range m.To {
		if m.To[i].Copy {
			continue
		}
		if s.Recipients++; s.Recipients == 1 {
			s.To = wire.Text(m.To[i].Address, maxText)
		}
	}
	return s
}
