package api

import (
	"fmt"
	"strings"

	"postern/relay/compose"
	"postern/relay/submission"
)

// What a text is derived from, and addresses, take more memory while a mail is
// composed than they have octets: perTag and perAddress, of which freeTags are
// not counted.
const (
	perTag     = 256
	perAddress = 256
	freeTags   = 2000
	maxTags    = 400_000
)

// compose makes the message while it holds the memory that this takes.
func (r *request) compose(m *mail, made compose.Message, where string) (*compose.Composed, *failure) {
	addresses, most := 0, 10*r.limits.cfg.MaxRecipients
	if f := r.lookUp(m, most); f != nil {
		return nil, located(f, where)
	}
	for _, list := range [][]string{m.to, m.cc, m.bcc, m.replyTo} {
		for _, text := range list {
			addresses += 1 + strings.Count(text, ",") + strings.Count(text, ";")
		}
	}
	if addresses > most { // rather than to read them for nothing
		return nil, located(failureOf(submission.TooMany, submission.AtRecipient), where)
	}
	weight := int64(addresses) * perAddress
	html, text := m.html+made.HTML, m.text+made.Text // one of each is empty
	if text == "" {
		tags := strings.Count(html, "<")
		if tags > maxTags { // for which there would never be memory
			return nil, located(invalid(fmt.Sprintf("%s: has more than %d tags to derive a text from: give a text", m.name("html"), maxTags)), where)
		}
		weight += int64(tags) * perTag
	}
	if m.inlineCSS {
		weight += compose.InlineWeight(m.html)
	}
	if weight > freeTags*perTag {
		if !r.server.memory.Take(r.client.Connection(), weight) {
			return nil, noMemory
		}
		defer r.server.memory.Give(r.client.Connection(), weight)
	}
	done, wrong := m.compose(r.settings.hostname, made)
	if len(wrong) > 0 {
		return nil, fault(wrong, where)
	}
	return done, nil
}
