package intake

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"postern/config"
	"postern/config/wire"
)

// TestOldDevicesSpeakTLS: with tls_min_version = "1.0" a device that knows
// nothing newer gets through, and without it doesn't.
func TestOldDevicesSpeakTLS(t *testing.T) {
	for _, c := range []struct {
		min config.TLSVersion
		ok  bool
	}{{"1.0", true}, {"1.1", false}, {"1.2", false}, {"", false}} {
		l := testListener()
		l.TLS, l.TLSMinVersion = config.ListenerTLSImplicit, c.min
		l.CertFile, l.KeyFile = testCert(t)
		set, err := newSettings(&l, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range set.tls.CipherSuites {
			if strings.Contains(tls.CipherSuiteName(s), "RC4") {
				t.Error("RC4 is offered")
			}
		}
		server, client := net.Pipe()
		go func() {
			io.Copy(io.Discard, tls.Server(server, set.tls))
			server.Close()
		}()
		err = tls.Client(client, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}).Handshake()
		if (err == nil) != c.ok {
			t.Errorf("tls_min_version %q: %v", c.min, err)
		}
		client.Close()
	}
}

// TestLFClientInPieces: how the bytes are split over reads changes nothing.
func TestLFClientInPieces(t *testing.T) {
	all := []string{"\n.\n", ".\n", ".\r\n", "a\n.\r\n..\r.\n.\n", "a\r\n.\n\r\n.\r\n", ".\rx\n.\n", "a\n.\r\r\n.\n", "..\n\r\n.\n"}
	for _, text := range all {
		var first string
		for size := len(text); size > 0; size-- {
			out, rest := scanLF([]byte(text), size)
			if got := out + "|" + rest; size == len(text) {
				first = got
			} else if got != first {
				t.Errorf("%q in pieces of %d: %q, in one %q", text, size, got, first)
			}
		}
		if !strings.HasSuffix(first, "|") {
			t.Errorf("%q: the end is not at the end: %q", text, first)
		}
	}
}

// scanLF is what comes out of text up to the end of data, and what is left.
func scanLF(text []byte, size int) (out, rest string) {
	l := wire.Lines{Dots: wire.RemoveDots}
	l.AllowLF()
	var b bytes.Buffer
	for len(text) > 0 {
		o, used, why := l.Next(text[:min(size, len(text))])
		b.Write(o)
		text = text[used:]
		if why == wire.End {
			return b.String(), string(text)
		}
		if why == wire.Bare {
			b.WriteString("\r\n")
		}
	}
	return b.String(), "no end"
}
