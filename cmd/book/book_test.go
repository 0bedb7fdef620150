package book

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/relay/addressbook"
)

func folder(t *testing.T) *addressbook.Folder {
	return &addressbook.Folder{Name: "team", Dir: t.TempDir()}
}

func add(t *testing.T, f *addressbook.Folder, name string, addresses ...string) *addressbook.Entry {
	t.Helper()
	c := addressbook.NewCard()
	c.SetName(name)
	c.SetAddresses(addresses)
	e, err := f.Add(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func members(t *testing.T, f *addressbook.Folder, group string) string {
	t.Helper()
	x, err := fresh(f)
	if err != nil {
		t.Fatal(err)
	}
	e, err := x.Expand(group)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range e.Members {
		all = append(all, m.Address)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestGroups(t *testing.T) {
	f := folder(t)
	alice := add(t, f, "Alice Liddell", "alice@example.com")
	add(t, f, "Bob", "bob@example.com")
	add(t, f, "Bob", "bob@example.net")
	for _, c := range []struct {
		group, who string
		changed    bool
		wrong      string
		want       string
	}{
		{"Sales", "alice liddell", true, "", "alice@example.com"}, // a category
		{"Sales", alice.UID, false, "", "alice@example.com"},
		{"Sales", "Bob", false, `"Bob" are 2 cards: `, "alice@example.com"},
		{"Sales", "Carol", false, `"Carol" is nobody in team, and no address`, "alice@example.com"},
		{"sales", "x@example.org", true, "", "alice@example.com x@example.org"}, // a card of the group
		{"Sales", "bob@example.com", true, "", "alice@example.com bob@example.com x@example.org"},
		{"Sales", "x@example.org", false, "", "alice@example.com bob@example.com x@example.org"},
	} {
		changed, err := AddToGroup(f, c.group, c.who)
		if changed != c.changed || (err != nil) != (c.wrong != "") || err != nil && !strings.HasPrefix(err.Error(), c.wrong) {
			t.Errorf("%s to %s: %v %v", c.who, c.group, changed, err)
		}
		if got := members(t, f, c.group); got != c.want {
			t.Errorf("%s to %s: it has %s, want %s", c.who, c.group, got, c.want)
		}
	}
	for _, who := range []string{"alice@example.com", "X@example.org", "bob@example.com"} {
		if err := RemoveFromGroup(f, "SALES", who); err != nil {
			t.Error(err)
		}
		if err := RemoveFromGroup(f, "SALES", who); err == nil {
			t.Errorf("%s was taken out twice", who)
		}
	}
	if got := members(t, f, "Sales"); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestImport(t *testing.T) {
	f := folder(t)
	add(t, f, "Alice", "alice@example.com")
	const file = "Name;E-Mail-Adresse;E-Mail 2: Adresse;Kategorien\nAlice Liddell;ALICE@example.com;al@example.org;Sales\nBob;bob@example.com;;\n;;bad@;\n"
	run := func(dry bool) string {
		c, err := addressbook.Source{}.Read(strings.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := Import(f, c, dry)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, l := range lines {
			all = append(all, fmt.Sprintf("%d %s", l.Line, l.State))
		}
		return strings.Join(all, ", ")
	}
	if got := run(true); got != "2 changed, 3 new" {
		t.Errorf("a dry run: %s", got)
	}
	if x, _ := fresh(f); len(x.Entries) != 1 || len(x.Entries[0].Addresses) != 1 {
		t.Error("a dry run has written")
	}
	for i, want := range []string{"2 changed, 3 new", "2 same, 3 same"} {
		if got := run(false); got != want {
			t.Errorf("run %d: %s, want %s", i, got, want)
		}
	}
	x, _ := fresh(f)
	e := x.Exact("alice@example.com")[0]
	if e.Name != "Alice" || !slices.Equal(e.Addresses, []string{"alice@example.com", "al@example.org"}) || !slices.Equal(e.Groups, []string{"Sales"}) {
		t.Errorf("Alice is %+v", e)
	}
	card := func(note string) *addressbook.Contents {
		c, err := addressbook.Source{}.Read(strings.NewReader("BEGIN:VCARD\nVERSION:4.0\nUID:u\nFN:Uwe\nNOTE:" + note + "\nEND:VCARD\n"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for i, want := range []struct {
		note string
		State
	}{{"a", New}, {"a", Same}, {"b", Changed}} {
		if lines, err := Import(f, card(want.note), false); err != nil || lines[0].State != want.State {
			t.Errorf("%d: %+v %v, want %s", i, lines, err, want.State)
		}
	}
}

// TestImportMany: cards come in batches; those of one person in a file are one
// card, wherever they stand, and a dry run says the same. Two imports at once lose
// nothing.
func TestImportMany(t *testing.T) {
	var text strings.Builder
	for i := range batch + 10 {
		fmt.Fprintf(&text, "BEGIN:VCARD\nVERSION:4.0\nFN:N%d\nEMAIL:n%d@example.com\nEND:VCARD\n", i, i)
	}
	for _, again := range []string{ // of one in a batch that was written, of one that waits, without an address, and with an address that came before
		"FN:Other\nEMAIL:N3@example.com\nEMAIL:second@example.com", fmt.Sprintf("FN:x\nEMAIL:n%d@example.com\nORG:Wonder", batch+1), "FN:n4",
		"FN:y\nEMAIL:second@example.com\nNICKNAME:Z", "FN:Mute", "FN:mute\nORG:Silent", "UID:u\nFN:U", "UID:u\nFN:V",
	} {
		text.WriteString("BEGIN:VCARD\nVERSION:4.0\n" + again + "\nEND:VCARD\n")
	}
	count := func(f *addressbook.Folder, dry bool) map[State]int {
		c, err := addressbook.Source{}.Read(strings.NewReader(text.String()))
		if err != nil {
			t.Error(err)
		}
		lines, err := Import(f, c, dry)
		if err != nil {
			t.Error(err)
		}
		n := map[State]int{}
		for _, l := range lines {
			n[l.State]++
		}
		return n
	}
	f := folder(t)
	want := map[State]int{New: batch + 12, Changed: 5, Same: 1}
	for _, dry := range []bool{true, false} {
		if got := count(f, dry); !reflect.DeepEqual(got, want) {
			t.Errorf("dry %v: %v, want %v", dry, got, want)
		}
	}
	x, err := fresh(f)
	if err != nil || len(x.Entries) != batch+12 || len(x.Faults) > 0 {
		t.Fatalf("%d entries %v %v", len(x.Entries), x.Faults, err)
	}
	if e := x.Exact("second@example.com"); len(e) != 1 || e[0].Name != "N3" || !slices.Equal(e[0].Nicknames, []string{"Z"}) {
		t.Errorf("%+v", e)
	}
	if left, _ := filepath.Glob(filepath.Join(f.Dir, ".*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	// Two programs with two files: each card of both is there.
	var both sync.WaitGroup
	g := folder(t)
	for _, n := range []string{"a", "b"} {
		both.Go(func() {
			c, err := addressbook.Source{}.Read(strings.NewReader(strings.ReplaceAll(text.String(), "@", n+"@")))
			if err != nil {
				t.Error(err)
			}
			if _, err := Import(&addressbook.Folder{Name: "team", Dir: g.Dir}, c, false); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	x, err = fresh(g)
	if err != nil {
		t.Fatal(err)
	}
	for i := range batch + 10 {
		for _, n := range []string{"a", "b"} {
			if address := fmt.Sprintf("n%d%s@example.com", i, n); len(x.Exact(address)) != 1 {
				t.Errorf("%s is in %d cards", address, len(x.Exact(address)))
			}
		}
	}
}

// TestRoundTrip: what is exported and taken in elsewhere is the same book, as far
// as the format has a place for it.
func TestRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	words := []string{"Alice", "Müller", `"Bob"`, "a,b", "x;y", `back\slash`, "=SUM(A1)", "Анна", "-", "@home", "a:b", "<tag>", "#1", "O'Neil", " two  words "}
	text := func() string { return words[r.IntN(len(words))] + " " + words[r.IntN(len(words))] }
	f := folder(t)
	for i := range 60 {
		c := addressbook.NewCard()
		c.SetName(fmt.Sprintf("%d %s", i, text()))
		var addresses, groups []string
		for j := range r.IntN(4) {
			addresses = append(addresses, fmt.Sprintf("a%d.%d@example.com", i, j))
		}
		for range r.IntN(3) {
			groups = union(groups, []string{strings.Join(strings.Fields(strings.ReplaceAll(text(), ";", "")), " ")})
		}
		c.SetAddresses(addresses)
		c.SetGroups(groups)
		if r.IntN(2) == 0 {
			c.SetOrganisation(text())
		}
		if r.IntN(2) == 0 {
			c.SetNicknames([]string{text()})
		}
		if _, err := f.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	x, err := fresh(f)
	if err != nil || len(x.Faults) > 0 {
		t.Fatalf("%v %v", x.Faults, err)
	}
	for format, has := range map[string]func(e *addressbook.Entry) any{
		"vcard": func(e *addressbook.Entry) any { c := *e; c.Book, c.File = "", ""; return c },
		"csv": func(e *addressbook.Entry) any {
			return []any{strings.TrimSpace(e.Name), strings.Join(e.Nicknames, ""), e.Addresses, e.Organisation, e.Groups}
		},
		"ldif": func(e *addressbook.Entry) any {
			return []any{strings.TrimSpace(e.Name), strings.Join(e.Nicknames, ""), e.Addresses, e.Organisation}
		},
	} {
		var out bytes.Buffer
		err := Export(&out, format, x.Entries, func(*addressbook.Entry) *addressbook.Card { return nil })
		if format == "vcard" {
			out.Reset()
			err = Export(&out, format, x.Entries, func(e *addressbook.Entry) *addressbook.Card { s, _ := f.Get(e); return s.Card })
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := addressbook.Source{Format: format}.Read(&out)
		if err != nil || len(c.Faults) > 0 || len(c.Cards) != len(x.Entries) {
			t.Fatalf("%s: %d cards of %d, %+v %v", format, len(c.Cards), len(x.Entries), c.Faults, err)
		}
		for i, card := range c.Cards {
			want, got := has(x.Entries[i]), has(card.Entry())
			if fmt.Sprintf("%q", want) != fmt.Sprintf("%q", got) && !reflect.DeepEqual(want, got) {
				t.Errorf("%s (seed %d):\n%q became\n%q", format, seed, want, got)
			}
		}
	}
}

func TestExportsForPrograms(t *testing.T) {
	entries := []*addressbook.Entry{
		{Name: "`touch x` $(y) Eve", Addresses: []string{"eve@example.com"}, Nicknames: []string{"e v"}},
		{Name: "Strange", Addresses: []string{"a'b@example.com"}}, {Name: "Group", Group: true}, {Name: "Mute"},
	}
	var out bytes.Buffer
	if err := Export(&out, "mutt", entries, nil); err != nil || out.String() != "alias e-v touch x y Eve <eve@example.com>\n" {
		t.Errorf("mutt: %q %v", out.String(), err)
	}
	out.Reset()
	if err := Query(&out, entries[:1], false); err != nil || out.String() != "1 entries\neve@example.com\t`touch x` $(y) Eve\t\n" {
		t.Errorf("query: %q %v", out.String(), err)
	}
	out.Reset()
	if err := Export(&out, "csv", []*addressbook.Entry{{Name: "=cmd()", Addresses: []string{"a@example.com"}}}, nil); err != nil || !strings.Contains(out.String(), "'=cmd()") {
		t.Errorf("csv: %q %v", out.String(), err)
	}
}
