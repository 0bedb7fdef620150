package addressbook

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"postern/config"
)

// booksOf are two folders, and a CSV file that may be missing.
func booksOf(t testing.TB, third string) *Books {
	team := folderOf(t, map[string]string{
		"alice.vcf": person("alice", "Alice Liddell", "NICKNAME:Ali\nCATEGORIES:Sales\n"),
		"bob.vcf":   person("bob", "Bob Brown", "CATEGORIES:sales,All\n"),
		"bob2.vcf":  person("bob2", "Bob Brown", ""),
		"mute.vcf":  vcard("4.0", "UID:mute\nFN:Mute Person\n"),
		"ops.vcf":   vcard("4.0", "UID:ops\nFN:Ops\nKIND:group\nMEMBER:urn:uuid:alice\nMEMBER:mailto:x@example.net\nMEMBER:urn:uuid:deep\nMEMBER:urn:uuid:gone\n"),
		"deep.vcf":  vcard("4.0", "UID:deep\nFN:Deep\nKIND:group\nMEMBER:urn:uuid:bob\nMEMBER:urn:uuid:ops\nMEMBER:mailto:ALICE@example.com\n"),
		"empty.vcf": vcard("4.0", "UID:empty\nFN:Empty\nKIND:group\n"),
	})
	more := folderOf(t, map[string]string{
		"alice.vcf": person("alice.m", "Alice Liddell", ""), "carol.vcf": person("carol", "Carol White", "CATEGORIES:Sales\n"),
		"alan.vcf": person("alan", "Alan Turing", ""),
	})
	list := []config.Book{{Name: "team", Provider: config.BookVCards, Dir: team.Dir}, {Name: "more", Provider: config.BookVCards, Dir: more.Dir}}
	if third != "" {
		list = append(list, config.Book{Name: "third", Provider: config.BookCSV, File: third})
	}
	return New(list)
}

