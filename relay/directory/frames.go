package directory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
)

// Bounds of what one server may send.
const (
	maxMessage  = 8 << 20  // bytes of one message
	maxElements = 100_000  // of one message
	maxNesting  = 12       // of elements; a result has six
	maxSession  = 96 << 20 // bytes for one question
)

// Tags of RFC 4511 §4.
const (
	tagMessage    = 0x30
	tagSearchDone = 0x65
)

// frames reads whole messages and looks at their shape, before a library makes
// objects of them that are a hundred times as large as what came.
type frames struct {
	net.Conn
	rest []byte // of the message that is handed on

	left  atomic.Int64 // bytes that may still come
	done  atomic.Int64 // results of searches that came to their end
	fault atomic.Pointer[error]
}

// grant allows bytes for the next question.
func (f *frames) grant(n int64) { f.left.Store(n) }

func (f *frames) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		message, err := f.message()
		if err != nil {
			f.fault.CompareAndSwap(nil, &err)
			return 0, err
		}
		f.rest = message
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// message reads the next one.
func (f *frames) message() ([]byte, error) {
	head := make([]byte, 6)
	if _, err := io.ReadFull(f.Conn, head[:2]); err != nil {
		return nil, err
	}
	more := 0
	if head[1] > 0x80 {
		more = int(head[1] & 0x7f)
	}
	switch {
	case head[0] != tagMessage:
		return nil, errors.New("what it sends is not LDAP")
	case head[1] == 0x80 || more > 4: // RFC 4511 §5.1: definite lengths only
		return nil, errors.New("it sends a message of no definite length")
	}
	if _, err := io.ReadFull(f.Conn, head[2:2+more]); err != nil {
		return nil, err
	}
	head = head[:2+more]
	length, _ := size(head[1:])
	if length > maxMessage {
		return nil, fmt.Errorf("it sends a message of %d bytes, more than the %d that are read", length, maxMessage)
	}
	if f.left.Add(-int64(length+len(head))) < 0 {
		return nil, errors.New("it sends more than is read for one question")
	}
	// Read as it comes: a length is only a promise.
	message, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(head), f.Conn), int64(len(head)+length)))
	if err == nil && len(message) < len(head)+length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	elements := 0
	if !sound(message[len(head):], 1, &elements) {
		return nil, errors.New("it sends a message whose lengths make no sense, or with too many parts")
	}
	if operation(message[len(head):]) == tagSearchDone {
		f.done.Add(1)
	}
	return message, nil
}

// size reads a length: how much it says, and how many bytes it has; 0: none
// that LDAP allows.
func size(b []byte) (length, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	if b[0] < 0x80 {
		return int(b[0]), 1
	}
	n = int(b[0]&0x7f) + 1
	if n == 1 || n > 5 || len(b) < n {
		return 0, 0
	}
	for _, c := range b[1:n] {
		length = length<<8 | int(c)
	}
	return length, n
}

// sound reports whether the elements of b fill it, in bounds.
func sound(b []byte, depth int, count *int) bool {
	if depth > maxNesting {
		return false
	}
	for len(b) > 0 {
		if *count++; *count > maxElements || b[0]&0x1f == 0x1f { // LDAP has no long tags
			return false
		}
		length, n := size(b[1:])
		if n == 0 || length < 0 || length > len(b)-1-n {
			return false
		}
		content := b[1+n : 1+n+length]
		if b[0]&0x20 != 0 && !sound(content, depth+1, count) {
			return false
		}
		b = b[1+n+length:]
	}
	return true
}

// operation is the tag of what a sound message holds; 0: nothing.
func operation(content []byte) byte {
	if len(content) < 2 {
		return 0
	}
	length, n := size(content[1:]) // the message's number
	if rest := content[1+n+length:]; len(rest) > 0 {
		return rest[0]
	}
	return 0
}
