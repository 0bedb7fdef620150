package convert_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"os/exec"
	"strings"
	"testing"

	"postern/config/wire"
	"postern/relay/convert"
)

// leaves are the types and decoded contents of a message, as Go's library reads
// them. It fails where that doesn't know.
func leaves(header textproto.MIMEHeader, usual string, body io.Reader, all *[]string) error {
	kind := header.Get("Content-Type")
	if kind == "" {
		kind = usual
	}
	kind, params, err := mime.ParseMediaType(kind)
	encoding := strings.ToLower(strings.TrimSpace(header.Get("Content-Transfer-Encoding")))
	switch {
	case err != nil || len(header["Content-Type"]) > 1 || len(header["Content-Transfer-Encoding"]) > 1 || len(*all) > 1000:
		return errors.New("unknown")
	case strings.HasPrefix(kind, "multipart/"):
		parts := multipart.NewReader(body, params["boundary"])
		usual := "text/plain"
		if kind == "multipart/digest" {
			usual = "message/rfc822"
		}
		for {
			p, err := parts.NextRawPart()
			if err == io.EOF {
				*all = append(*all, "end")
				return nil
			}
			if err != nil {
				return err
			}
			if err := leaves(p.Header, usual, p, all); err != nil {
				return err
			}
		}
	case kind == "message/rfc822" && encoding != "base64" && encoding != "quoted-printable":
		m, err := mail.ReadMessage(body)
		if err != nil {
			return err
		}
		return leaves(textproto.MIMEHeader(m.Header), "text/plain", m.Body, all)
	case encoding == "quoted-printable":
		body = quotedprintable.NewReader(body)
	case encoding == "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, err := io.ReadAll(body)
	*all = append(*all, fmt.Sprintf("%s %q", kind, content))
	return err
}

func leavesOf(message string) (all []string, err error) {
	m, err := mail.ReadMessage(strings.NewReader(message))
	if err != nil {
		return nil, err
	}
	return all, leaves(textproto.MIMEHeader(m.Header), "text/plain", m.Body, &all)
}

// same checks what holds for every message, and reports whether it was
// converted.
func same(t *testing.T, in string) bool {
	t.Helper()
	out, r, err := converted(t, in, convert.Want{SevenBit: true})
	if err != nil {
		if !errors.Is(err, convert.ErrLeft) || wire.IsASCII(in) && !strings.Contains(err.Error(), "a header") && !strings.Contains(err.Error(), "multipart") &&
			!strings.Contains(err.Error(), "Content-Type") && !strings.Contains(err.Error(), "part") {
			t.Errorf("%v: %q", err, in)
		}
		return false
	}
	if !wire.IsASCII(out) || !wire.WholeLines([]byte(out)) {
		t.Errorf("not of 7 bits, or bare line ends: %q", out)
	}
	again, r2, err := converted(t, out, convert.Want{SevenBit: true})
	if err != nil || r2 != nil {
		t.Errorf("converted twice: %v\n%q\n%q", err, out, again)
	}
	before, err := leavesOf(in)
	if err != nil {
		return r != nil
	}
	after, err := leavesOf(out)
	if err != nil || strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("%v\nin  %q\nout %q\nbefore %q\nafter  %q", err, in, out, before, after)
	}
	return r != nil
}

var pieces = []string{
	"\n", "\n", "\n", "x", "\u00fc", "\u20ac", "\xff", "=", " ", "\t", "-", "--", ".", "--b0", "--b1--", "--b2", "From ", "=3D", "\x00",
	strings.Repeat("y", 74), strings.Repeat("y", 75), strings.Repeat("z", 999), "a word ",
}

// random is a message of parts, which nobody would write.
func random(r *rand.Rand, depth int) (kind, encoding, body string) {
	text := func(ascii bool) string {
		var b strings.Builder
		for range r.IntN(12) {
			p := pieces[r.IntN(len(pieces))]
			if ascii {
				p = strings.Map(func(r rune) rune {
					if r >= 0x80 {
						return 'e'
					}
					return r
				}, p)
			}
			b.WriteString(p)
		}
		s := b.String()
		for i := range 4 { // no line of ours may be one that parts
			s = strings.ReplaceAll(s, fmt.Sprintf("--b%d", i), fmt.Sprintf("--b%dx", i))
		}
		return s
	}
	switch n := r.IntN(6); {
	case n <= 1 && depth < 4:
		b := fmt.Sprintf("b%d", depth)
		body = text(true) + "\n"
		for range 1 + r.IntN(4) {
			kind, encoding, inner := random(r, depth+1)
			body += "--" + b + "\n" + kind + encoding + "X-Part: y\n\n" + inner + "\n"
		}
		return "Content-Type: multipart/mixed; boundary=\"" + b + "\"\n", []string{"", "Content-Transfer-Encoding: 8bit\n"}[r.IntN(2)], body + "--" + b + "--\n" + text(true)
	case n == 2 && depth < 4:
		kind, encoding, inner := random(r, depth+1)
		return "Content-Type: message/rfc822\n", "", "Subject: s\n" + kind + encoding + "\n" + inner
	case n == 3:
		return "Content-Type: application/octet-stream\n", []string{"", "Content-Transfer-Encoding: binary\n"}[r.IntN(2)], text(false)
	case n == 4:
		return "", "", text(false)
	}
	return "Content-Type: text/html; charset=utf-8\n", []string{"", "Content-Transfer-Encoding: 8bit\n"}[r.IntN(2)], text(false)
}

