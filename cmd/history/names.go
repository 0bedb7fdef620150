package history

import (
	"bytes"
	"encoding/json"
)

// The keys of what a line is found by, as they stand in it before a value that is
// a text.
const (
	timeKey      = `"time":"`
	levelKey     = `"level":"`
	eventKey     = `"event":"`
	idKey        = `"id":"`
	oldIDKey     = `"old_id":"`
	originalKey  = `"original":"`
	fromKey      = `"from":"`
	toKey        = `"to":"`
	messageIDKey = `"message_id":"`
)

// field is the value behind a key, which no value can hold: quotes are escaped
// there.
func field(line []byte, key string) []byte {
	_, rest, ok := bytes.Cut(line, []byte(key))
	if !ok {
		return nil
	}
	value, _, _ := bytes.Cut(rest, []byte{'"'})
	return value
}

// head is the event of a line and its ID, nil where it has none: the log begins with
// time, level and event, and mostly the ID is next. Other orders are read as well,
// at some cost.
func head(line []byte) (event, id []byte) {
	rest := line
	next := func(key string) (value []byte, ok bool) {
		// After the opening { or the comma of the value before.
		if len(rest) < 1+len(key) || string(rest[1:1+len(key)]) != key {
			return nil, false
		}
		end := bytes.IndexByte(rest[1+len(key):], '"')
		if end < 0 {
			return nil, false
		}
		value, rest = rest[1+len(key):1+len(key)+end], rest[1+len(key)+end+1:]
		return value, true
	}
	next(timeKey)
	next(levelKey)
	event, ok := next(eventKey)
	if !ok {
		return field(line, eventKey), field(line, idKey)
	}
	if id, ok = next(idKey); !ok {
		id = field(rest, idKey)
	}
	return event, id
}

// original is the ID of the message that a line of this event, which is about a
// notice, tells of; nil: it is about none.
func original(event, line []byte) []byte {
	switch string(event) {
	case "sender-notified", "notification-failed":
		return field(line, originalKey)
	}
	return nil
}

// names reports whether a line has text, which is in lower case, as one of the
// values that it is found by. Where there is no text, all have that are about a
// message. Most lines do not hold it anywhere, so that is looked at first, and then
// which value it stands in: to read all values costs several times as much.
func names(line, text []byte) bool {
	if len(text) == 0 {
		return len(field(line, idKey)) > 0 || len(field(line, originalKey)) > 0 || len(field(line, fromKey)) > 0
	}
	at := indexFold(line, text)
	if at < 0 {
		return false
	}
	if bytes.IndexByte(line, '\\') >= 0 {
		return namesEscaped(line, text)
	}
	for {
		if key, value := around(line, at); isNamed(key, value, text) {
			return true
		}
		next := indexFold(line[at+1:], text)
		if next < 0 {
			return false
		}
		at += 1 + next
	}
}

// around is the value that a place of a line is in, and its key as it stands before
// it. No value of the line has an escape, so each quote begins or ends one. Where
// the place is in no value that is a text, the key is none of ours.
func around(line []byte, at int) (key, value []byte) {
	begin := bytes.LastIndexByte(line[:at], '"') + 1
	if begin < len(`"":"`) {
		return nil, nil
	}
	value, _, _ = bytes.Cut(line[begin:], []byte{'"'})
	return line[max(0, bytes.LastIndexByte(line[:begin-len(`":"`)], '"')):begin], value
}

// namesEscaped is names for a line of which a value has an escape: few have.
func namesEscaped(line, text []byte) bool {
	var values struct {
		ID        string `json:"id"`
		OldID     string `json:"old_id"`
		Original  string `json:"original"`
		From      string `json:"from"`
		To        string `json:"to"`
		MessageID string `json:"message_id"`
	}
	if json.Unmarshal(line, &values) != nil {
		return false
	}
	for _, v := range [...]struct{ key, value string }{
		{idKey, values.ID}, {oldIDKey, values.OldID}, {originalKey, values.Original}, {fromKey, values.From}, {toKey, values.To}, {messageIDKey, values.MessageID},
	} {
		if isNamed([]byte(v.key), []byte(v.value), text) {
			return true
		}
	}
	return false
}

// isNamed reports whether the value of a key is text: an ID whole, of addresses one
// whole or its domain.
func isNamed(key, value, text []byte) bool {
	switch string(key) {
	case idKey, oldIDKey, originalKey:
		return bytes.EqualFold(value, text)
	case messageIDKey:
		return bytes.EqualFold(bytes.Trim(value, "<>"), text)
	case fromKey, toKey:
		for address := range bytes.SplitSeq(value, []byte(", ")) {
			if text[0] == '@' && len(address) > len(text) {
				address = address[len(address)-len(text):]
			}
			if bytes.EqualFold(address, text) {
				return true
			}
		}
	}
	return false
}

// indexFold is where b first holds text, which is in lower case, in any case; -1:
// nowhere. Letters beyond ASCII are compared as they are. It goes by the @, of
// which a line has few, or else by the last byte.
func indexFold(b, text []byte) int {
	at := bytes.IndexByte(text, '@')
	if at < 0 {
		at = len(text) - 1
	}
	pivot, upper := text[at], text[at]
	if pivot >= 'a' && pivot <= 'z' {
		upper -= 'a' - 'A'
	}
	for i := at; ; i++ {
		if i+len(text)-at > len(b) {
			return -1
		}
		places := b[i : len(b)-(len(text)-at)+1]
		n := bytes.IndexByte(places, pivot)
		if upper != pivot {
			if n >= 0 {
				places = places[:n]
			}
			if m := bytes.IndexByte(places, upper); m >= 0 {
				n = m
			}
		}
		if n < 0 {
			return -1
		}
		i += n
		if bytes.EqualFold(b[i-at:i-at+len(text)], text) {
			return i - at
		}
	}
}
