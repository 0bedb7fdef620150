package book

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"postern/relay/addressbook"
)

// ansi and wide are texts as Windows writes them.
func ansi(s string) string {
	s, _ = charmap.Windows1252.NewEncoder().String(s)
	return s
}

func wide(s string) string {
	s, _ = unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().String(s)
	return s
}

// exported are files as programs write them, with what they are peculiar in. Each
// line of want is "NAME | NICKNAMES | ADDRESSES | ORGANISATION | GROUPS", or
// "group NAME | ADDRESSES".
var exported = map[string]struct{ text, want string }{
	"Outlook, vCard 2.1": {
		// ANSI, parameters without names, soft line ends, an address in its own Exchange,
		// a picture with a blank line at its end.
		ansi("BEGIN:VCARD\r\nVERSION:2.1\r\nX-MS-SIGNATURE:YES\r\nN;LANGUAGE=de:Groß;Jörg;;Dr.\r\nFN:Dr. Jörg Groß\r\nORG:Müller & Söhne;Vertrieb\r\n" +
			"TEL;WORK;VOICE:+49 1\r\nLABEL;WORK;PREF;ENCODING=QUOTED-PRINTABLE:Stra=DFe 1=0D=0A=\r\n12345 Ort\r\nX-MS-OL-DEFAULT-POSTAL-ADDRESS:2\r\n" +
			"EMAIL;PREF;INTERNET:joerg@example.de\r\nEMAIL;INTERNET:jg@example.org\r\nCATEGORIES:Kunden,Süd\r\n" +
			"PHOTO;TYPE=JPEG;ENCODING=BASE64:\r\n /9j/4AAQSkZJRgABAQEA\r\n SABIAAD=\r\n\r\nX-MS-OL-DESIGN;CHARSET=utf-8:<card xmlns=\"x\" ver=\"1.0\"/>\r\nREV:20261129T101500Z\r\nEND:VCARD\r\n"),
		"Dr. Jörg Groß |  | joerg@example.de,jg@example.org | Müller & Söhne | Kunden,Süd",
	},
	"a telephone, vCard 2.1": { // base64 that is not indented; several cards, UTF-16
		wide("BEGIN:VCARD\nVERSION:2.1\nN:Liddell;Alice\nPHOTO;ENCODING=BASE64;JPEG:/9j/4AAQ\nSkZJRgABAQEA\nSABIAAD=\n\nEMAIL;HOME:alice@example.com\nEND:VCARD\n" +
			"BEGIN:VCARD\nVERSION:2.1\nN;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:;=41=6E=6E=C3=A1;;;\nEMAIL:anna@example.com\nEND:VCARD\n"),
		"Alice Liddell |  | alice@example.com |  | \nAnná |  | anna@example.com |  | ",
	},
	"Google, vCard 3.0": {
		"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Alice Liddell\r\nN:Liddell;Alice;;;\r\nNICKNAME:Ali\r\nEMAIL;TYPE=INTERNET;TYPE=HOME:a@example.com\r\n" +
			"item1.EMAIL;TYPE=INTERNET:w@example.com\r\nitem1.X-ABLabel:Büro\r\nitem2.URL:http\\://example.com\r\nitem2.X-ABLabel:_$!<HomePage>!$_\r\n" +
			"item3.ORG:Wonder\\, Ltd\r\nNOTE:two\\nlines\r\nPHOTO:https://lh3.example.com/x\r\nCATEGORIES:Sales,myContacts\r\nEND:VCARD\r\n",
		"Alice Liddell | Ali | a@example.com,w@example.com | Wonder, Ltd | Sales,myContacts",
	},
	"iCloud, vCard 3.0": { // a company, a group card with UUIDs, a folded picture
		"BEGIN:VCARD\r\nVERSION:3.0\r\nPRODID:-//Apple Inc.//iCloud Web Address Book 2117//EN\r\nN:;;;;\r\nFN:ACME\r\nORG:ACME;\r\nX-ABSHOWAS:COMPANY\r\n" +
			"EMAIL;type=INTERNET;type=WORK:second@acme.example\r\nEMAIL;type=INTERNET;type=WORK;type=pref:info@acme.example\r\n" +
			"PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQSkZJRgABAQEASABIAAD/4AAQSkZJRgABAQEASABIAAD\r\n  /4AA=\r\nREV:2026-11-29T10:15:00Z\r\nUID:8A1F6B3C-0D55-4A3E-9C3E-1B0B5C7E8F00\r\nEND:VCARD\r\n" +
			"BEGIN:VCARD\r\nVERSION:3.0\r\nN:Friends;;;;\r\nFN:Friends\r\nX-ADDRESSBOOKSERVER-KIND:group\r\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:8A1F6B3C-0D55-4A3E-9C3E-1B0B5C7E8F00\r\n" +
			"UID:11111111-0D55-4A3E-9C3E-1B0B5C7E8F00\r\nEND:VCARD\r\n",
		"ACME |  | info@acme.example,second@acme.example | ACME | \ngroup Friends | info@acme.example",
	},
	"Thunderbird, vCard 4.0": {
		"begin:vcard\r\nVERSION:4.0\r\nUID:urn:uuid:b0a1\r\nFN:Bob \"B\" O'Brien\r\nN:O'Brien;Bob;;;\r\nEMAIL;PREF=1:bob@example.com\r\nEMAIL:b2@example.com\r\nORG:Unit;ACME\r\nNICKNAME:Bobby\r\nend:vcard\r\n",
		"Bob \"B\" O'Brien | Bobby | bob@example.com,b2@example.com | Unit | ",
	},
	"Thunderbird, LDIF": {
		"dn: cn=J=C3=B6rg,mail=j@example.de\r\nobjectclass: top\r\nobjectclass: person\r\nobjectclass: inetOrgPerson\r\ngivenName:: SsO2cmc=\r\ncn:: SsO2cmcgR3Jvw58=\r\nmail: j@example.de\r\n" +
			"mozillaSecondEmail: j2@example.de\r\no: ACME\r\n\r\ndn: cn=All\r\nobjectclass: top\r\nobjectclass: groupOfNames\r\ncn: All\r\nmember: cn=x,mail=j@example.de\r\nmember: cn=y,mail=other@example.net\r\n",
		"Jörg Groß |  | j@example.de,j2@example.de | ACME | \ngroup All | j@example.de,other@example.net",
	},
	"pst2ldif": { // what its source writes of a contact, and of the folder above
		"dn: dc=outlook\nobjectClass: dcObject\ndc: outlook\n\ndn: cn=Alice Liddell, dc=outlook\ncn: Alice Liddell\ngivenName: Alice\nsn: Liddell\ntitle: Baker\no: Wonder\nmail: a@example.com\n" +
			"mail: b@example.com\npostalAddress: 1 Street\ntelephoneNumber: 1\ndescription:: bGluZQ==\nobjectClass: inetOrgPerson\n\n",
		"Alice Liddell |  | a@example.com,b@example.com | Wonder | ",
	},
	"Outlook, CSV in French": {
		ansi("\"Titre\",\"Prénom\",\"Deuxième prénom\",\"Nom\",\"Société\",\"Adresse de messagerie\",\"Adresse de messagerie 2\",\"Catégories\"\r\n\"Mme\",\"Renée\",\"\",\"Dupont\",\"SNCF, Paris\",\"r@example.fr\",\"r2@example.fr\",\"Clients;Nord\"\r\n"),
		"Renée Dupont |  | r@example.fr,r2@example.fr | SNCF, Paris | Clients,Nord",
	},
	"Google, CSV": {
		"First Name,Middle Name,Last Name,Nickname,Organization Name,Labels,E-mail 1 - Label,E-mail 1 - Value,E-mail 2 - Label,E-mail 2 - Value\r\nAlice,,Liddell,Ali,Wonder,Sales ::: * myContacts,* Work,a@example.com,Home,b@example.com\r\n",
		"Alice Liddell | Ali | a@example.com,b@example.com | Wonder | Sales",
	},
}

