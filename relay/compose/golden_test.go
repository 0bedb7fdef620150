package compose

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A sample is a message with a name.
type sample struct {
	name string
	Message
}

const picture = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01"

const invitation = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@example.com\r\n" +
	"DTSTAMP:20261128T080000Z\r\nDTSTART:20261130T090000Z\r\nSUMMARY:Übergabe\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

// samples is one message for each shape that there is.
func samples() []sample {
	long := strings.Repeat("Übersicht der Außenstände ", 20)
	list := []sample{
		{"text", Message{Subject: "Nightly 2026-11-28", Text: "All is well.\n"}},
		{"empty", Message{Subject: "done"}},
		{"fragile", Message{Subject: "Lines", Text: "From me\n.\n..\n.dot\ntrailing \n\ttab\t\n=3D\n" + strings.Repeat("x", 3000) + "\r\nFrom " + strings.Repeat("y.", 60) + "\rend"}},
		{"cyrillic", Message{Subject: "Счёт № 7", Text: "Уважаемые господа,\nсчёт № 7 ещё не оплачен. Просим оплатить его в течение недели.\n"}},
		{"html", Message{Subject: "HTML", HTML: "<p>Dear Bob,</p><table><tr><th>Invoice<th>Total</tr><tr><td>7<td>11.200,00 €</tr></table>"}},
		{"html-alone", Message{Subject: "HTML", HTML: "<p>Dear Bob</p>", NoText: true}},
		{"nasty-names", Message{
			From: Address{`Müller, "Rechnung"`, "billing@example.com"}, ReplyTo: []Address{{"Größe & Söhne", "reply@bücher.example"}},
			To: []Address{{`Brown, Bob "B" \ Co.`, "bob@example.org"}, {strings.Repeat("Long", 30), "long@example.org"}, {"O'Neil John", "oneil@example.org"}, {"=?utf-8?q?no?=", "no@example.org"}},
			Cc: []Address{{"محمد", "m@example.org"}, {"👩‍💻 Ada", "ada@example.org"}, {"", "plain@example.org"}}, Bcc: []Address{{"Hidden", "hidden@example.org"}},
			Subject: long, Text: "x\n", Attached: []Part{
				BytesPart(strings.TrimSpace(long)+".csv", "", []byte("a;b\n")), BytesPart(`it"s 100% 'it'.txt`, "", []byte("\xff")),
				BytesPart(strings.Repeat("long-name-", 20)+".pdf", "", []byte("%PDF"))},
		}},
		{"many-recipients", Message{Subject: "x", Text: "x\n", To: many(30), Cc: many(3)}},
		{"bcc-only", Message{Subject: "To some", Text: "x\n", To: []Address{}, Bcc: many(2)}},
		{"inline", Message{
			Subject: "Picture", HTML: `<p><img src="cid:logo.png" alt="Example Ltd"> and <b style="background:url('CID:a%40b')">x</b></p>`,
			Embedded: []Part{BytesPart("logo.png", "", []byte(picture))},
			Attached: []Part{{Name: "b.gif", ID: "a@b", Size: 3, Open: BytesPart("", "", []byte("GIF")).Open}, {Name: "c.gif", ID: "unused", Size: 3, Open: BytesPart("", "", []byte("GIF")).Open}},
		}},
		{"inline-html-alone", Message{Subject: "Picture", NoText: true, HTML: `<img src=cid:x>`, Embedded: []Part{{Name: "x.png", ID: "x", Size: 3, Open: BytesPart("", "", []byte("PNG")).Open}}}},
		{"attachment-alone", Message{Subject: "File", Attached: []Part{BytesPart("empty.bin", "", []byte{})}}},
		{"invitation", Message{Subject: "Übergabe", Text: "Please come.\n", HTML: "<p>Please come.</p>", Calendar: []byte(invitation)}},
		{"message-attached", Message{Subject: "Fwd", Text: "See below.\n", Attached: []Part{BytesPart("orig.eml", "", []byte("From: a@example.org\nSubject: x\n\nhello\nworld"))}}},
		{"gzip", Message{Subject: "Log", Text: "x\n", Attached: []Part{{Name: "job.log", Size: 6000, Gzip: true, Open: BytesPart("", "", bytes.Repeat([]byte("a line\n"), 1000)[:6000]).Open}}}},
		{"header", Message{
			Subject: "A subject of plain words that is longer than what fits in one line of seventy-six columns", Text: "x\n", Importance: High, AutoSubmitted: "no",
			Header: []Field{
				{"X-Class", "reminder"}, {"X-Name", "Größe"}, {"X-Token", strings.Repeat("t", 1200)}, {"X-Empty", ""},
				{"List-Unsubscribe", "<https://example.com/" + strings.Repeat("u", 100) + ">, <mailto:off@example.com>"},
				{"References", "<1." + strings.Repeat("r", 80) + "@example.com> <2@example.com>"}, {"Postern-Idempotency-Key", "reminder/bob@example.org/2026-11-28"},
			},
		}},
		{"low", Message{Subject: "=?utf-8?q?looks_encoded?=", Text: "x\n", Importance: Low}},
		{"smtputf8", Message{From: Address{"Jörg", "jörg@bücher.example"}, To: []Address{{"Δοκιμή", "δοκιμή@παράδειγμα.example"}}, Subject: "x", Text: "x\n"}},
	}
	for i := range list {
		list[i].Message = completed(list[i].Message)
	}
	return list
}

// completed fixes what is otherwise made anew each time.
func completed(m Message) Message {
	if m.From == (Address{}) {
		m.From = Address{"Accounts", "billing@example.com"}
	}
	if m.To == nil && m.Bcc == nil {
		m.To = []Address{{"Bob", "bob@example.org"}}
	}
	m.Date = time.Date(2026, 11, 28, 7, 40, 0, 0, time.FixedZone("", 3600))
	m.MessageID, m.Boundary = "01j9x4@relay.example.com", "golden"
	return m
}

func many(n int) (list []Address) {
	for i := range n {
		list = append(list, Address{strings.Repeat("Name ", i%5), strings.Repeat("x", 1+i) + "@example.org"})
	}
	return list
}

func compose(t testing.TB, m Message) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := m.WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(b.Len()) {
		t.Errorf("WriteTo says %d octets, and wrote %d", n, b.Len())
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			got := compose(t, s.Message)
			file := filepath.Join("testdata", "golden", s.name+".eml")
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs; this is what was composed:\n%s", file, got)
			}
			wellFormed(t, got)
		})
	}
}
