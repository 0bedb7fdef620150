package convert_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"postern/config/wire"
	"postern/relay/convert"
	"postern/spool"
)

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// converted is message, which has a whole header, as it becomes.
func converted(t testing.TB, message string, want convert.Want) (string, *convert.Result, error) {
	t.Helper()
	header, _, ok := strings.Cut(message, "\r\n\r\n")
	if !ok {
		t.Fatalf("no header: %q", message)
	}
	header += "\r\n"
	r, err := convert.Convert([]byte(header), memory{bytes.NewReader([]byte(message))}, int64(len(header))+2, want)
	if err != nil || r == nil {
		return message, r, err
	}
	out := string(r.Header) + "\r\n"
	if r.Body == nil {
		return out + message[len(header)+2:], r, nil
	}
	body, err := io.ReadAll(io.NewSectionReader(r.Body, 0, r.Body.Size()+100))
	if err != nil || int64(len(body)) != r.Body.Size() {
		t.Errorf("%d bytes of %d, %v", len(body), r.Body.Size(), err)
	}
	return out + string(body), r, nil
}

func crlfs(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const typed = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"

var long = strings.Repeat("long ", 250) // 1,250 octets

// What becomes of messages, byte for byte.
func TestConverted(t *testing.T) {
	for _, c := range []struct{ name, in, out string }{
		{"7 bits", "Subject: s\n\nx\n", ""},
		{"7 bits, declared as 8", typed + "Content-Transfer-Encoding: 8bit\n\nx\n", ""},
		{"no MIME", "Subject: s\n\nGr\u00fc\u00dfe\n",
			"Subject: s\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n"},
		{"no MIME, no UTF-8", "Subject: s\n\nGr\xfc\xdfe\n",
			"Subject: s\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n"},
		{"text", typed + "content-transfer-ENCODING:\n 8BIT\nX: y\n\n\u00fc\n", typed + "content-transfer-ENCODING: quoted-printable\nX: y\n\n=C3=BC\n"},
		{"declared as 7 bits", typed + "Content-Transfer-Encoding: 7bit\n\n\u00fc\n", typed + "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"},
		{"no end of line", typed + "\n\u00fc \t", typed + "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC =09"},
		{"blanks and signs", typed + "\n\u00fc = \n \n.\t\n\x00\x7f\n", typed + "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC =3D=20\n=20\n.=09\n=00=7F\n"},
		{"lines of 76 and 77", typed + "\n\u00fc" + strings.Repeat("x", 70) + "\n\u00fc" + strings.Repeat("x", 71) + "\n" + strings.Repeat("x", 75) + "\u00fc\n",
			typed + "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC" + strings.Repeat("x", 70) + "\n=C3=BC" + strings.Repeat("x", 69) + "=\nxx\n" +
				strings.Repeat("x", 75) + "=\n=C3=BC\n"},
		{"no text", "MIME-Version: 1.0\nContent-Type: application/pdf\n\n\xff\xfe\n", "MIME-Version: 1.0\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n//4NCg==\n"},
		{"lines of base64", "MIME-Version: 1.0\nContent-Type: a/b\n\n" + strings.Repeat("\xff", 57*2) + "\n",
			"MIME-Version: 1.0\nContent-Type: a/b\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat(strings.Repeat("/", 76)+"\n", 2) + "DQo=\n"},
		{"a type that nobody can read", "MIME-Version: 1.0\nContent-Type: text\n\n\xff", "MIME-Version: 1.0\nContent-Type: text\nContent-Transfer-Encoding: base64\n\n/w==\n"},
		{"parts", "MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\nContent-Type: multipart/mixed; boundary=\"b\"\n\npre \u00fc\n--b\n\nGr\u00fc\u00dfe\n--b  \nContent-Type: a/b\n\n\xff\n--b\nContent-Type: a/b\nContent-Transfer-Encoding: base64\n\n/w==\n--b\n\nascii\n--b--\nafter \u00fc\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\nContent-Type: multipart/mixed; boundary=\"b\"\n\npre ??\n--b\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n--b  \nContent-Type: a/b\nContent-Transfer-Encoding: base64\n\n/w==\n--b\nContent-Type: a/b\nContent-Transfer-Encoding: base64\n\n/w==\n--b\n\nascii\n--b--\nafter ??\n"},
		{"parts in parts, the outer line ends the inner", "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/alternative; boundary=i\nContent-Transfer-Encoding: 8bit\n\n--i\n\n\u00fc\n--o\n\n\u00fc\n--i\n--o--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/alternative; boundary=i\nContent-Transfer-Encoding: 7bit\n\n--i\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--o\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n=2D-i\n--o--\n"},
		{"a message in it", "MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: Gr\u00fc\u00dfe\n" + typed + "\n\u00fc\n",
			"MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\n" + typed + "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"},
		{"a digest", "MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nContent-Type: a/b\n\n\xff\n--b--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nContent-Type: a/b\nContent-Transfer-Encoding: base64\n\n/w==\n--b--\n"},
		{"parts without header, without end", "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n--b\nContent-Type: a/b\n--b\n\n--b\n\n\u00fc",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n--b\nContent-Type: a/b\n--b\n\n--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC"},
		{"no line of parts comes of text", "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\u00fc" + strings.Repeat("x", 69) + "--b\n--bc\n-x\n-\n--b--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC" + strings.Repeat("x", 69) + "=\n=2D-b\n=2D-bc\n-x\n-\n--b--\n"},
		{"long lines beside 8 bits", "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\u00fc\n--b\n\n" + strings.Repeat("x", 999) + "\n--b--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--b\nContent-Transfer-Encoding: quoted-printable\n\n" +
				strings.Repeat(strings.Repeat("x", 75)+"=\n", 13) + strings.Repeat("x", 24) + "\n--b--\n"},
		{"signed parts of 7 bits", "MIME-Version: 1.0\nSubject: \u00fc\nContent-Type: multipart/signed; boundary=b\n\n--b\n\n" + long + "\n--b--\n",
			"MIME-Version: 1.0\nSubject: =?utf-8?B?w7w=?=\nContent-Type: multipart/signed; boundary=b\n\n--b\n\n" + long + "\n--b--\n"},
	} {
		out, _, err := converted(t, crlfs(c.in), convert.Want{SevenBit: true})
		want := crlfs(c.out)
		if c.out == "" {
			want = crlfs(c.in)
		}
		if err != nil || out != want {
			t.Errorf("%s: %v\n got %q\nwant %q", c.name, err, out, want)
		}
	}
}

// Where nobody knows what a message is, and where somebody else's signature or
// encoding is in the way, nothing is changed.
func TestLeft(t *testing.T) {
	deep, end := "", ""
	for i := range 40 {
		b := strings.Repeat("b", i+1)
		deep += "Content-Type: multipart/mixed; boundary=" + b + "x\n\n--" + b + "x\n"
		end = "--" + b + "x--\n" + end
	}
	for name, in := range map[string]string{
		"signed":             "Content-Type: multipart/signed; boundary=b\n\n--b\n\n\u00fc\n--b--\n",
		"signed in parts":    "Content-Type: multipart/mixed; boundary=o\n\n--o\n\n\u00fc\n--o\nContent-Type: Multipart/Signed (x); boundary=b\n\n--b\n\n\u00fc\n--b--\n--o--\n",
		"S/MIME":             "Content-Type: application/pkcs7-mime\n\n\xff\n",
		"uuencoded":          "Content-Transfer-Encoding: x-uuencode\n\n\u00fc\n",
		"quoted-printable":   typed + "Content-Transfer-Encoding: quoted-printable\n\n\u00fc\n",
		"two encodings":      "Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: 7bit\n\n\u00fc\n",
		"two types":          "Content-Type: text/plain\nContent-Type: text/html\n\n\u00fc\n",
		"no boundary":        "Content-Type: multipart/mixed\n\n--b\n\n\u00fc\n",
		"a long boundary":    "Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", 71) + "\n\n\u00fc\n",
		"boundary twice":     "Content-Type: multipart/mixed; boundary=b; boundary=c\n\n--b\n\n\u00fc\n",
		"the same boundary":  "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\u00fc\n--b--\n",
		"boundary that ends": "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b--\n\n--b\n\n\u00fc\n--b--\n",
		"no field":           "Content-Type: multipart/mixed; boundary=b\n\n--b\nno field\n\n\u00fc\n--b--\n",
		"no field outside":   "Subject: s\nno field\n\n\u00fc\n",
		"a field of grammar": "Message-ID: <\u00fc@b>\n\nx\n",
		"an address":         "To: \u00fc@example.com\n\nx\n",
		"an address in <>":   "To: x <\u00fc@example.com>\n\nx\n",
		"a domain":           "To: x@ex\u00e4mple.com\n\nx\n",
		"a status":           "Content-Type: message/delivery-status\n\n\u00fc\n",
		"too deep":           deep + "\n\u00fc\n" + end,
		"too many":           "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n\u00fc\n", 1001) + "--b--\n",
		"a large header":     "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + strings.Repeat("X: y\n", 20_000) + "\n\u00fc\n--b--\n",
		"many large headers": "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n"+strings.Repeat("X: y\n", 10_000)+"\n\u00fc\n", 30) + "--b--\n",
		"endless parting":    "Content-Type: multipart/mixed; boundary=b\n\n--b" + strings.Repeat(" ", 70_000) + "\n\n\u00fc\n--b--\n",
	} {
		in = crlfs(in)
		out, _, err := converted(t, in, convert.Want{SevenBit: true})
		if !errors.Is(err, convert.ErrLeft) || out != in || strings.HasSuffix(err.Error(), ": ") {
			t.Errorf("%s: %v, %.200q", name, err, out)
		}
	}
}

