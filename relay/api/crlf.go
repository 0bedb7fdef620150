package api

import (
	"bytes"
	"io"
	"net/http"

	"postern/config/wire"
)

// maxHead is how many bytes of a header are looked at for addresses; more is no
// mail.
const maxHead = 256 << 10

var blank = []byte("\r\n\r\n")

// header reads until the header is whole, and returns that with whatever of
// the body came along.
func header(t *wire.CRLF, b *body) ([]byte, *failure) {
	var head []byte
	for {
		piece, err := t.Next()
		if err == io.EOF {
			return head, nil
		}
		if err != nil {
			return nil, b.broken()
		}
		from := max(0, len(head)-len(blank))
		head = append(head, piece...)
		if bytes.Contains(head[from:], blank) {
			return head, nil
		}
		if len(head) > maxHead {
			return nil, &failure{status: http.StatusRequestEntityTooLarge, name: nameTooLarge, code: 552, enhanced: "5.3.4",
				text: "the header of the message is larger than the limit of 256 KiB"}
		}
	}
}