func randomMessage(r *rand.Rand) string {
	kind, encoding, body := random(r, 0)
	return crlfs("From: a@b\nMIME-Version: 1.0\n" + kind + encoding + "\n" + body)
}

// What is decoded of a converted message is what it held.
func TestSameContent(t *testing.T) {
	r, done := rand.New(rand.NewPCG(1, 2)), 0
	for range 1000 {
		if same(t, randomMessage(r)) {
			done++
		}
		if t.Failed() {
			return
		}
	}
	if done < 500 {
		t.Errorf("only %d were converted", done)
	}
}

func FuzzConvert(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add([]byte(randomMessage(r)))
	}
	f.Add([]byte("Subject: \u00fc\nFrom: \u00fc <a@b>\nContent-Disposition: x; filename=\"\u00fc\"\n\nx"))
	f.Fuzz(func(t *testing.T, in []byte) {
		text := strings.ReplaceAll(string(bytes.ReplaceAll(in, []byte("\r"), nil)), "\n", "\r\n")
		if !strings.Contains(text, "\r\n\r\n") {
			return
		}
		same(t, text)
		out, r, err := converted(t, text, convert.Want{LongLines: true})
		if err == nil && r != nil && r.Body == nil || err != nil && !errors.Is(err, convert.ErrLeft) {
			t.Errorf("%v: %q, %q", err, text, out)
		}
	})
}

const readByPython = `
import email, email.policy, json, sys
def leaves(m):
    return [[p.get_content_type(), p.get_payload(decode=True).hex()] for p in m.walk() if not p.is_multipart()]
for line in sys.stdin:
    before, after = (bytes.fromhex(h) for h in json.loads(line))
    a, b = leaves(email.message_from_bytes(before)), leaves(email.message_from_bytes(after))
    m = email.message_from_bytes(after, policy=email.policy.default)
    print(json.dumps({"same": a == b, "a": a, "b": b, "subject": m["subject"], "from": m["from"] and [[x.display_name, x.addr_spec] for x in m["from"].addresses], "file": m.get_filename()}))
`

// Python's library shares nothing with us.
func TestPythonReadsTheSame(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is missing")
	}
	head := "Subject: Gr\u00fc\u00dfe aus " + strings.Repeat("K\u00f6ln ", 30) + "ab\nFrom: \"M\u00fcller, J.\" <a@b.example>\n" +
		"MIME-Version: 1.0\nContent-Disposition: attachment; filename=\"\u00dcber (1); x.pdf\"\n"
	r, in := rand.New(rand.NewPCG(5, 6)), &bytes.Buffer{}
	var messages []string
	for range 60 {
		kind, encoding, body := random(r, 0)
		message := crlfs(head + kind + encoding + "\n" + body)
		if out, c, err := converted(t, message, convert.Want{SevenBit: true}); err == nil && c != nil {
			line, _ := json.Marshal([]string{fmt.Sprintf("%x", message), fmt.Sprintf("%x", out)})
			in.Write(append(line, '\n'))
			messages = append(messages, message)
		}
	}
	cmd := exec.Command(python, "-c", readByPython)
	cmd.Stdin = in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	results := json.NewDecoder(bytes.NewReader(out))
	for i, message := range messages {
		var got struct {
			Same          bool
			A, B          [][2]string
			Subject, File string
			From          [][2]string
		}
		if err := results.Decode(&got); err != nil {
			t.Fatal(i, err)
		}
		if !got.Same {
			t.Errorf("%q\n%q\n%q", message, got.A, got.B)
		}
		if got.Subject != "Gr\u00fc\u00dfe aus "+strings.Repeat("K\u00f6ln ", 30)+"ab" || got.File != "\u00dcber (1); x.pdf" ||
			len(got.From) != 1 || got.From[0] != [2]string{"M\u00fcller, J.", "a@b.example"} {
			t.Errorf("%+v", got)
		}
	}
	if len(messages) < 40 {
		t.Errorf("only %d were converted", len(messages))
	}
}
