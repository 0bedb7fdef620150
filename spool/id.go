package spool

import "errors"

// alphabet is Crockford's base 32 in lower case: digits sort before letters,
// so names sort as their IDs do, and no two letters look alike.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// idLen is the length of an ID as text: 13 × 5 bits hold 64.
const idLen = 13

// String is the ID as 13 lower-case letters and digits, fit for a file name.
// IDs sort as text as they do as numbers.
func (id ID) String() string {
	var b [idLen]byte
	for i := idLen - 1; i >= 0; i-- {
		b[i] = alphabet[id&31]
		id >>= 5
	}
	return string(b[:])
}

var errBadID = errors.New("not a message ID: it has 13 letters and digits, as `postern queue list` shows them")

// ParseID reads what String wrote; upper case is accepted. The error text is
// a sentence for whoever typed the ID.
func ParseID(s string) (ID, error) {
	if len(s) != idLen {
		return 0, errBadID
	}
	var id ID
	for i := range idLen {
		v := digit(s[i])
		if v < 0 || i == 0 && v > 15 {
			return 0, errBadID
		}
		id = id<<5 | ID(v)
	}
	if id == 0 {
		return 0, errBadID
	}
	return id, nil
}

func digit(c byte) int {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	for i := range len(alphabet) {
		if alphabet[i] == c {
			return i
		}
	}
	return -1
}

// MarshalText makes an ID its text in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err == nil {
		*id = v
	}
	return err
}
