package upstream

import (
	"bufio"
	"context"
	"errors"
	"strings"

	"postern/config/wire"
	"postern/relay/told"
)

const (
	// maxLine is the longest line of a reply, in bytes with its line end.
	// RFC 5321 §4.5.3.1.5 has 512; the challenge of RFC 4954 §4 has 12,288.
	maxLine = 16 << 10
	// maxReply bounds a whole reply, in bytes. How many lines it has is nobody's
	// business: some greet with a page of rules.
	maxReply = 64 << 10
	// maxText is the longest text of an outcome, in bytes.
	maxText = 1000
)

// protocolError is an upstream that does not speak SMTP. The connection has
// to be closed: which reply belongs to which command is no longer known.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// lastWords is an error with what the upstream had said before: its own words
// explain more than ours.
type lastWords struct {
	words string // clean; never empty
	err   error
}

func (e *lastWords) Error() string { return describe(e.err) + ", after it had said: " + e.words }
func (e *lastWords) Unwrap() error { return e.err }

// saying adds to an error what of a reply had come.
func saying(err error, words []byte) error {
	if text := wire.Text(string(trimEnd(words)), 300); text != "" {
		return &lastWords{text, err}
	}
	return err
}

// wordless is an error without what the upstream had said, which may be a
// secret that it repeats.
func wordless(err error) error {
	var said *lastWords
	var protocol protocolError
	switch {
	case errors.As(err, &said):
		return said.err
	case errors.As(err, &protocol) && strings.HasPrefix(string(protocol), notReply):
		return protocolError(notReply)
	}
	return err
}

const notReply = "not an SMTP reply"

// reply is one answer of an upstream. It is valid until the next one is read.
type reply struct {
	code     int
	enhanced string // RFC 3463; empty: none, or one that contradicts the code
	text     []byte // without codes; lines are separated by '\n'; raw bytes
	last     int    // where the last line begins in text
}

func (r *reply) positive() bool { return r.code/100 == 2 }

// replies reads the answers of one connection.
type replies struct {
	in   *bufio.Reader // with a buffer of maxLine
	text []byte
	told secrets
}

// next reads one reply, without its words where they repeat a secret.
func (p *replies) next() (reply, error) {
	r, err := p.read()
	if err == nil && p.told.Repeats(r.text) {
		p.text = append(p.text[:0], concealed...)
		r.text, r.last = p.text, 0
	}
	if err != nil && p.told.Repeats([]byte(err.Error())) {
		err = wordless(err)
	}
	return r, err
}

// read reads one reply. Bare line feeds as line ends, a code without a text,
// empty lines before a reply, and lines of text without a code inside of it are
// tolerated; what cannot be a reply is a protocolError.
func (p *replies) read() (reply, error) {
	var r reply
	p.text = p.text[:0]
	for lines, size := 1, 0; ; lines++ {
		raw, err := p.in.ReadSlice('\n')
		if size += len(raw); errors.Is(err, bufio.ErrBufferFull) {
			return r, protocolError("a line of the reply is too long")
		}
		if err != nil {
			return r, saying(err, append(p.newLine(), raw...))
		}
		if size > maxReply {
			return r, protocolError("the reply is too long")
		}
		if lines == 1 && len(trimEnd(raw)) == 0 {
			lines = 0 // an empty line says nothing: the reply is still to come
			continue
		}
		code, text, more, ok := parseLine(raw)
		if !ok && lines == 1 {
			return r, protocolError(notReply + ": " + wire.Text(string(trimEnd(raw)), 80))
		}
		if !ok { // part of what went before
			p.text = append(p.newLine(), trimEnd(raw)...)
			continue
		}
		// RFC 5321 §4.2.1: every line has the same code. Another one of the
		// same class does no harm, and the last one counts; so does a refusal
		// that ends what began as something else.
		if p.add(&r, code, text, lines); lines > 1 && code/100 != r.code/100 && (more || code/100 != 4 && code/100 != 5) {
			return r, saying(protocolError("the lines of a reply contradict each other"), p.text)
		}
		r.code = code
		if !more {
			r.text = p.text
			return r, nil
		}
	}
}

// newLine is the text so far, with a line break where it is not empty.
func (p *replies) newLine() []byte {
	if len(p.text) == 0 {
		return p.text
	}
	return append(p.text, '\n')
}

func (p *replies) add(r *reply, code int, text []byte, line int) {
	enhanced, rest := cutEnhanced(code, text)
	if enhanced != "" || code/100 != r.code/100 && line > 1 {
		r.enhanced = enhanced
	}
	if line > 1 {
		p.text = append(p.text, '\n')
	}
	r.last = len(p.text)
	p.text = append(p.text, rest...)
}

func trimEnd(raw []byte) []byte {
	for len(raw) > 0 && (raw[len(raw)-1] == '\n' || raw[len(raw)-1] == '\r') {
		raw = raw[:len(raw)-1]
	}
	return raw
}

// parseLine takes a line apart (RFC 5321 §4.2). more tells that others follow.
func parseLine(raw []byte) (code int, text []byte, more, ok bool) {
	line := trimEnd(raw)
	if len(line) < 3 {
		return 0, nil, false, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, nil, false, false
		}
		code = code*10 + int(c-'0')
	}
	if len(line) == 3 {
		return code, nil, false, code >= 100 // RFC 5321 §4.2: tolerate a bare code
	}
	return code, line[4:], line[3] == '-', code >= 100 && (line[3] == ' ' || line[3] == '-')
}

// cutEnhanced takes an enhanced status code off the text (RFC 2034 §4). One
// whose class contradicts the reply code stays part of the text.
func cutEnhanced(code int, text []byte) (string, []byte) {
	if len(text) < 5 || text[1] != '.' || int(text[0]-'0') != code/100 {
		return "", text
	}
	if c := text[0]; c != '2' && c != '4' && c != '5' {
		return "", text
	}
	i := digits(text, 2)
	if i == 2 || i >= len(text) || text[i] != '.' {
		return "", text
	}
	end := digits(text, i+1)
	switch {
	case end == i+1:
		return "", text
	case end == len(text):
		return intern(text), nil
	case text[end] == ' ':
		return intern(text[:end]), text[end+1:]
	}
	return "", text
}

// digits is the end of up to three digits from i on.
func digits(text []byte, i int) int {
	for n := 0; n < 3 && i < len(text) && text[i] >= '0' && text[i] <= '9'; n++ {
		i++
	}
	return i
}

// intern spares the allocation for the codes of an ordinary day.
func intern(code []byte) string {
	switch string(code) {
	case "2.0.0":
		return "2.0.0"
	case "2.1.0":
		return "2.1.0"
	case "2.1.5":
		return "2.1.5"
	case "2.6.0":
		return "2.6.0"
	}
	return string(code)
}

// concealed stands for a reply that repeats a secret.
const concealed = "[words not shown: they repeat the password]"

// secrets are what an upstream was told.
type secrets struct{ told.Secrets }

// password adds what get returns.
func (t *secrets) password(get func(context.Context) (string, error)) func(context.Context) (string, error) {
	if get == nil {
		return nil
	}
	return func(ctx context.Context) (string, error) {
		secret, err := get(ctx)
		t.Add(secret)
		return secret, err
	}
}

// token adds what get returns.
func (t *secrets) token(get func(context.Context, string) (string, error)) func(context.Context, string) (string, error) {
	if get == nil {
		return nil
	}
	return func(ctx context.Context, refused string) (string, error) {
		secret, err := get(ctx, refused)
		t.Add(secret)
		return secret, err
	}
}
