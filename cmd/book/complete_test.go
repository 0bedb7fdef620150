package book

import (
	"bytes"
	"strings"
	"testing"

	"postern/relay/addressbook"
)

// A card that is found by its address gets what it lacks, also its telephone
// numbers, and keeps what it has. The same file again changes nothing, and a dry
// run says what would become of it.
func TestImportAddsWhatIsMissing(t *testing.T) {
	const has = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:urn:uuid:1\r\nFN:Alice Liddell\r\nEMAIL:alice@example.com\r\nTEL;PREF=1:+44 1\r\nBDAY:18520504\r\nEND:VCARD\r\n"
	for name, c := range map[string]struct{ file, more string }{
		"vCard": {
			"BEGIN:VCARD\nVERSION:3.0\nUID:other\nFN:Alice Liddell\nN:Liddell;Alice;;;\nEMAIL:ALICE@example.com\nTEL;TYPE=WORK,pref:+44 2\nTEL:+44-1\nBDAY:20000101\nNOTE:late\nEND:VCARD\n",
			"N:Liddell;Alice;;;\r\nTEL;TYPE=WORK:+44 2\r\nNOTE:late\r\n",
		},
		"CSV": {"First Name,Last Name,E-mail Address,Company\nAlice,Liddell,alice@example.com,Wonder\n", "ORG:Wonder\r\nN:Liddell;Alice;;;\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := folder(t)
			read := func(text string) *addressbook.Contents {
				c, err := addressbook.Source{}.Read(strings.NewReader(text))
				if err != nil || len(c.Faults) > 0 {
					t.Fatal(c, err)
				}
				return c
			}
			if _, err := Import(f, read(has), false); err != nil {
				t.Fatal(err)
			}
			for _, run := range []struct {
				dry  bool
				want State
			}{{true, Changed}, {false, Changed}, {false, Same}, {true, Same}} {
				if lines, err := Import(f, read(c.file), run.dry); err != nil || lines[0].State != run.want {
					t.Errorf("dry %v: %+v %v", run.dry, lines, err)
				}
			}
			x, err := fresh(f)
			if err != nil || len(x.Entries) != 1 {
				t.Fatal(x, err)
			}
			s, err := f.Get(x.Entries[0])
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(has, "END:VCARD", strings.TrimSuffix(c.more, "\r\n")+"\r\nEND:VCARD", 1)
			if got := s.Card.Bytes(); !bytes.Equal(got, []byte(want)) {
				t.Errorf("the card is\n%s\nwant\n%s", got, want)
			}
		})
	}
}
