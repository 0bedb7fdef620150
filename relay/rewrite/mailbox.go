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
		kind, n := wire.NextLexeme(p.s[i:])
		switch kind {
		case wire.LexBlank, wire.LexComment:
		case '<':
			n = p.bracket(i)
		case ',', ';':
			p.separator(kind, i)
		case ':':
			p.colon(i)
		case ')', '>', ']':
			p.bad = true
		default:
			p.word(i, i+n)
		}
		p.bad = p.bad || n < 0
		i += n
	}
}

// word takes one of the words that are a name or an address, or an @.
func (p *parser) word(from, to int) {
	at := p.s[from] == '@'
	p.hasAt = p.hasAt || at
	switch {
	case to < from || p.stop > 0:
		return
	case p.shut > 0:
		p.junk = true
		return
	}
	if p.words > 0 && from > p.end && !at && p.s[from] != '.' && !p.joined {
		p.gap = true
	}
	if p.words == 0 {
		p.start = from
	}
	p.at = p.at || at
	p.joined = at || p.s[to-1] == '.'
	p.words++
	p.end = to
}

// bracket is the length of an address between < and >, which begins at i; -1:
// it does not end.
func (p *parser) bracket(i int) int {
	for j := i + 1; j < len(p.s); {
		kind, n := wire.NextLexeme(p.s[j:])
		switch {
		case n < 0 || kind == '<':
			return -1
		case kind == '@':
			p.hasAt = true
		case kind == '>':
			if p.stop == 0 {
				p.bad = p.bad || p.shut > 0
				p.open, p.shut = i, j+1
			}
			return j + 1 - i
		}
		j += n
	}
	return -1
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