func TestFields(t *testing.T) {
	for in, want := range map[string]string{
		"Subject: Gr\u00fc\u00dfe aus K\u00f6ln x":                                      "Subject: =?utf-8?B?R3LDvMOfZSBhdXMgS8O2bG4=?= x",
		"Subject: a  \u00fc":                                                            "Subject: a  =?utf-8?B?w7w=?=",
		"subject:\n\t=?utf-8?Q?x?= \u00fc =?utf-8?Q?x?=":                                "subject: =?utf-8?Q?x?= =?utf-8?B?IMO8IA==?= =?utf-8?Q?x?=",
		"X-Note: \xfc":                                                                  "X-Note: =?unknown-8bit?B?/A==?=",
		"Subject: " + strings.Repeat("\u00fc", 20):                                      "Subject: =?utf-8?B?" + strings.Repeat("w7zDvMO8", 5) + "?=\n =?utf-8?B?w7zDvMO8w7zDvA==?=",
		"From: R\u00f6\u00f6t <root@host>":                                              "From: =?utf-8?B?UsO2w7Z0?= <root@host>",
		"From: \"R\u00f6\u00f6t, \\\"x\\\"\"<root@host>, a@b (\u00fc)":                  "From: =?utf-8?B?UsO2w7Z0LCAieCI=?= <root@host>, a@b (=?utf-8?B?w7w=?=)",
		"To: J. M\u00fcller <\"a>b\"@c>, K\u00f6ln: a@b, x <c@d>;, e@f":                 "To: J. =?utf-8?B?TcO8bGxlcg==?= <\"a>b\"@c>, =?utf-8?B?S8O2bG4=?=: a@b, x <c@d>;, e@f",
		"Keywords: a, \u00fc, b c":                                                      "Keywords: a, =?utf-8?B?w7w=?=, b c",
		"Content-Disposition: attachment; filename=\"\u00fc (1).pdf\"":                  "Content-Disposition: attachment;\n filename*=utf-8''%C3%BC%20%281%29.pdf",
		"Content-Disposition: attachment; filename=\"\u00fc\"; filename*=utf-8''%C3%BC": "Content-Disposition: attachment; filename=\"_\"; filename*=utf-8''%C3%BC",
		"Content-Type: a/b; name=\xfc.x; size=1":                                        "Content-Type: a/b;\n name*=unknown-8bit''%FC.x; size=1",
		"Subject: =?x? \u00fc=?":                                                        "", "From: \u00fc": "", "From: \u00fc, a@b": "", "From: (\u00fc(\u00fc)) a@b": "", "From: \"\u00fc": "",
		"Content-Type: \u00fc/b": "", "Content-Type: a/b; x=\"\u00fc": "", "Content-Type: a/b (\u00fc); x=y": "", "Date: \u00fc": "", "\u00fc: x": "",
		"X-A: " + strings.Repeat("x", 1000) + " \u00fc": "", "Subject: \u00fc\x00": "",
	} {
		out, r, err := converted(t, crlfs(in+"\n\nx\n"), convert.Want{SevenBit: true})
		switch {
		case want == "" && !errors.Is(err, convert.ErrLeft):
			t.Errorf("%q: %v, %q", in, err, out)
		case want != "" && (err != nil || out != crlfs(want+"\n\nx\n") || len(r.Changed) != 1):
			t.Errorf("%q: %v\n got %q\nwant %q", in, err, out, crlfs(want))
		}
	}
}

