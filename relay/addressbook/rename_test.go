package addressbook

import (
	"strings"
	"testing"
)

// A card that is renamed has the parts of its name follow, where they were parts
// of the full name: programs that sort and show by them know no other name.
func TestRenameFollows(t *testing.T) {
	for name, c := range map[string]struct{ fn, n, now, want string }{
		"as it is written":              {"Alice Liddell", "Liddell;Alice;;;", "Bob Brown", "Brown;Bob;;;"},
		"a married name":                {"Alice Liddell", "Liddell;Alice;;;", "Alice van Hargreaves", "van Hargreaves;Alice;;;"},
		"a family name of three words":  {"Jan van der Berg", "van der Berg;Jan;;;", "Jan Piet van der Berg", "van der Berg;Jan Piet;;;"},
		"another given name":            {"Jan van der Berg", "van der Berg;Jan;;;", "Piet van der Berg", "van der Berg;Piet;;;"},
		"a title that is said":          {"Dr. Jörg Groß", "Groß;Jörg;;Dr.;", "Dr. Jörg Klein", "Klein;Jörg;;Dr.;"},
		"a title that is said no more":  {"Dr. Jörg Groß", "Groß;Jörg;;Dr.;", "Jörg Groß", "Groß;Jörg;;;"},
		"a title that was never said":   {"Jörg Groß", "Groß;Jörg;;Dr.;", "Jörg Klein", "Klein;Jörg;;Dr.;"},
		"what stands behind":            {"Ann Lee MA", "Lee;Ann;;;MA", "Ann Leigh MA", "Leigh;Ann;;;MA"},
		"a further name that is said":   {"Alice Pleasance Liddell", "Liddell;Alice;Pleasance;;", "Alice Pleasance Hargreaves", "Hargreaves;Alice;Pleasance;;"},
		"it is left out":                {"Alice Pleasance Liddell", "Liddell;Alice;Pleasance;;", "Alice Liddell", "Liddell;Alice;;;"},
		"one that is not said":          {"Alice Liddell", "Liddell;Alice;Pleasance;;", "Alice Hargreaves", "Hargreaves;Alice;Pleasance;;"},
		"the family name first":         {"Liddell, Alice", "Liddell;Alice;;;", "van Hargreaves, Alice", "van Hargreaves;Alice;;;"},
		"both, with a comma":            {"Liddell, Alice", "Liddell;Alice;;;", "Brown, Bob B.", "Brown;Bob B.;;;"},
		"the family name first, bare":   {"山田 太郎", "山田;太郎;;;", "鈴木 太郎", "鈴木;太郎;;;"},
		"one word":                      {"Alice", ";Alice;;;", "Ali", ";Ali;;;"},
		"a firm, as Apple has it":       {"ACME", "ACME;;;;", "Acme2", "Acme2;;;;"},
		"one word becomes two":          {"Alice", ";Alice;;;", "Alice Liddell", "Liddell;Alice;;;"},
		"separators are escaped":        {"Alice Liddell", "Liddell;Alice;;;", "Alice A;B", `A\;B;Alice;;;`},
		"short N":                       {"Alice Liddell", "Liddell;Alice", "Bob Brown", "Brown;Bob;;;"},
		"more parts than RFC 6350 has":  {"Alice Liddell", "Liddell;Alice;;;;Second;3", "Bob Liddell", "Liddell;Bob;;;;Second;3"},
		"nothing but spelling":          {"alice liddell", "Liddell;Alice;;;", "Alice Liddell", "Liddell;Alice;;;"},
		"the parts say more":            {"Alice", "Liddell;Alice;;;", "Ally", "Liddell;Alice;;;"},
		"initials":                      {"Alice", "L;A;;;", "Bob Brown", "L;A;;;"},
		"no part":                       {"ACME", ";;;;", "ACME Ltd", ";;;;"},
		"a name that is called by none": {"Queen of Hearts", "Smith;Jane;;;", "Red Queen", "Smith;Jane;;;"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, version := range []string{"3.0", "4.0"} {
				card, err := ParseCard(crlf(vcard(version, "FN:"+c.fn+"\nN:"+c.n+"\nTEL:1\n")))
				if err != nil {
					t.Fatal(err)
				}
				card.SetName(c.now)
				want := "FN:" + escape(c.now) + "\r\nN:" + c.want + "\r\nTEL:1\r\n"
				if got := string(card.Bytes()); !strings.Contains(got, want) {
					t.Errorf("it became\n%s\nwant\n%s", got, want)
				}
				if got := card.Entry().Name; got != c.now {
					t.Errorf("it is called %q", got)
				}
			}
		})
	}
}

// Where FN is missing, N was the name; and a group is called by one part alone.
func TestRenameWithoutFullName(t *testing.T) {
	for text, want := range map[string]string{
		"N;LANGUAGE=en:Liddell;Alice\n":                           "N;LANGUAGE=en:Three;Group of;;;\nFN:Group of Three\n",
		"FN:Ops\nN:Ops;;;;\nX-ADDRESSBOOKSERVER-KIND:group\n":     "FN:Group of Three\nN:Group of Three;;;;\nX-ADDRESSBOOKSERVER-KIND:group\n",
		"FN:Ops\nN;SORT-AS=\"O\":Ops;;;;\nKIND:group\nNOTE:Ops\n": "FN:Group of Three\nN:Group of Three;;;;\nKIND:group\nNOTE:Ops\n",
	} {
		card, err := ParseCard(crlf(vcard("3.0", text)))
		if err != nil {
			t.Fatal(err)
		}
		card.SetName("Group of Three")
		if got, want := string(card.Bytes()), string(crlf(vcard("3.0", want))); got != want {
			t.Errorf("it became\n%s\nwant\n%s", got, want)
		}
	}
}
