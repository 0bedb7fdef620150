package compose

import "io"

// Composed is a message that is ready to be written, any number of times. It
// may be used by several goroutines at once.
type Composed struct{}

// Envelope is that of the Message.
func (c *Composed) Envelope() (from string, to []string, utf8 bool) { panic("not yet") }

// Size is how many octets WriteTo writes: exactly, or at most where a part is
// compressed or is a message itself. -1: the size of a part is not known
// before it is read.
func (c *Composed) Size() int64 { panic("not yet") }

// WriteTo writes the message with CRLF at the end of each line. Parts are
// opened and read as it goes, so that a large one needs little memory. When it
// fails, what was written is not a message: an attachment that can't be read,
// or that has more or fewer octets than its Size, is an error and never left
// out.
func (c *Composed) WriteTo(w io.Writer) (int64, error) { panic("not yet") }

// WriteTo composes and writes m.
func (m *Message) WriteTo(w io.Writer) (int64, error) { panic("not yet") }
