package addressbook

import (
	"reflect"
	"strings"
	"testing"
)

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

// vcard is a card of a version, whose lines stand in s.
func vcard(version, s string) string {
	return "BEGIN:VCARD\nVERSION:" + version + "\n" + s + "END:VCARD\n"
}

func TestCardsAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		want   Entry
		faults []string
	}{
		"4.0": {
			vcard("4.0", "UID:urn:uuid:3f2e\nFN:Alice Liddell\nN:Liddell;Alice;;;\nEMAIL:second@example.com\nEMAIL;PREF=1:alice@example.com\nNICKNAME:Ali,Al\nORG:Wonder\\, Ltd;Tea\nCATEGORIES:Sales,Field\\, north\n"),
			Entry{UID: "3f2e", Name: "Alice Liddell", Nicknames: []string{"Ali", "Al"}, Addresses: []string{"alice@example.com", "second@example.com"}, Organisation: "Wonder, Ltd", Groups: []string{"Sales", "Field, north"}}, nil,
		},
		"3.0 of Apple, with groups of lines": {
			vcard("3.0", "N:Liddell;Alice;;;\nitem1.EMAIL;type=INTERNET;type=pref:a@example.com\nitem1.X-ABLabel:_$!<Other>!$_\nEMAIL;TYPE=HOME:b@example.com\nUID:77\n"),
			Entry{UID: "77", Name: "Alice Liddell", Addresses: []string{"a@example.com", "b@example.com"}}, nil,
		},
		"2.1, quoted-printable in Latin 1": {
			vcard("2.1", "N;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:M=FCller;J=F6rg\nFN;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:J=C3=B6rg =\nM=C3=BCller\nEMAIL;INTERNET;PREF:jm@example.de\n"),
			Entry{Name: "Jörg Müller", Addresses: []string{"jm@example.de"}}, nil,
		},
		"2.1, bare encoding and no charset, as Outlook writes it": {
			vcard("2.1", "FN;QUOTED-PRINTABLE:Ren=E9e\nCATEGORIES:Gr\xfcn\n"),
			Entry{Name: "Renée", Groups: []string{"Grün"}}, nil,
		},
		"2.1 in another charset": {
			vcard("2.1", "FN;CHARSET=WINDOWS-1251:\xc0\xed\xed\xe0\nEMAIL:anna@example.com\n"),
			Entry{Name: "Анна", Addresses: []string{"anna@example.com"}}, nil,
		},
		"folded within a rune": {
			vcard("3.0", "FN:J\xc3\n \xb6rg\nEMAIL:j@exam\n\tple.com\n"),
			Entry{Name: "Jörg", Addresses: []string{"j@example.com"}}, nil,
		},
		"a group of 4.0": {
			vcard("4.0", "FN:Ops\nKIND:group\nMEMBER:urn:uuid:3f2e\nMEMBER:mailto:x@example.net\n"),
			Entry{Name: "Ops", Group: true, Members: []string{"urn:uuid:3f2e", "mailto:x@example.net"}}, nil,
		},
		"a group of Apple": {
			vcard("3.0", "FN:Ops\nX-ADDRESSBOOKSERVER-KIND:group\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:3f2e\n"),
			Entry{Name: "Ops", Group: true, Members: []string{"urn:uuid:3f2e"}}, nil,
		},
		"what cannot be used": {
			vcard("4.0", "FN:Eve\x1b[31m\nEMAIL:eve@\nEMAIL:eve@example.com\\nRCPT TO:<x@y>\nNICKNAME:\xff\nCATEGORIES:,,\n"),
			Entry{Name: "Eve?[31m"}, []string{`EMAIL "eve@" is not an address`, `EMAIL "eve@example.com\\nRCPT TO:<x@y>" is not an address`, "NICKNAME is not utf-8"},
		},
		"a quoted parameter with a colon": {
			vcard("4.0", "FN;X-NOTE=\"a:b;c\":Alice\nEMAIL;TYPE=\"work,home\":a@example.com\n"),
			Entry{Name: "Alice", Addresses: []string{"a@example.com"}}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, text := range [][]byte{[]byte(c.text), crlf(c.text), append([]byte("\ufeff"), c.text...)} {
				card, err := ParseCard(text)
				if err != nil {
					t.Fatal(err)
				}
				if got := *card.Entry(); !reflect.DeepEqual(got, c.want) {
					t.Errorf("read  %+v\nwant  %+v", got, c.want)
				}
				if got := card.Faults(); !reflect.DeepEqual(got, c.faults) {
					t.Errorf("faults %q, want %q", got, c.faults)
				}
				// What is written of it as 4.0 says the same.
				again, err := ParseCard(card.Modern().Bytes())
				if err != nil {
					t.Fatalf("%v of\n%s", err, card.Modern().Bytes())
				}
				if c.faults == nil && !reflect.DeepEqual(*again.Entry(), c.want) {
					t.Errorf("as 4.0: %+v\nwant    %+v", *again.Entry(), c.want)
				}
			}
		})
	}
}