// With lines alone, 8 bits stay, and so does what is signed.
func TestLongLines(t *testing.T) {
	for in, want := range map[string]string{
		typed + "Content-Transfer-Encoding: 8bit\n\n\u00fc\n":                        "",
		typed + "\n" + strings.Repeat("x", 998) + "\n":                               "",
		"Content-Type: application/pkcs7-mime\n\n" + long + "\n":                     "",
		typed + "Content-Transfer-Encoding: base64\n\n" + long + "\n":                "",
		"Content-Type: multipart/signed; boundary=b\n\n--b\n\n" + long + "\n--b--\n": "",
		"Subject: \u00fc\nMIME-Version: 1.0\nContent-Type: a/b\n\n\xff" + strings.Repeat("x", 998): "Subject: \u00fc\nMIME-Version: 1.0\nContent-Type: a/b\nContent-Transfer-Encoding: base64\n\n" +
			"/3h4" + strings.Repeat("eHh4", 18) + "\n" + strings.Repeat(strings.Repeat("eHh4", 19)+"\n", 16) + strings.Repeat("eHh4", 10) + "\n",
	} {
		out, _, err := converted(t, crlfs(in), convert.Want{LongLines: true})
		if want == "" {
			want = in
		}
		if err != nil || out != crlfs(want) {
			t.Errorf("%.60q: %v, %.300q", in, err, out)
		}
	}
}

