package outgoing

import (
	"errors"
	"slices"
	"strings"

	"postern/config/wire"
	"postern/relay/convert"
	"postern/relay/rewrite"
	"postern/relay/upstream"
	"postern/spool"
)

// convertedBy is the rule that events name.
const convertedBy = "7 bits"

// wanted is the conversion that m may need, without a look at its content.
func wanted(m *upstream.Form) convert.Want {
	if m.Delivery.Envelope.Body == spool.BodyBinaryMIME {
		return convert.Want{}
	}
	return convert.Want{SevenBit: m.SevenBit && m.EightBit, Header: m.NoUTF8 && m.EightBit, LongLines: m.Upstream.EncodeLongLines}
}

// convert converts what the upstream does not take (RFC 6152 §3). Where that
// can't be done, the message stays as it is: what the upstream can take of it is
// asked as ever.
func (m *message) convert(want convert.Want) *spool.Outcome {
	if want == (convert.Want{}) {
		return nil
	}
	h, o := m.head()
	switch {
	case o != nil && o.Unsupported:
		m.notConverted("its header is larger than 512 KiB")
		return nil
	case o != nil:
		return o
	}
	if want.LongLines && !want.SevenBit && isSigned(h.fields) {
		want.LongLines = false // better a long line than a broken signature: most upstreams take both
	}
	r, err := convert.Convert(h.fields, m.Content, h.body, want)
	switch {
	case errors.Is(err, convert.ErrLeft):
		m.notConverted(err.Error())
		return nil
	case err != nil:
		return unreadable(err)
	}
	if want.SevenBit {
		m.EightBit = false
	}
	if r == nil {
		return nil
	}
	changed := r.Changed
	head, rest, from := slices.Concat(r.Header, crlf), m.Content, h.body
	if r.Body != nil {
		rest, from = r.Body, 0
		m.converted = 1
		if want.SevenBit {
			m.converted = 2
		}
		changed = append(changed, rewrite.WholeBody)
	}
	m.tellBroken(convertedBy, rewrite.BrokenIn(h.fields, changed))
	m.Content = splice(head, rest, from)
	m.header = &header{r.Header, int64(len(head))}
	return nil
}

func (m *message) notConverted(reason string) {
	m.tell(NotConverted{ID: m.Delivery.ID, Upstream: m.Upstream.Name, Reason: strings.TrimPrefix(reason, convert.ErrLeft.Error()+": ")})
}

// isSigned reports a signature that covers the body.
func isSigned(h []byte) (signed bool) {
	wire.EachField(h, func(name, _ []byte, _, _ int) {
		signed = signed || strings.EqualFold(string(name), "dkim-signature") || strings.EqualFold(string(name), "arc-message-signature")
	})
	return signed
}
