package addressbook

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config/wire"
)

// sound holds an entry to what everybody relies on: addresses that can stand in
// an envelope, and text of one line.
func sound(t *testing.T, e *Entry) {
	t.Helper()
	for _, a := range e.Addresses {
		if wire.CheckMailbox(a, true) != wire.NoFault {
			t.Errorf("the address %q", a)
		}
	}
	for _, s := range append([]string{e.Name, e.Organisation, e.UID}, append(append(e.Nicknames, e.Groups...), e.Members...)...) {
		if strings.ContainsAny(s, "\r\n\x00\x1b") || len(s) > maxText {
			t.Errorf("the text %q", s)
		}
	}
}

func FuzzCard(f *testing.F) {
	for _, s := range []string{
		person("a", "Alice", "CATEGORIES:a\\,b,c\nX-A;B=\"c:d\":e\n"), vcard("2.1", "N;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:M=FC=\nller;J\nPHOTO;JPEG;BASE64:\n AAAA\n\n"),
		vcard("3.0", "item1.EMAIL;TYPE=pref:a@b.c\nX-ADDRESSBOOKSERVER-KIND:group\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:a\n"), "\ufeffBEGIN:VCARD\r\n", "BEGIN:VCARD\nA;=;\":\n",
		vcard("3.2", "VERSION:3.0\n"), vcard("3.0", "VERSION:2.1\nVERSION:5\nFN:x\n"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCard(text)
		if err != nil {
			return
		}
		e := c.Entry()
		sound(t, e)
		again, err := ParseCard(c.Bytes())
		if err != nil {
			t.Fatalf("what is written cannot be read: %v\n%q", err, c.Bytes())
		}
		if !bytes.Equal(again.Bytes(), c.Bytes()) || !reflect.DeepEqual(again.Entry(), e) {
			t.Errorf("it changes:\n%q\n%q", c.Bytes(), again.Bytes())
		}
		m, err := ParseCard(c.Modern().Bytes())
		if err != nil {
			t.Fatalf("as 4.0 it cannot be read: %v\n%q", err, c.Modern().Bytes())
		}
		sound(t, m.Entry())
		changed(t, c, e)
	})
}

// changed holds a card, that says e, to what is set.
func changed(t *testing.T, c *Card, e *Entry) {
	if len(e.Addresses) >= maxAddresses || len(e.Groups) >= maxGroups || len(e.Nicknames) >= maxGroups {
		return // there may be more that is not seen
	}
	want := *e
	want.Name, want.Groups, want.Organisation, want.Nicknames = "New, name", []string{"x;y", "z"}, "Firm", []string{"nick"}
	want.Addresses = slices.Concat([]string{"new@example.com"}, e.Addresses, []string{"last@example.com"})
	want.Addresses = distinct(slices.DeleteFunc(want.Addresses, func(a string) bool { return len(e.Addresses) > 0 && a == e.Addresses[len(e.Addresses)/2] }))
	c.SetName(want.Name)
	c.SetGroups(want.Groups)
	c.SetOrganisation(want.Organisation)
	c.SetNicknames(want.Nicknames)
	c.SetAddresses(want.Addresses)
	again, err := ParseCard(c.Bytes())
	if err != nil {
		t.Fatalf("what was set cannot be read: %v\n%q", err, c.Bytes())
	}
	if got := again.Entry(); !reflect.DeepEqual(got, &want) {
		t.Errorf("it says %+v\nwant    %+v\n%q", got, want, c.Bytes())
	}
	c.SetAddresses(nil)
	c.SetGroups(nil)
	if got := c.Entry(); len(got.Addresses)+len(got.Groups) != 0 || got.Name != want.Name {
		t.Errorf("emptied it says %+v\n%q", got, c.Bytes())
	}
}

func fuzzSource(f *testing.F, format string, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Source{Format: format}.Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, p := range c.Cards {
			sound(t, p.Entry())
			if again, err := ParseCard(p.Bytes()); err != nil || !reflect.DeepEqual(again.Entry(), p.Entry()) {
				t.Errorf("the card changes: %v\n%q", err, p.Bytes())
			}
		}
	})
}

