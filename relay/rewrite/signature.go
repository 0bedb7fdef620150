package rewrite

import (
	"slices"
	"strings"

	"postern/config/wire"
)

// maxSignature bounds what is read of a signature field, in bytes.
const maxSignature = 16 << 10

// WholeBody stands among changed fields for the body of a message.
const WholeBody = "body"

// Broken is a signature that does not hold any more.
type Broken struct {
	Domain string // that signed (d=), as it says
	Field  string // WholeBody, or the first that it covers and that was changed, in lower case
}

// BrokenIn lists the signatures of a header (RFC 6376, RFC 8617 §4.1.2) that cover
// one of the fields that were changed, as all cover the body (WholeBody). h is
// the header before that.
func BrokenIn(h []byte, changed []string) (list []Broken) {
	if len(changed) == 0 {
		return nil
	}
	wire.EachField(h, func(name, value []byte, _, _ int) {
		if !is(name, "dkim-signature") && !is(name, "arc-message-signature") || len(value) > maxSignature || len(list) >= 10 {
			return
		}
		domain, fields := "", ""
		body := slices.Contains(changed, WholeBody)
		for tag := range strings.SplitSeq(wire.Unfold(value), ";") {
			switch key, v, _ := strings.Cut(tag, "="); strings.TrimSpace(key) {
			case "d":
				domain = strings.TrimSpace(v)
			case "h":
				fields = v
			}
		}
		if body {
			list = append(list, Broken{wire.Text(domain, 255), WholeBody})
			return
		}
		for field := range strings.SplitSeq(fields, ":") {
			if field = strings.ToLower(strings.TrimSpace(field)); slices.Contains(changed, field) {
				list = append(list, Broken{wire.Text(domain, 255), field})
				return
			}
		}
	})
	return list
}

// Author is the address in the first From of a header; empty: none can be read.
func Author(h []byte) (address string) {
	met := false
	wire.EachField(h, func(name, value []byte, _, _ int) {
		if !met && is(name, "from") {
			met = true
			m := mailbox(value)
			address = m.address
		}
	})
	return address
}
