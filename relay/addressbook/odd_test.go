package addressbook

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/text/encoding/unicode"
)

// TestOddFiles: what programs and people write beside what is expected is
// understood, or told with its line. Each card of want is "LINE NAME <ADDRESSES>".
func TestOddFiles(t *testing.T) {
	wide, err := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder().String("Name,Mail\nRenée,r@example.fr\n")
	if err != nil {
		t.Fatal(err)
	}
	card := func(s string) string { return vcard("3.0", s) }
	for name, c := range map[string]struct {
		text, want, faults string
		lost               int
	}{
		"a separator that Excel names": {"sep=;\r\nName;Mail\r\nA;a@example.com\r\n", "3 A <a@example.com>", "", 0},
		"lines of a Mac":               {"Name,Mail\rA,a@example.com\r\"B\nB\",b@example.com\r", "2 A <a@example.com>, 3 B B <b@example.com>", "", 0},
		"UTF-16 without a mark":        {wide, "2 Renée <r@example.fr>", "", 0},
		"a quote open to the end":      {"Name,Mail\n\"A,a@example.com\nB,b@example.com\n", "3 B <b@example.com>", "line 2: has a quote that is not closed", 1},
		"a quote that another closes": {
			"Name,Mail\n\n\"A,a@example.com\n\"B\",b@example.com\nC,c@example.com\n", "4 B <b@example.com>, 5 C <c@example.com>", "line 3: has a quote that is not closed", 1,
		},
		"quotes within":                   {"Name,Mail\nA \"B\" C,a@example.com\n\"D \"\"E\"\"\",d@example.com\n\"F \"G\" H\",f@example.com\n", `2 A "B" C <a@example.com>, 3 D "E" <d@example.com>, 4 F "G" H <f@example.com>`, "", 0},
		"a name of two lines":             {"Name,Mail\n\"A\nB\",a@example.com\n", "2 A B <a@example.com>", "", 0},
		"several addresses in a cell":     {"Name,Mail\nA,\"a@example.com; b@example.com\"\nB,B <c@example.com>\nC,MAILTO:d@example.com\nD,\"D <d@example.net>, <e@example.net>\"\n", "2 A <a@example.com,b@example.com>, 3 B <c@example.com>, 4 C <d@example.com>, 5 D <d@example.net,e@example.net>", "", 0},
		"X.400 in a cell":                 {"Name,Mail\nA,c=US;a= ;p=ACME;s=A\n", "2 A <>", `line 2: "c=US;a= ;p=ACME;s=A" is not an address`, 0},
		"how Google sorts somebody":       {"First Name,Last Name,File As,E-mail 5 - Value\nA,B,\"B, A\",a@example.com\n", "2 A B <a@example.com>", "", 0},
		"how Google sorts, and no name":   {"File As,E-mail 1 - Value\n\"B, A\",a@example.com\n", "2 B, A <a@example.com>", "", 0},
		"a firm without a name":           {"First Name,Last Name,Company,E-mail Address\n,,ACME,\n,,,\n", "2 ACME <>", "", 0},
		"a row of nobody":                 {"Name,Mail,Phone\n,,+49 1\n", "", "line 2: has neither a name nor an address", 1},
		"semicolons behind everything":    {"Name;Mail;;\nA;a@example.com;;\n;;;\n", "2 A <a@example.com>", "", 0},
		"records of a Mac":                {"dn: cn=A\rcn: A\rmail: a@example.com\r\rdn: cn=B\rcn: B\r", "1 A <a@example.com>, 5 B <>", "", 0},
		"changes":                         {"dn: cn=A\nchangetype: modify\nadd: mail\nmail: a@example.com\n\ndn: cn=B\nchangetype: ADD\ncn: B\n\ndn: cn=C,mail=c@example.com\nchangetype: delete\n", "6 B <>", `line 1: is a change of an entry, "modify", and not an entry|line 10: is a change of an entry, "delete", and not an entry`, 2},
		"base64 that is no UTF-8":         {"dn: cn=A\ncn:: UmVu6WU=\nmail: r@example.fr\n", "1 Renée <r@example.fr>", "line 1: cn is not UTF-8; it is read as Windows-1252", 0},
		"base64 that is none":             {"dn: cn=A\ncn:: UmVu!\nmail: r@example.fr\n", "1 r@example.fr <r@example.fr>", "line 1: cn cannot be read", 0},
		"members by their entries":        {"dn: cn=ops,o=x\nobjectClass: groupOfUniqueNames\ncn: ops\nuniqueMember: UID=bob, OU=People, O=x\nuniqueMember: cn=gone,o=x\n\ndn: uid=bob,ou=people,o=x\ncn: Bob\nmail: bob@example.com\n", "1 ops <> [mailto:bob@example.com], 7 Bob <bob@example.com>", `line 1: member "cn=gone,o=x" has no address`, 0},
		"a group of Active Directory":     {"dn: CN=G,DC=x\nobjectClass: top\nobjectClass: group\ncn: G\nmember: CN=Liddell\\, Alice,DC=x\n\ndn: CN=Liddell\\, Alice,DC=x\ncn: Alice\nmail: a@example.com\n", "1 G <> [mailto:a@example.com], 7 Alice <a@example.com>", "", 0},
		"a group of Unix":                 {"dn: cn=staff,o=x\nobjectClass: posixGroup\ncn: staff\nmemberUid: Bob\nmemberUid: gone\n\ndn: cn=B,o=x\nuid: bob\ncn: Bob\nmail: bob@example.com\n", "1 staff <> [mailto:bob@example.com], 7 Bob <bob@example.com>", `line 1: member "gone" has no address`, 0},
		"a long cell":                     {"Name,Mail,Company,Groups\nA,a@example.com," + strings.Repeat("x", 501) + ",b;" + strings.Repeat("g", 501) + "\nB,b@example.com," + strings.Repeat("x", 500) + ",\n", "2 A <a@example.com>, 3 B <b@example.com>", "line 2: organisation: has more than 500 bytes, and is cut|line 2: groups: has more than 500 bytes, and is cut", 0},
		"vCards of a Mac":                 {strings.ReplaceAll(card("FN:A\nEMAIL:a@example.com\n")+card("FN:B\n"), "\n", "\r"), "1 A <a@example.com>, 6 B <>", "", 0},
		"2.1 in small letters":            {"begin:vcard\nversion: 2.1\nfn;quoted-printable:A =\nB\nemail;internet:a@example.com\nend:vcard\n", "1 A B <a@example.com>", "", 0},
		"quoted-printable in 3.0":         {card("FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Ren=C3=A9e =\nB\n"), "1 Renée B <>", "", 0},
		"3.0 of Windows":                  {card("FN:Ren\xe9e\nEMAIL:r@example.fr\n"), "1 Renée <r@example.fr>", "", 0},
		"a charset that nobody knows":     {vcard("2.1", "FN;CHARSET=GB2312:\xcd\xf5\nEMAIL:w@example.cn\n"), "1  <w@example.cn>", "line 1: FN is in GB2312, a charset that is not known here", 0},
		"a card within another":           {vcard("2.1", "FN:A\nAGENT:\n"+vcard("2.1", "FN:B\n")+"EMAIL:a@example.com\n"), "1 A <a@example.com>", "line 8: the card in another one, its AGENT, is left out", 1},
		"a card without an end":           {strings.Replace(card("FN:A\n"), "END:VCARD\n", "", 1) + card("FN:B\n"), "4 B <>", "line 1: the card has no end", 1},
		"addresses with what is about":    {card("FN:A\nEMAIL:A <a@example.com>\nEMAIL:MAILTO:b@example.com\nEMAIL;TYPE=WORK;:c@example.com\n"), "1 A <a@example.com,b@example.com,c@example.com>", "", 0},
		"an address and more than a name": {card("FN:A\nEMAIL:a@example.com <b@example.com>\n"), "1 A <>", `line 1: EMAIL "a@example.com <b@example.com>" is not an address`, 0},
		"a picture of 2 MB":               {card("FN:A\nPHOTO;ENCODING=b:" + strings.Repeat(strings.Repeat("A", 76)+"\n ", 28000) + "AAAA\nEMAIL:a@example.com\n"), "1 A <a@example.com>", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Source{}.Read(strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			var cards, faults []string
			for _, p := range got.Cards {
				e := p.Entry()
				one := fmt.Sprintf("%d %s <%s>", p.Line, e.Name, strings.Join(e.Addresses, ","))
				if e.Group {
					one += fmt.Sprint(" ", e.Members)
				}
				cards = append(cards, one)
			}
			for _, f := range got.Faults {
				faults = append(faults, f.String())
			}
			if all := strings.Join(cards, ", "); all != c.want {
				t.Errorf("cards  %s\nwant   %s", all, c.want)
			}
			if all := strings.ReplaceAll(strings.Join(faults, "|"), ": line", "line"); all != c.faults || got.Lost != c.lost {
				t.Errorf("faults %s, %d lost\nwant   %s, %d", all, got.Lost, c.faults, c.lost)
			}
		})
	}
}

// A table in which each row opens a quote ends, and says where it was left.
func TestQuotesWithoutEnd(t *testing.T) {
	text := "Name,Mail\n" + strings.Repeat("\"a\"b,a@example.com\n", 2_000) + "\"c\n"
	c, err := Source{}.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	last := c.Faults[len(c.Faults)-1]
	if len(c.Cards) > 0 || c.Lost != maxResumed+1 || last.Name != fmt.Sprintf("line %d", maxResumed+2) || !strings.Contains(last.Text, "nothing is read from here on") {
		t.Errorf("%d cards, %d lost, %+v", len(c.Cards), c.Lost, last)
	}
}
