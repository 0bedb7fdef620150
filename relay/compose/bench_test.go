package compose

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
)

var letter = strings.Repeat("Dear Bob,\n\nthe invoices below are overdue; please pay them within a week, or tell us why not.\n\n", 5)

var page = `<html><head><style>td{padding:4px} .late{color:#c00}</style></head><body><p>Dear Bob,</p><table><tr><th>Invoice<th>Due<th>Total</tr>` +
	strings.Repeat(`<tr><td>INV-2026-0007<td>2026-11-01<td>1.200,00 €</tr>`, 5) + `</table><p class="late">5 invoices, 6.000,00 €.</p></body></html>`

func BenchmarkWrite(b *testing.B) {
	text := Message{From: Address{"Accounts", "billing@example.com"}, To: []Address{{"Bob", "bob@example.org"}}, Subject: "Your 5 open invoices of November 2026", Text: letter}
	html := text
	html.HTML = page
	derived := html
	derived.Text = ""
	attached := html
	attached.Attached = []Part{BytesPart("terms.pdf", "", noise(50_000))}
	s := NewShared(0)
	path := write(b, b.TempDir(), "terms.pdf", noise(50_000))
	shared := html
	for _, c := range []struct {
		name string
		m    *Message
	}{{"text", &text}, {"html+text", &html}, {"html", &derived}, {"html+text+50KB", &attached}, {"html+text+50KBshared", &shared}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c.m == &shared {
					p, err := s.FilePart(path, "", "")
					if err != nil {
						b.Fatal(err)
					}
					shared.Attached = []Part{p}
				}
				n, err := c.m.WriteTo(io.Discard)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(n)
			}
		})
	}
}

// BenchmarkGoMessage is html+text+50KB of BenchmarkWrite by go-message's own
// writer, with the header fields ready: what a tree of writers costs.
func BenchmarkGoMessage(b *testing.B) {
	data := noise(50_000)
	header := func(fields ...string) (h message.Header) {
		for i := len(fields) - 2; i >= 0; i -= 2 {
			h.AddRaw([]byte(fields[i] + ": " + fields[i+1] + "\r\n"))
		}
		return h
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	part := func(w *message.Writer, body []byte, fields ...string) {
		p, err := w.CreatePart(header(fields...))
		must(err)
		_, err = p.Write(body)
		must(err)
		must(p.Close())
	}
	b.ReportAllocs()
	for b.Loop() {
		w, err := message.CreateWriter(io.Discard, header("From", "Accounts <billing@example.com>", "To", "Bob <bob@example.org>", "Subject", "Your 5 open invoices of November 2026",
			"Date", time.Now().Format(time.RFC1123Z), "Message-Id", "<x@example.com>", "Content-Type", "multipart/mixed; boundary=a1"))
		must(err)
		alternative, err := w.CreatePart(header("Content-Type", "multipart/alternative; boundary=a2"))
		must(err)
		part(alternative, []byte(letter), "Content-Type", "text/plain; charset=utf-8", "Content-Transfer-Encoding", "quoted-printable")
		part(alternative, []byte(page), "Content-Type", "text/html; charset=utf-8", "Content-Transfer-Encoding", "quoted-printable")
		must(alternative.Close())
		part(w, data, "Content-Type", "application/pdf; name=terms.pdf", "Content-Transfer-Encoding", "base64", "Content-Disposition", "attachment; filename=terms.pdf")
		must(w.Close())
	}
}

func BenchmarkTextOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := TextOf(page); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInlineCSS(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := InlineCSS(page); err != nil {
			b.Fatal(err)
		}
	}
}
