package upstream

import (
	"postern/config"
	"postern/spool"
)

// Form is how one message goes to one upstream. It begins as the message lies
// in the spool; Dialer.Form may change From, Content and EightBit.
type Form struct {
	Upstream *config.Upstream
	Delivery *spool.Delivery
	// SevenBit tells that the upstream takes no 8BITMIME.
	SevenBit bool
	// NoUTF8 tells that the upstream takes no SMTPUTF8, which was declared for the
	// message.
	NoUTF8 bool

	From string // reverse-path in wire form
	// Content is what is sent. Whoever puts another one in its place has that
	// close this one.
	Content  spool.Content
	EightBit bool // Content may have a byte above 127
}

// form finds the form of tx. The outcome is not nil where it has none, so that
// nothing can be sent.
func (s *session) form(tx *transaction) *spool.Outcome {
	if s.dialer.Form == nil {
		return nil
	}
	return s.dialer.Form(&tx.form)
}
