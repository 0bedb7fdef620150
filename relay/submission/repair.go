package submission

import (
	"bytes"
	"net/mail"
	"os/user"
	"slices"
	"strings"
	"time"

	"postern/config/wire"
)

var bom = []byte("\xEF\xBB\xBF")

// lead is how many octets before the first field are no part of the message:
// a byte order mark, and the lines that begin a message in an mbox file. They
// are dropped only where a field follows, so that text stays text. sure is
// false where more bytes are needed to tell; n is then what to come back with
// as from, so that no line is looked at twice. It begins with 0.
func lead(b []byte, from int) (n int, sure bool) {
	if len(b) < len(bom) && bytes.HasPrefix(bom, b) {
		return 0, false
	}
	n = from
	if n == 0 && bytes.HasPrefix(b, bom) {
		n = len(bom)
	}
	for {
		if len(b) == n {
			return n, false
		}
		if n == 0 && b[0] != 'F' && b[0] != '>' {
			return 0, true // nearly always
		}
		end := bytes.IndexByte(b[n:], '\n')
		if end < 0 {
			return n, false
		}
		line := b[n : n+end+1]
		switch {
		case isMboxLine(line):
			n += len(line)
		case wire.FieldName(line) == 0:
			return 0, true
		default:
			return n, true
		}
	}
}

// isMboxLine tells whether line is "From address date" or "From address", and
// not a sentence: it has a time of day, or an address and nothing else.
func isMboxLine(line []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(line, ">"), []byte("From "))
	if !ok {
		return false
	}
	words := bytes.Fields(rest)
	if len(words) == 1 {
		return bytes.IndexByte(words[0], '@') > 0
	}
	for _, w := range words {
		if len(w) >= 5 && number(w, 2) >= 0 && w[2] == ':' && number(w[3:], 2) >= 0 {
			return true
		}
	}
	return false
}

// A span is where a field stands, from its name to the end of its last line.
type span struct {
	start, end int
	rename     bool // it goes on, under a name that begins with X-Original-
}

// unique is a field of which there may be one (RFC 5322 §3.6), and which we
// can make anew.
type unique struct {
	spans []span
	good  int // index of the one that stays; -1: none
}

// maxJudged is how many fields of one name are looked at. A header has room for
// tens of thousands, each of which would cost the attempts at all forms of a
// date.
const maxJudged = 20

func (u *unique) add(start, end int, usable, signed bool) {
	if usable && (u.good < 0 || signed) {
		u.good = len(u.spans)
	}
	u.spans = append(u.spans, span{start, end, true})
}

// repair replaces what can't be used of Message-ID and Date (RFC 6409 §8.2,
// §8.3). Of several usable ones the first stays; where the message is signed,
// the last, which is the one that a signature covers (RFC 6376 §5.4.2). From
// maxJudged on none is usable.
func (f *fields) repair(h []byte, signed bool) {
	id, date := unique{good: -1}, unique{good: -1}
	wire.EachField(h, func(name, value []byte, start, end int) {
		switch {
		case len(name) == 4 && fold(name, "date"):
			date.add(start, end, len(date.spans) < maxJudged && isDate(value), signed)
		case len(name) == 10 && fold(name, "message-id"):
			usable := len(id.spans) < maxJudged && wire.IsMessageID(bytes.TrimSpace(value))
			if usable && (id.good < 0 || signed) {
				f.messageID = wire.MessageID(value)
			}
			id.add(start, end, usable, signed)
		}
	})
	f.dropDoubles(h, signed)
	f.hasMessageID, f.hasDate = id.good >= 0, date.good >= 0
	for _, u := range []unique{id, date} {
		for i, s := range u.spans {
			if i != u.good {
				f.drop = append(f.drop, s)
			}
		}
	}
	slices.SortFunc(f.drop, func(a, b span) int { return a.start - b.start })
}

// single is a field of which a message may have one (RFC 5322 §3.6), and which
// we can't make anew; a bit for each.
type single uint8

// singleOf is that of a name; 0: any number of such fields may stand there, or
// they are replaced.
func singleOf(name []byte) single {
	is := func(lower string, s single) single {
		if fold(name, lower) {
			return s
		}
		return 0
	}
	switch len(name) {
	case 2:
		return is("to", 1) | is("cc", 2)
	case 4:
		return is("from", 4)
	case 6:
		return is("sender", 8)
	case 7:
		return is("subject", 16)
	case 8:
		return is("reply-to", 32)
	case 10:
		return is("references", 64)
	case 11:
		return is("in-reply-to", 128)
	}
	return 0
}

