package outgoing_test

import (
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"postern/config"
	"postern/relay/outgoing"
	"postern/spool"
)

// plain takes 8BITMIME from the upstream.
func plain(_ *config.Config, up *config.Upstream) { up.Without = []string{"8BITMIME"} }

const eightBit = "From: R\u00f6\u00f6t <a@example.com>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nGr\u00fc\u00dfe\n"

// An upstream without 8BITMIME gets 7 bits, whatever was declared, and is told
// their size.
func TestSevenBits(t *testing.T) {
	r := newRelay(t, plain)
	r.send(t, &spool.Envelope{From: "a@example.com", Body: spool.Body8BitMIME}, crlfs(eightBit), crlfs("From: a@b\n\n7 bits\n"))
	r.send(t, &spool.Envelope{From: "a@example.com", SMTPUTF8: true}, crlfs(eightBit))
	want := crlfs("From: =?utf-8?B?UsO2w7Z0?= <a@example.com>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" +
		"Content-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n")
	for i, want := range []string{want, crlfs("From: a@b\n\n7 bits\n"), want} {
		if got := r.server.got[i]; got.data != want || got.opts.Size != int64(len(want)) || got.opts.Body != "" {
			t.Errorf("%d: size %d, body %q: %q", i, got.opts.Size, got.opts.Body, got.data)
		}
	}
	if len(r.events) > 0 {
		t.Errorf("%+v", r.events)
	}
}

// With 8BITMIME, and for BINARYMIME, all goes as it is.
func TestEightBitsStay(t *testing.T) {
	r := newRelay(t, func(*config.Config, *config.Upstream) {})
	r.send(t, &spool.Envelope{From: "a@example.com"}, crlfs(eightBit))
	if got := r.server.got[0]; got.data != crlfs(eightBit) || got.opts.Body != smtp.Body8BitMIME {
		t.Errorf("%+v", got)
	}
	r = newRelay(t, plain)
	got := r.send(t, &spool.Envelope{From: "a@example.com", Body: spool.BodyBinaryMIME}, crlfs(eightBit))
	if o := got[0].Outcomes[0]; len(r.server.got) > 0 || o.Enhanced != "5.6.3" || !strings.Contains(o.Text, "BINARYMIME") {
		t.Errorf("%+v", o)
	}
}

// Clients declare SMTPUTF8 where only a name in the header needs it, as Go's
// library does for every message. An upstream without it gets that encoded.
func TestHeaderWithoutSMTPUTF8(t *testing.T) {
	r := newRelay(t, func(_ *config.Config, up *config.Upstream) { up.Without = []string{"SMTPUTF8"} })
	env := &spool.Envelope{From: "a@example.com", SMTPUTF8: true, Body: spool.Body8BitMIME}
	r.send(t, env, crlfs(eightBit))
	if got := r.server.got[0]; got.data != strings.Replace(crlfs(eightBit), "R\u00f6\u00f6t", "=?utf-8?B?UsO2w7Z0?=", 1) || got.opts.Body != smtp.Body8BitMIME || got.opts.UTF8 {
		t.Errorf("%+v", got)
	}
	got := r.send(t, env, crlfs("To: \u00fc@example.com\n\nx\n"))
	if o := got[0].Outcomes[0]; o.Enhanced != "5.6.9" || len(r.server.got) > 1 {
		t.Errorf("%+v", o)
	}
}