func TestResolve(t *testing.T) {
	b := booksOf(t, "")
	for name, want := range map[string]string{
		"ALICE@example.com":        "Alice Liddell <alice@example.com>",
		"alice  liddell":           "Alice Liddell <alice@example.com>", // the first book that has the name
		"Ali":                      "Alice Liddell <alice@example.com>", // a nickname, before what begins so
		"book:more/Alice Liddell":  "Alice Liddell <alice.m@example.com>",
		"book:Carol White":         "Carol White <carol@example.com>",
		"Carol":                    "Carol White <carol@example.com>",
		"white":                    "Carol White <carol@example.com>",
		"group:Sales":              "Alice Liddell <alice@example.com>, Bob Brown <bob@example.com>",
		"group:more/Sales":         "Carol White <carol@example.com>",
		"sales":                    "Alice Liddell <alice@example.com>, Bob Brown <bob@example.com>",
		"group:OPS":                "Alice Liddell <alice@example.com>, Bob Brown <bob@example.com>, x@example.net",
		"Bob Brown":                `! "Bob Brown" may be Bob Brown <bob@example.com> (team) or Bob Brown <bob2@example.com> (team) / write the address`,
		"Al":                       `! "Al" may be Alice Liddell <alice@example.com> (team), Alan Turing <alan@example.com> (more) or Alice Liddell <alice.m@example.com> (more) / write the address, or book:team/Alice Liddell`,
		"Ala":                      "Alan Turing <alan@example.com>",
		"A":                        "! nobody of that name in team, more / *",
		"mute person":              "! Mute Person has no address in team / ",
		"group:Empty":              `! the group has no member with an address / postern book expand "group:Empty" shows its members`,
		"group:Sale":               `! no such group in team, more / did you mean "Sales"?`,
		"group:Alice Liddell":      "! no such group in team, more / *",
		"book:":                    "! names nobody / ",
		"group: ":                  "! names nobody / ",
		"nobody@example.com":       "! nobody of that name in team, more / *",
		"book:nowhere/Carol White": `! nobody of that name in team, more, and no book "nowhere" / *`,
		"group:tem/Sales":          `! no such group in team, more, and no book "tem" / did you mean "group:team/Sales"?`,
		"book:team/Nobody/At All":  "! nobody of that name in team / ",
		"nowhere/Carol White":      "! nobody of that name in team, more / *",
		"group:tem/A\x1b[m":        `! no such group in team, more, and no book "tem" / *`,
	} {
		var got []string
		list, err := b.Resolve(t.Context(), name, 100)
		for _, a := range list {
			got = append(got, a.String())
		}
		text := strings.Join(got, ", ")
		var unknown *Unknown
		if errors.As(err, &unknown) {
			text = "! " + unknown.Text + " / " + unknown.Hint
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if before, any := strings.CutSuffix(want, "*"); text != want && !(any && strings.HasPrefix(text, before)) {
			t.Errorf("%s is\n  %s, want\n  %s", name, text, want)
		}
	}
}

// A book that can't be asked makes a name temporary that it might have meant,
// and no other.
func TestResolveWhileABookIsAway(t *testing.T) {
	b := booksOf(t, filepath.Join(t.TempDir(), "gone.csv"))
	if list, err := b.Resolve(t.Context(), "Carol White", 100); err != nil || len(list) != 1 {
		t.Errorf("a book before it has the name: %v", err)
	}
	for _, name := range []string{"Car", "nobody", "group:nothing", "nobody@example.com"} {
		var unknown *Unknown
		if _, err := b.Resolve(t.Context(), name, 100); err == nil || errors.As(err, &unknown) || !strings.Contains(err.Error(), "third") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if found := b.Find(t.Context(), "carol", 10); len(found.Entries) != 1 || len(found.Away) != 1 || found.Away[0].Book != "third" {
		t.Errorf("found %+v", found)
	}
	checked := b.Check(t.Context())
	if len(checked) != 3 || checked[2].Error == "" || checked[0].Entries != 7 {
		t.Errorf("checked %+v", checked)
	}
}

func TestExpand(t *testing.T) {
	b := booksOf(t, "")
	x, err := b.Expand(t.Context(), "group:Ops", 100)
	if err != nil {
		t.Fatal(err)
	}
	var members []string
	for _, m := range x.Members {
		members = append(members, m.Address+" by "+strings.Join(m.Path, " > "))
	}
	if got, want := strings.Join(members, ", "), "alice@example.com by Ops, bob@example.com by Ops > Deep, x@example.net by Ops"; got != want {
		t.Errorf("it holds %s, want %s", got, want)
	}
	if got := strings.Join(x.Loops, ", "); got != "Ops > Deep > Ops" {
		t.Errorf("loops %s", got)
	}
	if got := strings.Join(x.Missing, ", "); got != "urn:uuid:gone is no card of the book" {
		t.Errorf("missing %s", got)
	}
	var many *TooMany
	if _, err := b.Expand(t.Context(), "group:Ops", 2); !errors.As(err, &many) || many.Limit != 2 {
		t.Errorf("a limit: %v", err)
	}
	if x, err := b.Expand(t.Context(), "Carol", 1); err != nil || len(x.Members) != 1 {
		t.Errorf("a person: %+v %v", x, err)
	}
}

// A chain of groups, and each group in every other, end.
func TestExpandIsBounded(t *testing.T) {
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprint(i, ".vcf")] = vcard("4.0", fmt.Sprintf("UID:g%d\nFN:G%d\nKIND:group\nMEMBER:urn:uuid:g%d\nMEMBER:mailto:a%d@example.com\n", i, i, i+1, i))
	}
	for i := range 40 {
		card := fmt.Sprintf("UID:m%d\nFN:M%d\nKIND:group\n", i, i)
		for j := range 40 {
			card += fmt.Sprintf("MEMBER:urn:uuid:m%d\n", j)
		}
		files[fmt.Sprint("m", i, ".vcf")] = vcard("4.0", card)
	}
	x := index(t, folderOf(t, files))
	e, err := x.Expand("G0")
	if err != nil || len(e.Members) != maxDepth || !strings.Contains(strings.Join(e.Missing, ""), "groups deep") {
		t.Errorf("a chain: %d members, %q, %v", len(e.Members), e.Missing, err)
	}
	if e, err := x.Expand("M0"); err != nil || len(e.Loops) == 0 || len(e.Loops) > maxTold {
		t.Errorf("a mesh: %v", err)
	}
}

func TestWhoMayAsk(t *testing.T) {
	b := booksOf(t, "")
	only := b.Only(func(c *config.Book) bool { return c.Name == "more" })
	if _, err := only.Resolve(t.Context(), "Bob Brown", 10); err == nil {
		t.Error("a book that may not be asked has answered")
	}
	none := b.Only(func(*config.Book) bool { return false })
	if _, err := none.Resolve(t.Context(), "Carol", 10); err == nil || err.Error() != "there is no address book that you may ask" {
		t.Errorf("no book at all: %v", err)
	}
	for _, c := range []struct {
		book       config.Book
		user, unix string
		want       bool
	}{
		{config.Book{}, "", "www", true}, {config.Book{}, "shop", "", false}, {config.Book{User: []string{"shop"}}, "shop", "", true},
		{config.Book{UnixUser: []string{"ops"}}, "", "www", false}, {config.Book{UnixUser: []string{"ops"}}, "", "ops", true},
		{config.Book{UnixUser: []string{"ops"}}, "ops", "", false},
	} {
		if got := c.book.Allows(c.user, c.unix); got != c.want {
			t.Errorf("%+v allows %q %q: %v", c.book, c.user, c.unix, got)
		}
	}
}
