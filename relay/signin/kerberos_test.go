package signin

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"

	files "postern/config"
)

// ticketFile is a file of tickets, version 4, with the ticket-granting ticket
// of a@EXAMPLE.
func ticketFile(ticket string) []byte {
	be := binary.BigEndian
	text := func(b []byte, s string) []byte { return append(be.AppendUint32(b, uint32(len(s))), s...) }
	principal := func(b []byte, names ...string) []byte {
		b = text(be.AppendUint32(be.AppendUint32(b, 1), uint32(len(names))), "EXAMPLE")
		for _, n := range names {
			b = text(b, n)
		}
		return b
	}
	b := []byte{5, 4, 0, 12, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	b = principal(principal(principal(b, "a"), "a"), "krbtgt", "EXAMPLE")
	b = text(be.AppendUint16(b, uint16(etypeID.AES256_CTS_HMAC_SHA1_96)), strings.Repeat("k", 32))
	for _, at := range []uint32{1, 1, 1 << 31, 1 << 31} { // signed in, begins, ends, can be renewed until
		b = be.AppendUint32(b, at-1)
	}
	b = append(b, make([]byte, 1+4+4+4)...) // no session key, flags, addresses, data
	return text(text(b, ticket), "")
}

// Tickets are read, and what is cut short at any byte, or says of anything
// that there is far too much of it, is refused with the name of the file.
func TestTickets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tickets")
	read := func(content []byte) error {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := fromCache(path, config.New())
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("it is not told which file: %v", err)
		}
		return err
	}
	whole := ticketFile("ticket")
	if !soundTickets(whole) {
		t.Error("the lengths of a whole file make no sense")
	}
	for i := range whole {
		if read(whole[:i]) == nil {
			t.Errorf("%d bytes are taken", i)
		}
		huge := bytes.Clone(whole)
		huge[i] = 0x7f
		read(huge)
	}
	if err := read(make([]byte, 8<<20)); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Error(err)
	}
}

// FuzzTickets: whatever a file of tickets or of keys holds, it is used or
// refused with a sentence: the library panics at what is cut short.
func FuzzTickets(f *testing.F) {
	keys := keytab.New()
	if err := keys.AddEntry("a", "EXAMPLE", "password", time.Unix(1, 0), 1, etypeID.AES256_CTS_HMAC_SHA1_96); err != nil {
		f.Fatal(err)
	}
	table, err := keys.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	whole := ticketFile("a\x03\x02\x01\x05")
	for _, seed := range [][]byte{whole, whole[:len(whole)/2], table, table[:len(table)/2], {5, 4}, {5, 2, 0x80, 0, 0, 0}, {}} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		conf := config.New()
		if _, err := fromCache(path, conf); err != nil && !strings.Contains(err.Error(), path) {
			t.Fatalf("it is not told which file: %v", err)
		}
		r := &Request{Kerberos: files.Kerberos{Keytab: path}}
		_, _ = r.fromKeytab(conf)
	})
}

// What is wrong with a configuration of Kerberos is told without its words: the
// file may be a link to one that whoever reads the status may not read.
func TestForeignConfiguration(t *testing.T) {
	const word = "F0reign$6$Secret"
	path := filepath.Join(t.TempDir(), "krb5.conf")
	refused := 0
	for _, text := range []string{
		word, "root:" + word + ":19000:0:99999:7:::", "[libdefaults]\n" + word, "[libdefaults]\n clockskew = " + word, "[libdefaults]\n forwardable = " + word,
		"[libdefaults]\n ticket_lifetime = " + word, "[libdefaults]\n kdc_timesync = " + word, "[realms]\n" + word, "[realms]\nX = {\n" + word + "\n}\n", "[realms]\n}\n" + word,
		"[domain_realm]\n" + word, "[" + word + "]\npassword = " + word,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadKerberosConf(path)
		if err == nil {
			continue
		}
		refused++
		if strings.Contains(strings.ToLower(err.Error()), "f0reign") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if refused < 5 {
		t.Errorf("%d are refused", refused)
	}
}