// listing is a book in lines.
func listing(t *testing.T, f *addressbook.Folder, of func(e *addressbook.Entry) bool, groups bool) string {
	t.Helper()
	x, err := fresh(f)
	if err != nil || len(x.Faults) > 0 {
		t.Fatalf("%+v %v", x.Faults, err)
	}
	var all []string
	for _, e := range x.Entries {
		switch {
		case !of(e):
		case e.Group:
			all = append(all, "group "+e.Name+" | "+strings.ReplaceAll(members(t, f, e.Name), " ", ","))
		default:
			in := strings.Join(e.Groups, ",")
			if !groups {
				in = ""
			}
			all = append(all, fmt.Sprintf("%s | %s | %s | %s | %s", e.Name, strings.Join(e.Nicknames, ","), strings.Join(e.Addresses, ","), e.Organisation, in))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// takeIn imports a file, and returns how many cards have changed the book.
func takeIn(t *testing.T, f *addressbook.Folder, text []byte) int {
	t.Helper()
	c, err := addressbook.Source{}.Read(bytes.NewReader(text))
	if err != nil || len(c.Faults) > 0 || c.Lost > 0 {
		t.Fatalf("%+v %v of\n%s", c, err, text)
	}
	lines, err := Import(f, c, false)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for _, l := range lines {
		if l.State == Bad {
			t.Errorf("line %d: %s", l.Line, l.Text)
		}
		if l.State != Same {
			changed++
		}
	}
	return changed
}

// TestPrintThenRead: what a program has exported is read, printed in each of our
// formats, and read again as the same book, as far as the format has a place for
// it; a file that is taken in twice changes nothing.
func TestPrintThenRead(t *testing.T) {
	all := func(*addressbook.Entry) bool { return true }
	people := func(e *addressbook.Entry) bool { return !e.Group }
	for name, c := range exported {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := folder(t)
			takeIn(t, f, []byte(c.text))
			if got := listing(t, f, all, true); got != c.want {
				t.Fatalf("read\n%s\nwant\n%s", got, c.want)
			}
			if n := takeIn(t, f, []byte(c.text)); n > 0 {
				t.Errorf("taken in again, %d have changed", n)
			}
			x, err := fresh(f)
			if err != nil {
				t.Fatal(err)
			}
			for format, kept := range map[string]struct {
				of     func(*addressbook.Entry) bool
				groups bool
			}{"vcard": {all, true}, "csv": {people, true}, "ldif": {all, false}} {
				var out bytes.Buffer
				if err := Export(&out, format, Sorted(x.Entries), func(e *addressbook.Entry) *addressbook.Card { s, _ := f.Get(e); return s.Card }); err != nil {
					t.Fatal(err)
				}
				g := folder(t)
				takeIn(t, g, out.Bytes())
				if got, want := listing(t, g, kept.of, kept.groups), listing(t, f, kept.of, kept.groups); got != want {
					t.Errorf("%s\n%s\nread as\n%s\nwant\n%s", format, out.Bytes(), got, want)
				}
				if n := takeIn(t, g, out.Bytes()); n > 0 {
					t.Errorf("%s taken in again, %d have changed", format, n)
				}
			}
		})
	}
}
