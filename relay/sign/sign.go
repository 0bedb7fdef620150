package sign

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"postern/config/wire"
)

// sealed are the fields that are covered as often as they stand there, and once
// more, so that none can be added (RFC 6376 §5.4.2, §8.15).
var sealed = []string{
	"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
}

// covered are those that are covered where they stand there; whoever passes mail
// on may add others.
var covered = []string{
	"Content-ID", "Content-Description", "Content-Disposition", "Resent-From", "Resent-To", "Resent-Cc", "Resent-Date", "Resent-Message-ID",
	"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
}

// mostTimes bounds how often one field is covered.
const mostTimes = 20

// pick is the part of a header that is signed, and the names for h=.
func pick(h []byte) (fields []byte, names []string) {
	times := map[string]int{}
	all := slices.Concat(sealed, covered)
	wire.EachField(h, func(name, _ []byte, start, end int) {
		for _, n := range all {
			if len(n) == len(name) && strings.EqualFold(n, string(name)) {
				times[n]++
				fields = append(fields, h[start:end]...)
			}
		}
	})
	for i, n := range all {
		count := min(times[n], mostTimes)
		if i < len(sealed) {
			count++
		}
		for range count {
			names = append(names, n)
		}
	}
	return fields, names
}

// sign makes a signature with each key.
func (d *Domain) sign(m *Message) (fields []byte, err error) {
	header, names := pick(m.Header)
	signers := make([]*dkim.Signer, 0, len(d.keys))
	writers := make([]io.Writer, 0, len(d.keys))
	defer func() {
		for _, s := range signers { // ends those that were not finished
			_ = s.Close()
		}
	}()
	for _, k := range d.keys {
		s, err := dkim.NewSigner(&dkim.SignOptions{
			Domain: d.Name, Selector: k.selector, Signer: k.signer, HeaderKeys: names,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		})
		if err != nil {
			return nil, err
		}
		signers, writers = append(signers, s), append(writers, s)
	}
	w := io.MultiWriter(writers...)
	if _, err := w.Write(append(header, "\r\n"...)); err != nil {
		return nil, err
	}
	if _, err := io.CopyBuffer(w, &guard{r: m.Body}, make([]byte, 32<<10)); err != nil {
		return nil, err
	}
	finished := signers
	signers = nil
	for i, s := range finished {
		if err := s.Close(); err != nil {
			signers = finished[i+1:]
			return nil, err
		}
		fields = append(fields, s.Signature()...)
	}
	return fields, nil
}

// ErrEmptyLines means that a message is not signed, as its body has a megabyte
// of empty lines in a row, which the library would keep in memory.
var ErrEmptyLines = errors.New("the body has more than 1 MiB of empty lines in a row")

const maxEmpty = 1 << 20

// guard reads a body, up to too many empty lines in a row.
type guard struct {
	r     io.Reader
	empty int
}

func (g *guard) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	text := bytes.TrimRight(p[:n], " \t\r\n")
	if len(text) > 0 {
		g.empty = 0
	}
	if g.empty += n - len(text); g.empty > maxEmpty {
		return n, ErrEmptyLines
	}
	return n, err
}