// dropDoubles leaves one of single fields that say the same. Of those that
// don't, which one is meant cannot be known. Where the message is signed, the
// last one stays, as of Message-ID.
func (f *fields) dropDoubles(h []byte, signed bool) {
	type field struct {
		single
		value string
	}
	stays := map[field]span{}
	wire.EachField(h, func(name, value []byte, start, end int) {
		kind := singleOf(name)
		if kind == 0 {
			return
		}
		k := field{kind, strings.TrimSpace(wire.Unfold(value))}
		if k.single == singleOf([]byte("from")) && k.value == "" { // an empty From is dropped anyway
			return
		}
		this := span{start, end, true}
		if first, double := stays[k]; double && signed {
			f.drop = append(f.drop, first)
		} else if double {
			f.drop = append(f.drop, this)
			return
		}
		stays[k] = this
	})
}

// isDate tells whether v is a date-time (RFC 5322 §3.3, §4.3).
func isDate(v []byte) bool { return usualDate(bytes.TrimSpace(v)) || anyDate(v) }

func anyDate(v []byte) bool {
	s := strings.TrimSpace(string(v))
	if _, err := time.Parse("Mon, _2 Jan 2006 15:04:05 -0700", s); err == nil {
		return true
	}
	_, err := mail.ParseDate(strings.Join(strings.Fields(s), " "))
	return err == nil
}

// usualDate knows the form that nearly all programs write, as in
// "Sat, 28 Nov 2026 07:40:00 +0000 (UTC)". It is there for speed: what it
// takes is a date for anyDate, too.
func usualDate(v []byte) bool {
	if len(v) < 5 || v[3] != ',' || v[4] != ' ' || !oneOf("MonTueWedThuFriSatSun", v[:3]) {
		return false
	}
	v = v[5:]
	if len(v) > 1 && v[1] == ' ' { // a day of one digit
		if v[0] < '1' || v[0] > '9' {
			return false
		}
		v = v[1:]
	} else {
		if day := number(v, 2); day < 1 || day > 28 { // of every month
			return false
		}
		v = v[2:]
	}
	const rest = len(" Nov 2026 07:40:00 +0000")
	if len(v) < rest || v[0] != ' ' || !oneOf("JanFebMarAprMayJunJulAugSepOctNovDec", v[1:4]) || v[4] != ' ' || number(v[5:], 4) < 1900 ||
		v[9] != ' ' || v[12] != ':' || v[15] != ':' || v[18] != ' ' || v[19] != '+' && v[19] != '-' {
		return false
	}
	for _, part := range [...]struct{ at, limit int }{{10, 24}, {13, 60}, {16, 60}, {20, 15}, {22, 60}} {
		if n := number(v[part.at:], 2); n < 0 || n >= part.limit {
			return false
		}
	}
	v = v[rest:]
	if len(v) > 3 && v[0] == ' ' && v[1] == '(' && v[len(v)-1] == ')' { // the name of the zone
		for _, c := range v[2 : len(v)-1] {
			if c < 'A' || c > 'Z' {
				return false
			}
		}
		return true
	}
	return len(v) == 0
}

// oneOf tells whether name, of three bytes, is one of names, which follow each
// other.
func oneOf(names string, name []byte) bool {
	for i := 0; i < len(names); i += 3 {
		if names[i:i+3] == string(name) {
			return true
		}
	}
	return false
}

// number is that of the first n bytes of v in decimal, or -1.
func number(v []byte, n int) int {
	if len(v) < n {
		return -1
	}
	sum := 0
	for _, c := range v[:n] {
		if c < '0' || c > '9' {
			return -1
		}
		sum = sum*10 + int(c-'0')
	}
	return sum
}

// appendFrom adds the From that a message lacks (RFC 6409 §8.1): the
// reverse-path, with the name of the user where the machine knows it. A null
// reverse-path is that of reports, which come from MAILER-DAEMON.
func (m *Message) appendFrom(b []byte) []byte {
	b = append(b, "From: "...)
	if m.env.From == "" {
		b = append(b, "MAILER-DAEMON@"...)
		b = append(b, m.policy.hostname...)
		return append(b, crlf...)
	}
	b = wire.AppendPhrase(b, m.userName())
	b = append(b, '<')
	b = append(b, m.env.From...)
	return append(b, ">\r\n"...)
}

// userName is what the client's user is called, as far as is known.
func (m *Message) userName() string {
	switch {
	case m.name != "":
		return m.name
	case m.env.User != "":
		return m.env.User
	case m.env.UnixUser == "":
		return ""
	}
	u, err := user.Lookup(m.env.UnixUser)
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(u.Name, ",") // the first item of the GECOS field
	return name
}
