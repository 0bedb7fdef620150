package addressbook

import (
	"strings"
	"testing"
)

// What another card says more of a person is added, and what this one says stays
// as it is, byte for byte.
func TestComplete(t *testing.T) {
	for name, c := range map[string]struct{ version, has, from, other, more string }{
		"a number":                    {"4.0", "FN:A\n", "4.0", "FN:A\nTEL;TYPE=cell:+49 1\n", "TEL;TYPE=cell:+49 1\n"},
		"one more":                    {"4.0", "TEL:+49 1\n", "4.0", "TEL:+49 2\n", "TEL:+49 2\n"},
		"the same, written otherwise": {"4.0", "TEL:+49 (30) 1-2\n", "4.0", "TEL;VALUE=uri:tel:+49.30.12\nTEL:+49 3012\n", ""},
		"ours is preferred":           {"4.0", "TEL;PREF=1:1\n", "4.0", "TEL;PREF=1;TYPE=work:2\n", "TEL;TYPE=work:2\n"},
		"theirs, where we have none":  {"4.0", "", "4.0", "TEL;PREF=1:2\n", "TEL;PREF=1:2\n"},
		"a house":                     {"4.0", "ADR:;;1 Street;Town;;;\n", "4.0", "ADR:;;2 Street;Town;;;\nADR:;;1 street;Town;;;\n", "ADR:;;2 Street;Town;;;\n"},
		"an empty one":                {"4.0", "", "4.0", "ADR:;;;;;;\nTEL:\nNOTE:\n", ""},
		"one birthday":                {"4.0", "BDAY:19650504\n", "4.0", "BDAY:19990101\nTITLE:Baker\n", "TITLE:Baker\n"},
		"of the card itself":          {"4.0", "UID:a\nREV:1\n", "4.0", "UID:b\nREV:2\nPRODID:x\nFN:B\nN:B;;;;\nEMAIL:b@example.com\nORG:o\nNICKNAME:n\nCATEGORIES:c\n", ""},
		"a label goes with its line": {"3.0", "item1.TEL:1\nitem1.X-ABLabel:Desk\n", "3.0", "item1.TEL:2\nitem1.X-ABLabel:Boat\nitem2.EMAIL:x@example.com\nitem2.X-ABLabel:Club\n",
			"item2.TEL:2\nitem2.X-ABLABEL:Boat\n"},
		"its group is free":         {"3.0", "", "3.0", "Work.URL:http\\://a.example\n", "Work.URL:http\\://a.example\n"},
		"from 4.0 to 3.0":           {"3.0", "", "4.0", "TEL;VALUE=uri;PREF=1;TYPE=\"work,voice\":tel:+49-1\nPHOTO:data:image/jpeg;base64,AAAA\n", "TEL;TYPE=pref;TYPE=work;TYPE=voice:+49-1\nPHOTO;ENCODING=b;TYPE=JPEG:AAAA\n"},
		"from 3.0 to 4.0":           {"4.0", "", "3.0", "TEL;TYPE=WORK,pref:+49 1\nPHOTO;ENCODING=b;TYPE=JPEG:AAAA\n", "TEL;PREF=1;TYPE=WORK:+49 1\nPHOTO:data:image/jpeg;base64,AAAA\n"},
		"a picture is one":          {"3.0", "PHOTO;ENCODING=b;TYPE=PNG:BBBB\n", "4.0", "PHOTO:data:image/jpeg;base64,AAAA\n", ""},
		"the parts of the name":     {"4.0", "FN:Alice Liddell\n", "3.0", "FN:Alice  liddell\nN:Liddell;Alice;;;\n", "N:Liddell;Alice;;;\n"},
		"of another name":           {"4.0", "FN:Ali\n", "4.0", "FN:Alice Liddell\nN:Liddell;Alice;;;\n", ""},
		"what nobody knows":         {"4.0", "", "4.0", "X-SPOUSE:Bob\n", "X-SPOUSE:Bob\n"},
		"it cannot be read":         {"4.0", "", "4.0", "TEL:\xff\n", ""},
		"the same line twice":       {"4.0", "", "4.0", "NOTE:x\nNOTE:x\n", "NOTE:x\n"},
		"a value with a line break": {"4.0", "NOTE:one\\ntwo\n", "4.0", "NOTE:one\\ntwo\nNOTE:three\n", "NOTE:three\n"},
	} {
		t.Run(name, func(t *testing.T) {
			card, err := ParseCard(crlf(vcard(c.version, c.has)))
			if err != nil {
				t.Fatal(err)
			}
			other, err := ParseCard(crlf(vcard(c.from, c.other)))
			if err != nil {
				t.Fatal(err)
			}
			before := string(other.Bytes())
			added := card.Complete(other)
			want := string(crlf(vcard(c.version, c.has+c.more)))
			if got := string(card.Bytes()); got != want || added != (c.more != "") {
				t.Errorf("%v: it became\n%s\nwant\n%s", added, got, want)
			}
			if card.Complete(other) || string(other.Bytes()) != before {
				t.Error("the same once more adds something, or has changed the other card")
			}
			if _, err := ParseCard(card.Bytes()); err != nil || strings.Contains(string(card.Bytes()), "\n\r\n") {
				t.Error(err)
			}
		})
	}
}