func FuzzCSV(f *testing.F) {
	fuzzSource(f, "csv", "Name,Mail\nA,a@b.c\n", "Vorname;Nachname;E-Mail-Adresse;Kategorien\nA;B;\"c@d.e\";x;y\n", "\xff\xfeN\x00")
}

func FuzzLDIF(f *testing.F) {
	fuzzSource(f, "ldif", "dn: cn=a\ncn: A\nmail: a@b.c\n", "dn:: Y249YQ==\nobjectclass: groupOfNames\ncn: A\nmember: cn=x\\,y,mail=a@b.c\n b\n")
}

func FuzzResolve(f *testing.F) {
	b := booksOf(f, "")
	for _, s := range []string{"alice", "group:Ops", "book:team/Ali", "group:more/Sales", "al", "\x00", "group:", "book:/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		list, err := b.Resolve(t.Context(), name, 10)
		if err == nil && len(list) == 0 {
			t.Errorf("%q is nobody, and that is no error", name)
		}
		if err != nil && (strings.ContainsAny(err.Error(), "\r\n\x00\x1b") || len(err.Error()) > 5000) {
			t.Errorf("%q: the error %q", name, err)
		}
		b.Find(t.Context(), name, 5)
	})
}

// What is made to take memory or time does not.
func TestBombs(t *testing.T) {
	const many = 200_000
	for name, text := range map[string]string{
		"lines":      vcard("4.0", strings.Repeat("A:\n", many)),
		"folds":      vcard("4.0", "NOTE:"+strings.Repeat("\n x", many)+"\n"),
		"soft ends":  vcard("2.1", "NOTE;QUOTED-PRINTABLE:"+strings.Repeat("=\n", many)+"\n"),
		"parameters": vcard("4.0", "NOTE"+strings.Repeat(";a=b", many)+":x\n"),
		"escapes":    vcard("4.0", "FN:"+strings.Repeat("\\", many)+"\nN:"+strings.Repeat(";", many)+"\n"),
		"categories": vcard("4.0", "CATEGORIES:"+strings.Repeat("a,", many)+"\n"),
		"addresses":  vcard("4.0", strings.Repeat("EMAIL:a@example.com\n", many/10)),
		"quotes":     vcard("4.0", "NOTE;X=\""+strings.Repeat("\"", many)+":x\n"),
		"a card":     strings.Repeat("x", maxCard+1),
		"ldif":       "dn: x\n" + "cn: a" + strings.Repeat("\n a", many) + "\nmail: a@example.com\n",
		"ldif photo": "dn: x\ncn: a\njpegPhoto:: a" + strings.Repeat("\n a", many) + "\n",
		"columns":    strings.Repeat("mail,", many) + "\n",
		"cells":      "mail\n" + strings.Repeat("a@example.com:::", many) + "\n",
	} {
		begun := time.Now()
		if c, err := ParseCard([]byte(text)); err == nil {
			e := c.Entry()
			if len(e.Addresses) > maxAddresses || len(e.Groups) > maxGroups || len(e.Name) > maxText {
				t.Errorf("%s: %d addresses, %d groups, a name of %d", name, len(e.Addresses), len(e.Groups), len(e.Name))
			}
			c.Faults()
			c.Modern().Bytes()
		}
		_, _ = Source{}.Read(strings.NewReader(text))
		if took := time.Since(begun); took > 40*time.Second { // what grows with the square takes minutes
			t.Errorf("%s: %v", name, took)
		}
	}
}

// Parameters take ten times as much memory as bytes.
func TestManyParameters(t *testing.T) {
	line := "X" + strings.Repeat(";a", maxParams) + ":x\n"
	if _, err := ParseCard([]byte(vcard("4.0", strings.Repeat(line, allParams/maxParams+2)))); !errors.Is(err, errBounds) {
		t.Error(err)
	}
}
