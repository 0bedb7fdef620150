package wire

// Nowhere is a domain that no host has (RFC 6761 §6.4). It completes names for
// readers that take none, and is removed again.
const Nowhere = "without-domain.invalid"

// CompleteNames adds "@" and domain to each name that stands alone in value,
// the value of a field with addresses (RFC 5322 §3.4): "root", "<root>",
// "root (Cron Daemon)". Everything else stays byte by byte, folds included; what
// can't be understood stays as a whole. Nil: there is no such name.
func CompleteNames(value []byte, domain string) []byte {
	var places []int // where a domain is missing
	mailbox := nameFinder{}
	for i := 0; i < len(value); {
		kind, n := NextLexeme(value[i:])
		if n < 0 {
			return nil
		}
		switch kind {
		case LexBlank, LexComment:
		case ',', ';':
			places = mailbox.end(places)
		case ':':
			if mailbox.angle {
				mailbox.other = true // a source route
			} else {
				mailbox = nameFinder{} // it was the name of a group
			}
		case '<':
			if mailbox.angle || mailbox.closed {
				return nil
			}
			mailbox = nameFinder{angle: true}
		case '>':
			if !mailbox.angle || mailbox.closed {
				return nil
			}
			mailbox.closed = true
		case '@':
			mailbox.other = true
		default:
			mailbox.word(value[i:i+n], i+n)
		}
		i += n
	}
	if mailbox.angle && !mailbox.closed {
		return nil
	}
	if places = mailbox.end(places); len(places) == 0 {
		return nil
	}
	out := make([]byte, 0, len(value)+len(places)*(len(domain)+1))
	from := 0
	for _, at := range places {
		out = append(append(append(out, value[from:at]...), '@'), domain...)
		from = at
	}
	return append(out, value[from:]...)
}

// nameFinder looks at one mailbox.
type nameFinder struct {
	words         int
	at            int  // end of the last word
	angle, closed bool // < was met, and >
	other         bool // it is no name alone
}

func (f *nameFinder) word(text []byte, end int) {
	if f.closed {
		f.other = true // text behind an address
	}
	f.words, f.at = f.words+1, end
	f.other = f.other || CheckMailbox(string(text), true) != NoDomain
}

// end adds the place where the mailbox lacks its domain, and begins another.
func (f *nameFinder) end(places []int) []int {
	if f.words == 1 && !f.other && f.angle == f.closed {
		places = append(places, f.at)
	}
	*f = nameFinder{}
	return places
}
