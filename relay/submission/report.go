package submission

import (
	"strings"

	"postern/config/wire"
	"postern/spool"
)

// ReadNotify reads of what a sender wants to be told: NEVER alone, or a list of
// up to three events, whatever their case (RFC 3461 §4.1).
func ReadNotify(list string) (n spool.Notify, ok bool) {
	words := 0
	for word := range strings.SplitSeq(strings.ToUpper(list), ",") {
		one := notifyOf(word)
		if words++; one == 0 || words > 3 || n != 0 && (one|n)&spool.NotifyNever != 0 {
			return 0, false
		}
		n |= one
	}
	return n, true
}

// notifyOf is the event that a word of NOTIFY names; 0: none.
func notifyOf(word string) spool.Notify {
	switch word {
	case "NEVER":
		return spool.NotifyNever
	case "SUCCESS":
		return spool.NotifySuccess
	case "FAILURE":
		return spool.NotifyFailure
	case "DELAY":
		return spool.NotifyDelay
	}
	return 0
}

// ReadReturn reads what of a message its sender wants back, FULL or HDRS,
// whatever its case (RFC 3461 §4.3).
func ReadReturn(word string) (string, bool) {
	for _, r := range []string{"FULL", "HDRS"} {
		if strings.EqualFold(word, r) {
			return r, true
		}
	}
	return "", false
}

// ReadEnvelopeID reads what a sender calls the message: xtext of at most 100
// characters (RFC 3461 §4.4). lenient takes text that lacks the encoding.
func ReadEnvelopeID(xtext string, lenient bool) (string, bool) {
	text, ok := wire.DecodeXtext(xtext, lenient)
	if !ok || text == "" || len(xtext) > 100 {
		return "", false
	}
	return wire.EncodeXtext(text), true
}

// ReadORcpt reads the address that a recipient had at first: a type, ";" and
// xtext, at most 500 characters (RFC 3461 §4.2, RFC 6533 §3). lenient takes text
// that lacks the encoding.
func ReadORcpt(value string, lenient bool) (string, bool) {
	kind, text, ok := strings.Cut(value, ";")
	if !ok || len(value) > 500 || !wire.IsKeyword(kind) {
		return "", false
	}
	kind = strings.ToUpper(kind)
	var addr string
	if kind == "UTF-8" {
		addr, ok = wire.DecodeUTF8Xtext(text, lenient)
	} else {
		addr, ok = wire.DecodeXtext(text, lenient)
	}
	if !ok || addr == "" || strings.ContainsFunc(addr, wire.Unaddressable) {
		return "", false
	}
	return EncodeORcpt(kind, addr), true
}

// EncodeORcpt is ORCPT in wire form. Of several forms of one UTF-8 address it
// is the one in ASCII, which any server with DSN takes.
func EncodeORcpt(kind, addr string) string {
	switch kind {
	case "UTF-8":
		return "utf-8;" + wire.EncodeUTF8Xtext(addr)
	case "RFC822":
		return "rfc822;" + wire.EncodeXtext(addr)
	}
	return kind + ";" + wire.EncodeXtext(addr)
}
