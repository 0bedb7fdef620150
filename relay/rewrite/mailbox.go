package rewrite

import (
	"strings"

	"postern/config/wire"
)

// sender is what a field with addresses says, as far as its first one goes
// (RFC 5322 §3.4, with what §4.4 still allows).
type sender struct {
	address string // of the first mailbox, without comments; empty: it has none
	only    bool   // there is no other, and nothing else
	// repliable: it can be read, and names an address.
	repliable bool
	// before and after are what stays of the value around the address; angle:
	// the address stands between < and >.
	before, after string
	angle         bool
}

// with is the value with another address.
func (s *sender) with(address string) []byte {
	if s.angle {
		address = "<" + address + ">"
	}
	if s.before == "" {
		return []byte(" " + address + s.after)
	}
	return []byte(s.before + address + s.after)
}

// mailbox reads the first mailbox of a value, or the name of a group, so that
// another address can be put into its place. What it can't read keeps nothing
// of its text: readers could take it for something else.
func mailbox(value []byte) sender {
	p := parser{s: string(value)}
	p.run()
	if p.bad || p.depth > 0 {
		return sender{repliable: false}
	}
	return p.sender()
}

// parser goes through a value once. Indexes are of s.
type parser struct {
	s     string
	bad   bool // it can't be read
	depth int  // of the group

	start, end int // of the words of the first mailbox; end 0: none yet
	words      int
	gap        bool // a blank or comment stood between words that no . or @ joins
	joined     bool // the last was a . or an @
	at         bool // an @ stood among the words
	open, shut int  // of < and behind >; 0: none yet
	stop       int  // where the first mailbox ends
	more       bool // another one follows
	hasAt      bool // anywhere outside of words in quotes
	group      bool // the words are the name of a group
	junk       bool // words behind >
}

func (p *parser) run() {
	for i := 0; i < len(p.s) && !p.bad; {
		switch c := p.s[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case '(':
			i = p.comment(i)
		case '"':
			i = p.word(i, p.quoted(i, '"'))
		case '[':
			i = p.word(i, p.quoted(i, ']'))
		case '<':
			i = p.bracket(i)
		case ',', ';':
			p.separator(c, i)
			i++
		case ':':
			p.colon(i)
			i++
		case ')', '>', ']':
			p.bad = true
		default:
			j := i
			for j < len(p.s) && !strings.ContainsRune(" \t\r\n(\"[<,;:)>]@.", rune(p.s[j])) {
				j++
			}
			if c == '@' || c == '.' {
				j = i + 1
				p.hasAt = p.hasAt || c == '@'
			}
			i = p.word(i, j)
		}
	}
}

// word takes one of the words that are a name or an address, and returns to.
func (p *parser) word(from, to int) int {
	switch {
	case p.bad || p.stop > 0:
		return to
	case p.shut > 0:
		p.junk = true
		return to
	}
	joins := p.s[from] == '@' || p.s[from] == '.'
	if p.words > 0 && from > p.end && !joins && !p.joined {
		p.gap = true
	}
	if p.words == 0 {
		p.start = from
	}
	p.at = p.at || p.s[from] == '@'
	p.joined = joins
	p.words++
	p.end = to
	return to
}

// comment is the index behind the one that begins at i.
func (p *parser) comment(i int) int {
	if n := wire.CommentLength(p.s[i:]); n > 0 {
		return i + n
	}
	p.bad = true
	return len(p.s)
}

// quoted is the index behind a quoted-string or a domain-literal.
func (p *parser) quoted(i int, end byte) int {
	for i++; i < len(p.s); i++ {
		switch p.s[i] {
		case '\\':
			i++
		case end:
			return i + 1
		}
	}
	p.bad = true
	return len(p.s)
}

// bracket is the index behind an address between < and >.
func (p *parser) bracket(i int) int {
	for j := i + 1; j < len(p.s); j++ {
		switch p.s[j] {
		case '"':
			j = p.quoted(j, '"') - 1
		case '(':
			j = p.comment(j) - 1
		case '<':
			p.bad = true
		case '@':
			p.hasAt = true
		case '>':
			if p.stop == 0 {
				if p.shut > 0 {
					p.bad = true
				}
				p.open, p.shut = i, j+1
			}
			return j + 1
		}
		if p.bad {
			break
		}
	}
	p.bad = true
	return len(p.s)
}

// separator ends a mailbox, or a group.
func (p *parser) separator(c byte, i int) {
	if c == ';' {
		if p.depth == 0 {
			p.bad = true
		}
		p.depth = 0
	}
	if p.stop == 0 && (p.words > 0 || p.shut > 0) {
		p.stop = i
	}
	p.more = true
}

// colon begins a group, the name of which is then what stays.
func (p *parser) colon(i int) {
	if p.depth > 0 || p.shut > 0 && p.stop == 0 {
		p.bad = true // a colon has no other place outside of quotes
		return
	}
	p.depth = 1
	if p.stop == 0 {
		p.stop, p.group = i, true
	}
}

func (p *parser) sender() sender {
	stop := p.stop
	if stop == 0 {
		stop = len(p.s)
	}
	out := sender{repliable: p.hasAt}
	switch {
	case p.shut > 0:
		out.address = strings.TrimSpace(p.s[p.open+1 : p.shut-1])
		out.before, out.angle = p.s[:p.open], true
		if !p.junk {
			out.after = strings.TrimRight(p.s[p.shut:stop], " \t\r\n")
		}
		out.only = !p.more && !p.junk
	case p.words == 0:
	case p.group || !p.at && p.gap: // a name alone
		out.before, out.angle = strings.TrimRight(p.s[:p.end], " \t\r\n")+" ", true
	default:
		out.address = p.s[p.start:p.end]
		out.before, out.after = p.s[:p.start], strings.TrimRight(p.s[p.end:stop], " \t\r\n")
		out.only = !p.more
	}
	return out
}
