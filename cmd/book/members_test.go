package book

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/relay/addressbook"
)

// A group of a file names its members by the UIDs of the file. Who is in the folder
// with another UID is in the group all the same, wherever the group stands, and
// groups in groups are too; who is nowhere is told.
func TestImportFollowsMembers(t *testing.T) {
	const file = "BEGIN:VCARD\nVERSION:4.0\nKIND:group\nUID:urn:uuid:all\nFN:All\nMEMBER:urn:uuid:team-of-file\nMEMBER:urn:uuid:b\nEND:VCARD\n" +
		"BEGIN:VCARD\nVERSION:3.0\nX-ADDRESSBOOKSERVER-KIND:group\nUID:team-of-file\nFN:Team\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:a\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:nobody\nX-ADDRESSBOOKSERVER-MEMBER:mailto:x@example.net\nEND:VCARD\n" +
		"BEGIN:VCARD\nVERSION:4.0\nUID:urn:uuid:a\nFN:Alice\nEMAIL:alice@example.com\nEND:VCARD\n" +
		"BEGIN:VCARD\nVERSION:4.0\nUID:urn:uuid:b\nFN:Bob\nEMAIL:bob@example.com\nEND:VCARD\n"
	f := folder(t)
	add(t, f, "Alice L", "alice@example.com")
	team := addressbook.NewCard()
	team.SetName("team")
	team.SetMembers([]string{"mailto:old@example.net"})
	if _, err := f.AddAll([]*addressbook.Card{team}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dry  bool
		want string
	}{{true, "1 new, 9 changed, 18 same, 24 new"}, {false, "1 new, 9 changed, 18 same, 24 new"}, {false, "1 same, 9 same, 18 same, 24 same"}} {
		contents, err := addressbook.Source{}.Read(strings.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := Import(f, contents, c.dry)
		if err != nil {
			t.Fatal(err)
		}
		var states, faults []string
		for _, l := range lines {
			states = append(states, fmt.Sprintf("%d %s", l.Line, l.State))
			faults = append(faults, l.Faults...)
		}
		if got := strings.Join(states, ", "); got != c.want {
			t.Errorf("dry %t: %s, want %s", c.dry, got, c.want)
		}
		if !slices.Equal(faults, []string{"member urn:uuid:nobody is no card of the file or the book"}) {
			t.Errorf("dry %t: %q", c.dry, faults)
		}
	}
	x, err := fresh(f)
	if err != nil {
		t.Fatal(err)
	}
	e, err := x.Expand("All")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range e.Members {
		all = append(all, m.Address)
	}
	slices.Sort(all)
	if want := []string{"alice@example.com", "bob@example.com", "old@example.net", "x@example.net"}; !slices.Equal(all, want) {
		t.Errorf("All is %q, want %q", all, want)
	}
}

// Of two cards with one UID in a file, the second one does not take the place of
// somebody else; a picture that is none is told.
func TestImportTellsWhatIsLost(t *testing.T) {
	const file = "BEGIN:VCARD\nVERSION:3.0\nUID:1\nFN:Alice\nEMAIL:alice@example.com\nPHOTO;ENCODING=b:?!\nEND:VCARD\n" +
		"BEGIN:VCARD\nVERSION:3.0\nUID:1\nFN:Bob\nEMAIL:bob@example.com\nEND:VCARD\n" +
		"BEGIN:VCARD\nVERSION:3.0\nUID:1\nFN:Alice L\nEMAIL:ALICE@example.com\nPHOTO;ENCODING=b:/9j/4AAQ\nEND:VCARD\n"
	f := folder(t)
	for _, dry := range []bool{true, false} {
		contents, err := addressbook.Source{}.Read(strings.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := Import(f, contents, dry)
		if err != nil || len(lines) != 3 {
			t.Fatalf("%+v %v", lines, err)
		}
		for i, want := range []Line{
			{State: New, Faults: []string{"PHOTO cannot be understood, and is left out"}}, {State: Bad, Text: "has the UID of the card at line 1, which is somebody else"}, {State: Changed},
		} {
			if l := lines[i]; l.State != want.State || l.Text != want.Text || !slices.Equal(l.Faults, want.Faults) {
				t.Errorf("dry %t: %+v, want %+v", dry, l, want)
			}
		}
	}
	x, err := fresh(f)
	if err != nil || len(x.Entries) != 1 || x.Entries[0].Name != "Alice L" {
		t.Fatalf("%+v %v", x.Entries, err)
	}
	if is, err := f.Get(x.Entries[0]); err != nil || !strings.Contains(strings.ReplaceAll(string(is.Card.Bytes()), "\r\n ", ""), "PHOTO:data:image/jpeg;base64,/9j/4AAQ") {
		t.Errorf("%s %v", is.Card.Bytes(), err)
	}
}