func TestNoCards(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "is not a vCard",
		"hello\n":                             "line 1: is not NAME:VALUE",
		"BEGIN:VCARD\nFN:x\nEND:VCARD\n":      "is of version",
		vcard("5.0", "FN:x\n"):                `is of version "5.0"`,
		"BEGIN:VCARD\nVERSION:4.0\nFN:x\n":    "is not a vCard",
		vcard("3.2", "VERSION:3.0\n"):         `is of version "3.2"`, // the first is that which is written
		vcard("4.0", "BEGIN:VCARD\n"):         "is not a vCard",
		vcard("4.0", "") + vcard("4.0", ""):   "holds 2 cards",
		vcard("4.0", "FN;X=\"open:Alice\n"):   "is not NAME:VALUE",
		"FN:x\n" + vcard("4.0", "FN:Alice\n"): "is not a vCard",
	} {
		if _, err := ParseCard([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// What others have put into a card stays as it is, byte for byte.
func TestWritingKeepsWhatOthersPutIn(t *testing.T) {
	const before = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:a\r\nFN:Alice\r\nX-UNKNOWN;A=\"b;c\":d\\;e\\,f\\\\g\r\n" +
		"NOTE:a line that is\r\n  folded\r\nitem1.EMAIL:old@example.com\r\nitem1.X-ABLabel:Work\r\nTEL;TYPE=\"voice,home\":+1\r\n" +
		"ORG:Ministry\\; of silly walks;Tea\r\nCATEGORIES:one,two\\,three\r\nEND:VCARD\r\n"
	c, err := ParseCard([]byte(before))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Bytes()); got != before {
		t.Errorf("unchanged it became\n%s", got)
	}
	if m := c.Modern(); m != c {
		t.Error("a card of 4.0 was converted")
	}
	c.SetName("Alice Liddell")
	want := strings.Replace(before, "FN:Alice", "FN:Alice Liddell", 1)
	if got := string(c.Bytes()); got != want {
		t.Errorf("it became\n%s\nwant\n%s", got, want)
	}
	c.SetGroups([]string{"one", "two,three", "four; five"})
	want = strings.Replace(want, `CATEGORIES:one,two\,three`, `CATEGORIES:one,two\,three,four\; five`, 1)
	if got := string(c.Bytes()); got != want {
		t.Errorf("it became\n%s\nwant\n%s", got, want)
	}
}

func TestModern(t *testing.T) {
	const old = "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:M=FCller;J=F6rg\r\n" +
		"NOTE;ENCODING=QUOTED-PRINTABLE:one=0D=0Atwo=\r\n three\r\nEMAIL;INTERNET;PREF:j@example.de\r\n" +
		"PHOTO;JPEG;ENCODING=BASE64:/9j/\r\n 4AAQ\r\n\r\nLABEL;HOME:Street 1\r\nX-MS-OL-DESIGN:yes\r\nEND:VCARD\r\n"
	const want = "BEGIN:VCARD\r\nVERSION:4.0\r\nN:Müller;Jörg\r\nNOTE:one\\ntwo three\r\nEMAIL;PREF=1:j@example.de\r\n" +
		"PHOTO:data:image/jpeg;base64,/9j/4AAQ\r\nX-LABEL;TYPE=HOME:Street 1\r\nX-MS-OL-DESIGN:yes\r\nFN:Jörg Müller\r\nEND:VCARD\r\n"
	c, err := ParseCard([]byte(old))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Modern().Bytes()); got != want {
		t.Errorf("it became\n%s\nwant\n%s", got, want)
	}
}

// Text that is set can't become a line of its own, and lines are folded between
// runes.
func TestSetIsEscaped(t *testing.T) {
	c := NewCard()
	c.SetName("a\r\nEMAIL:x@example.com\\,;" + strings.Repeat("ü", 100))
	c.SetAddresses([]string{"a@example.com"})
	for line := range strings.SplitSeq(strings.TrimSuffix(string(c.Bytes()), "\r\n"), "\r\n") {
		if len(line) > 75 || strings.ToValidUTF8(line, "") != line {
			t.Errorf("the line %q", line)
		}
	}
	again, err := ParseCard(c.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	e := again.Entry()
	if want := "a  EMAIL:x@example.com\\,;" + strings.Repeat("ü", 100); e.Name != want || len(e.Addresses) != 1 {
		t.Errorf("it became %+v", e)
	}
}