// What can't be converted is refused where it was declared, and goes as ever
// where it was not. Both is told.
func TestNotConverted(t *testing.T) {
	r := newRelay(t, plain)
	signed := crlfs("From: a@example.com\nContent-Type: multipart/signed; boundary=b\n\n--b\n\n\u00fc\n--b--\n")
	large := strings.Repeat("X: y\r\n", 100_000) + "\r\n\u00fc\r\n"
	for _, in := range []string{signed, large} {
		got := r.send(t, &spool.Envelope{From: "a@example.com", Body: spool.Body8BitMIME}, in)
		if o := got[0].Outcomes[0]; o.Code != 554 || o.Enhanced != "5.6.3" || !o.Unsupported || o.Text != "the message is 8BITMIME, which the upstream does not take" {
			t.Errorf("%+v", o)
		}
	}
	if len(r.server.got) > 0 {
		t.Errorf("%d messages", len(r.server.got))
	}
	r.send(t, &spool.Envelope{From: "a@example.com"}, signed)
	if len(r.server.got) != 1 || r.server.got[0].data != signed {
		t.Errorf("%+v", r.server.got)
	}
	for i, reason := range []string{"a part of 8 bits is signed, or in an encoding of its own", "its header is larger than 512 KiB", "a part of 8 bits is signed, or in an encoding of its own"} {
		if e, ok := r.events[i].(outgoing.NotConverted); !ok || e.Reason != reason || e.Upstream != "office" || e.ID == 0 {
			t.Errorf("%+v", r.events[i])
		}
	}
}

// A signature of others, which covers the body, breaks; ours covers what goes out,
// and is made anew for an upstream that takes 8 bits.
func TestConvertedAndSigned(t *testing.T) {
	record := ""
	r := newRelay(t, func(cfg *config.Config, up *config.Upstream) {
		record = signing(t, cfg)
		up.Without, up.Sender = []string{"8BITMIME"}, "us@example.com"
	})
	// Only a part differs, and not the header.
	in := crlfs("From: a@other.example\nReply-To: a@other.example\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n" +
		strings.Repeat("Gr\u00fc\u00dfe\n", 20_000) + "--b--\n")
	env := &spool.Envelope{From: "a@other.example", Body: spool.Body8BitMIME}
	r.send(t, env, in)
	r.cfg.Upstreams["office"].Without = nil
	r.send(t, env, in)
	r.cfg.Upstreams["office"].Without = []string{"8BITMIME"}
	signed := crlfs("DKIM-Signature: d=other.example; h=from\n") + in
	r.send(t, env, signed, signed)
	for i, got := range r.server.got {
		if i < 2 && !valid(t, record, got.data) || got.opts.Size != int64(len(got.data)) || strings.Contains(got.data, "Gr=C3=BC") != (i != 1) {
			t.Errorf("%d: size %d of %d: %.400q", i, got.opts.Size, len(got.data), got.data)
		}
	}
	want := []outgoing.Event{
		outgoing.SignatureBroken{ID: 1, Upstream: "office", Rule: "sender of office", Domain: "other.example", Field: "from"},
		outgoing.SignatureBroken{ID: 1, Upstream: "office", Rule: "7 bits", Domain: "other.example", Field: "body"},
	}
	if len(r.events) != 2 || r.events[0] != want[0] || r.events[1] != want[1] {
		t.Errorf("%+v", r.events)
	}
}

// Long lines are encoded where the upstream is to get none, unless that would
// break a signature.
func TestLongLines(t *testing.T) {
	r := newRelay(t, func(_ *config.Config, up *config.Upstream) { up.EncodeLongLines = true })
	in := crlfs("From: a@b\nMIME-Version: 1.0\nContent-Type: text/plain\n\n" + strings.Repeat("x", 999) + "\n")
	short := crlfs("From: \u00fc <a@b>\n\n\u00fc\n")
	r.send(t, &spool.Envelope{From: "a@b"}, in, crlfs("DKIM-Signature: d=b; h=from\n")+in, short)
	if got := r.server.got[0].data; !strings.HasSuffix(got, "\r\n"+strings.Repeat("x", 24)+"\r\n") || !strings.Contains(got, "\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n") {
		t.Errorf("%q", got)
	}
	if r.server.got[1].data != crlfs("DKIM-Signature: d=b; h=from\n")+in || r.server.got[2].data != short || r.server.got[2].opts.Body != smtp.Body8BitMIME || len(r.events) > 0 {
		t.Errorf("%+v", r.server.got[1:])
	}
}
