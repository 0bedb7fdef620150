package addressbook

import (
	"strings"
	"testing"
)

// What is changed of a card leaves everything else of it, byte for byte: types,
// preferences and groups of lines, and what could not be used.
func TestChangesKeepTheRest(t *testing.T) {
	const apple = "FN:Alice\nitem1.EMAIL;type=INTERNET;type=WORK;type=pref:a@example.com\nitem1.X-ABLabel:Office\n" +
		"EMAIL;TYPE=\"home\";X-ID=7:b@example.com\nEMAIL;TYPE=work:/o=Firm/cn=alice\nNOTE:x\nitem2.EMAIL:c@example.com\nitem2.X-ABLabel:Club\n"
	addresses := func(list ...string) func(*Card) { return func(c *Card) { c.SetAddresses(list) } }
	for name, c := range map[string]struct {
		version, text string
		do            func(*Card)
		old, new      string // what of the text becomes what
	}{
		"the same addresses": {"3.0", apple, addresses("a@example.com", "b@example.com", "c@example.com"), "", ""},
		"one more": {"3.0", apple, addresses("a@example.com", "b@example.com", "c@example.com", "d@example.com"),
			"item2.EMAIL:c@example.com\n", "item2.EMAIL:c@example.com\nEMAIL:d@example.com\n"},
		"one is written otherwise":     {"3.0", apple, addresses("a@example.com", "bb@example.com", "c@example.com"), "X-ID=7:b@", "X-ID=7:bb@"},
		"the preferred one otherwise":  {"3.0", apple, addresses("aa@example.com", "b@example.com", "c@example.com"), "pref:a@", "pref:aa@"},
		"one goes":                     {"3.0", apple, addresses("a@example.com", "c@example.com"), "EMAIL;TYPE=\"home\";X-ID=7:b@example.com\n", ""},
		"one goes with its label":      {"3.0", apple, addresses("a@example.com", "b@example.com"), "item2.EMAIL:c@example.com\nitem2.X-ABLabel:Club\n", ""},
		"the first goes with its mark": {"3.0", apple, addresses("b@example.com", "c@example.com"), "item1.EMAIL;type=INTERNET;type=WORK;type=pref:a@example.com\nitem1.X-ABLabel:Office\n", ""},
		"another is preferred": {"3.0", "EMAIL;TYPE=INTERNET,pref:a@example.com\nEMAIL;TYPE=HOME,WORK:b@example.com\n", addresses("b@example.com", "a@example.com"),
			"EMAIL;TYPE=INTERNET,pref:a@example.com\nEMAIL;TYPE=HOME,WORK:b@example.com\n", "EMAIL;TYPE=HOME;TYPE=WORK;TYPE=pref:b@example.com\nEMAIL;TYPE=INTERNET:a@example.com\n"},
		"another is preferred in 4.0": {"4.0", "EMAIL;PREF=1;TYPE=work:a@example.com\nEMAIL;TYPE=home:b@example.com\n", addresses("b@example.com", "a@example.com"),
			"EMAIL;PREF=1;TYPE=work:a@example.com\nEMAIL;TYPE=home:b@example.com\n", "EMAIL;TYPE=home;PREF=1:b@example.com\nEMAIL;TYPE=work:a@example.com\n"},
		"another is first": {"4.0", "EMAIL;TYPE=work:a@example.com\nEMAIL;TYPE=home:b@example.com\n", addresses("b@example.com", "a@example.com"),
			"EMAIL;TYPE=work:a@example.com\nEMAIL;TYPE=home:b@example.com\n", "EMAIL;TYPE=home:b@example.com\nEMAIL;TYPE=work:a@example.com\n"},
		"the same address twice": {"4.0", "EMAIL;TYPE=work:a@example.com\nEMAIL;TYPE=home:a@example.com\n", addresses("n@example.com"),
			"EMAIL;TYPE=work:a@example.com\nEMAIL;TYPE=home:a@example.com\n", "EMAIL;TYPE=work:n@example.com\n"},
		"none is left": {"4.0", "EMAIL;TYPE=work:a@example.com\n", addresses(), "EMAIL;TYPE=work:a@example.com\n", ""},
		"a name": {"4.0", "FN;LANGUAGE=en:Alice\nFN;LANGUAGE=de:Alice von Wunderland\nN:L;A;;;\n", func(c *Card) { c.SetName("Alice, L.") },
			"en:Alice\n", "en:Alice\\, L.\n"},
		"an organisation": {"4.0", "ORG;SORT-AS=W;TYPE=work:Wonder;Tea\\; cakes;2\n", func(c *Card) { c.SetOrganisation("Looking-glass") },
			"ORG;SORT-AS=W;TYPE=work:Wonder;", "ORG;TYPE=work:Looking-glass;"},
		"no organisation, but a department": {"4.0", "ORG:Wonder;Tea\n", func(c *Card) { c.SetOrganisation("") }, "Wonder;", ";"},
		"no organisation":                   {"4.0", "ORG:Wonder\n", func(c *Card) { c.SetOrganisation("") }, "ORG:Wonder\n", ""},
		"an organisation for a department":  {"4.0", "ORG:;Tea\n", func(c *Card) { c.SetOrganisation("Wonder") }, "ORG:;Tea", "ORG:Wonder;Tea"},
		"another nickname": {"4.0", "NICKNAME;TYPE=work:Ali\nNICKNAME:Al,Lid\\,dell\n", func(c *Card) { c.SetNicknames([]string{"Ally", "Al", "Lid,dell"}) },
			"work:Ali\n", "work:Ally\n"},
		"one nickname more": {"4.0", "NICKNAME;TYPE=work:Ali\n", func(c *Card) { c.SetNicknames([]string{"Ali", "Al"}) },
			"work:Ali\n", "work:Ali\nNICKNAME:Al\n"},
		"nicknames the other way round": {"4.0", "NICKNAME;TYPE=work:Ali\nNICKNAME:Al\n", func(c *Card) { c.SetNicknames([]string{"Al", "Ali"}) },
			"work:Ali\nNICKNAME:Al\n", "work:Al\nNICKNAME:Ali\n"},
		"a group of two lines": {"3.0", "CATEGORIES;X=1:a,b\nCATEGORIES:c,\\d\n", func(c *Card) { c.SetGroups([]string{"a", "c", "d", "e"}) },
			"a,b\nCATEGORIES:c,\\d\n", "a\nCATEGORIES:c,\\d,e\n"},
		"groups beside a line that cannot be read": {"3.0", "CATEGORIES;X=1:a\nCATEGORIES:\xff\n", func(c *Card) { c.SetGroups([]string{"b"}) }, "X=1:a", "X=1:b"},
		"members": {"4.0", "KIND;X=1:group\nMEMBER;X-NAME=\"Al, L\":mailto:a@example.com\nMEMBER:urn:uuid:b\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:c\n",
			func(c *Card) { c.SetMembers([]string{"mailto:a@example.com", "urn:uuid:b", "urn:uuid:d"}) },
			"X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:c\n", "MEMBER:urn:uuid:d\n"},
	} {
		t.Run(name, func(t *testing.T) {
			card, err := ParseCard(crlf(vcard(c.version, c.text)))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(c.text, c.old) {
				t.Fatal("the test is wrong")
			}
			c.do(card)
			want := string(crlf(vcard(c.version, strings.Replace(c.text, c.old, c.new, 1))))
			if got := string(card.Bytes()); got != want {
				t.Errorf("it became\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Types that stand together in vCard 3.0 are told apart in 4.0.
func TestModernTypes(t *testing.T) {
	card, err := ParseCard([]byte(vcard("3.0", "FN:A\nEMAIL;TYPE=INTERNET,HOME,pref:a@example.com\n")))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(card.Modern().Bytes()); !strings.Contains(got, "\r\nEMAIL;PREF=1;TYPE=HOME:a@example.com\r\n") {
		t.Error(got)
	}
}