// Whatever pieces a body is read in, it is the same, and a spool that fails is
// told as that.
func TestReadInPieces(t *testing.T) {
	in := crlfs("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\u00fc\n--b\n\n" + strings.Repeat("Gr\u00fc\u00dfe und mehr = \n", 500) +
		"--b\nContent-Type: a/b\n\n" + strings.Repeat("\xff\xfe\xfd x", 2000) + "\n--b\n\nascii\n--b--\n")
	_, r, err := converted(t, in, convert.Want{SevenBit: true})
	if err != nil {
		t.Fatal(err)
	}
	size := r.Body.Size()
	whole := make([]byte, size)
	if n, err := r.Body.ReadAt(whole, 0); n != len(whole) || err != nil && err != io.EOF {
		t.Fatal(n, err)
	}
	for range 500 {
		off := rand.Int64N(size + 10)
		p := make([]byte, rand.IntN(300))
		n, err := r.Body.ReadAt(p, off)
		want := whole[min(off, size):min(off+int64(len(p)), size)]
		if !bytes.Equal(p[:n], want) || n < len(p) && err != io.EOF {
			t.Fatalf("%d at %d: %d, %v", len(p), off, n, err)
		}
	}
	if _, err := r.Body.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("read before the beginning")
	}
}

// short is a content that ends before its size.
type short struct {
	memory
	size int64
}

func (s short) Size() int64 { return s.size }

func TestUnreadable(t *testing.T) {
	header := []byte("Content-Type: a/b\r\n")
	content := short{memory{bytes.NewReader(append(header, "\r\n\xff"...))}, 1000}
	if _, err := convert.Convert(header, content, int64(len(header))+2, convert.Want{SevenBit: true}); err == nil || errors.Is(err, convert.ErrLeft) {
		t.Error(err)
	}
}

// endless is a large content that is made as it is read.
type endless struct {
	head string
	line string
	size int64
}

func (e endless) Size() int64  { return e.size }
func (e endless) Close() error { return nil }
func (e endless) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && off < e.size {
		s := e.head
		at := off
		if at >= int64(len(s)) {
			s, at = e.line, (off-int64(len(e.head)))%int64(len(e.line))
		}
		k := copy(p[n:], s[at:])
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

// 50 MiB cost no more memory than 1 MiB.
func TestBoundedMemory(t *testing.T) {
	size := int64(50 << 20)
	for _, kind := range []string{"text/plain", "a/b"} {
		for _, line := range []string{"Gr\u00fc\u00dfe, 0123456789 0123456789 0123456789\r\n", "no end of line \u00fc", "--b is no line that parts\r\n"} {
			head := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
			var content spool.Content = endless{head + "\r\n--b\r\nContent-Type: " + kind + "\r\n\r\n\u00fc", line, size}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := convert.Convert([]byte(head), content, int64(len(head))+2, convert.Want{SevenBit: true})
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 64<<10)
			for off := int64(0); off < r.Body.Size(); {
				n, err := r.Body.ReadAt(buf, off)
				if off += int64(n); err != nil && (err != io.EOF || off != r.Body.Size()) || !wire.IsASCII(buf[:n]) {
					t.Fatal(off, err)
				}
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
				t.Errorf("%s, %q: %d bytes", kind, line, used)
			}
			size = 5 << 20 // once is enough
		}
	}
}
