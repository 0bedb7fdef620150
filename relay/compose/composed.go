package compose

import (
	"fmt"
	"io"
)

// Composed is a message that is ready to be written, any number of times. It
// may be used by several goroutines at once.
type Composed struct {
	from  string
	to    []string
	utf8  bool
	fixed []byte  // all but the content of parts
	parts []place // in order
}

// A place is where the content of a part stands in the text.
type place struct {
	part
	at int
}

// Envelope is that of the Message. The caller does not change to.
func (c *Composed) Envelope() (from string, to []string, utf8 bool) { return c.from, c.to, c.utf8 }

// Size is how many octets WriteTo writes: exactly, or at most where a part is
// compressed or is a message itself. -1: the size of a part is not known
// before it is read.
func (c *Composed) Size() int64 {
	n := int64(len(c.fixed))
	for _, p := range c.parts {
		if p.Size < 0 {
			return -1
		}
		n += p.form().maxSize(p.Size)
	}
	return n
}

// WriteTo writes the message with CRLF at the end of each line. Parts are
// opened and read as it goes, so that a large one needs little memory. When it
// fails, what was written is not a message: an attachment that can't be read,
// or that has more or fewer octets than its Size, is an error and never left
// out.
func (c *Composed) WriteTo(w io.Writer) (int64, error) {
	out := counter{w: w}
	at := 0
	for _, p := range c.parts {
		if _, err := out.Write(c.fixed[at:p.at]); err != nil {
			return out.n, err
		}
		at = p.at
		if err := p.write(&out); err != nil {
			if out.err != nil {
				return out.n, out.err
			}
			return out.n, fmt.Errorf("%s: %w", p.field("file"), err)
		}
	}
	_, err := out.Write(c.fixed[at:])
	return out.n, err
}

// WriteTo composes and writes m.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	c, err := m.Compose()
	if err != nil {
		return 0, err
	}
	return c.WriteTo(w)
}

// A counter keeps the first error of w apart from those of parts.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
