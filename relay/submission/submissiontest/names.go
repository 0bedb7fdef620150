// Package submissiontest has cases that every way in for mail has to pass, by
// whatever protocol it takes them.
package submissiontest

import (
	"os"
	"path/filepath"
	"testing"

	"postern/config"
	"postern/spool"
)

// Named is an envelope with names, and what becomes of it.
type Named struct {
	Name       string
	Submission config.Submission // Idempotency may be set
	From       string
	To         []string
	Header     string   // fields, with line ends
	Want       string   // reverse-path that is kept
	Recipients []string // that are kept, "address", "address ORCPT" or "address (copy)"
	Kept       string   // fields that are kept in place of Header; empty: the same
	Refused    string   // how the refusal begins; empty: it is taken
	Books      Books
}

// Books are the address books of a case.
type Books int

// The books.
const (
	none   Books = iota
	Cards        // one with Alice, two Bobs, and groups
	away         // Cards, behind a book that can't be asked
	closed       // Cards, which aliases alone may ask
)

// cardsOf are the cards of a case, by the names of their files.
var cardsOf = map[string]string{
	"alice": "FN:Alice Liddell\nNICKNAME:ali,root,postmaster\nEMAIL:alice@book.example\nCATEGORIES:Sales\n",
	"bob":   "FN:Bob Brown\nEMAIL:bob@book.example\nCATEGORIES:Sales,big\n",
	"bob2":  "FN:Bob Brown\nEMAIL:bob2@book.example\n",
	"mute":  "FN:Mute\n",
	"ops":   "FN:Ops\nKIND:group\nMEMBER:urn:uuid:alice\nMEMBER:urn:uuid:ops\nMEMBER:mailto:x@book.example\n",
	"empty": "FN:Empty\nKIND:group\n",
	"many":  "FN:Many\nKIND:group\nMEMBER:mailto:1@x.example\nMEMBER:mailto:2@x.example\nMEMBER:mailto:3@x.example\nMEMBER:mailto:4@x.example\nMEMBER:mailto:5@x.example\nMEMBER:mailto:6@x.example\nMEMBER:mailto:7@x.example\n",
}

// OpenBooks makes the address books of a case, for tokens users.
func (c *Named) OpenBooks(t testing.TB, users ...string) []config.Book {
	if c.Books == none {
		return nil
	}
	dir := t.TempDir()
	for name, text := range cardsOf {
		text = "BEGIN:VCARD\nVERSION:4.0\nUID:" + name + "\n" + text + "END:VCARD\n"
		if err := os.WriteFile(filepath.Join(dir, name+".vcf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := config.Book{Name: "Team", Provider: config.BookVCards, Dir: dir, User: users}
	switch c.Books {
	case away:
		return []config.Book{{Name: "gone", Provider: config.BookCSV, File: filepath.Join(dir, "gone.csv"), User: users}, b}
	case closed:
		b.User, b.UnixUser = nil, []string{"nobody-of-this-name"}
	}
	return []config.Book{b}
}

// Show is a recipient as in Named.Recipients.
func Show(r *spool.Recipient) string {
	if r.Copy {
		if r.Notify != spool.NotifyNever || r.ORcpt != "" {
			return r.Address + " (a copy that its sender is told of)"
		}
		return r.Address + " (copy)"
	}
	if r.ORcpt != "" {
		return r.Address + " " + r.ORcpt
	}
	return r.Address
}

// Routes are those of the cases.
var Routes = []config.Route{
	{Name: "refused", To: []string{"*@refused.example"}, Reject: "not there"},
	{Name: "copied", To: []string{"*@copied.example"}, Upstream: []string{"up"}, Archive: []string{"case@archive.example", "all@archive.example"}},
	{Name: "all", From: []string{"*"}, Upstream: []string{"up"}},
}

var (
	domain = config.Submission{Domain: "example.com"}
	ops    = config.Submission{Domain: "example.com", LocalDomains: []string{"localhost", "app1.example.com"},
		Alias: map[string][]string{
			"root": {"ops@example.net"}, "team": {"a", "b@example.net", "root"}, "a": {`\a`, "c@example.net"},
			"self": {"self", "d@example.net"}, "bad": {"x@refused.example"}, "big": {"1@x.example", "2@x.example", "3@x.example", "4@x.example", "5@x.example", "6@x.example", "7@x.example"},
		}}
	archived = config.Submission{Domain: "example.com", Archive: []string{"all@archive.example"}}
	catch    = config.Submission{Domain: "example.com", Alias: map[string][]string{"*": {"all@example.net"}, "root": {"ops@example.net"}}}
)

// booked are aliases that lead to address books.
var booked = config.Submission{Domain: "example.com", Alias: map[string][]string{
	"root": {"ops@example.net"}, "sales": {"group:Sales", "boss@example.net"}, "lead": {"book:Team/Alice Liddell", "ali"}, "own": {`\ali`, "own"},
	"twice": {"book:Bob Brown"}, "gone": {"group:gone"}, "many": {"group:Many"}, "nobody": {"who"},
}}

// MaxRecipients is what a message may have in the cases.
const MaxRecipients = 6

const needs = ` needs a domain; with domain = "example.com" in [submission] of the configuration it is completed`

// Names are the cases.
var Names = []Named{
	{Name: "sender without domain", From: "root", To: []string{"b@example.net"}, Refused: "553 5.1.7 <root>" + needs},
	{Name: "recipient without domain", From: "a@example.org", To: []string{"root"}, Refused: "553 5.1.3 <root>" + needs},
	{Name: "both completed", Submission: domain, From: "root", To: []string{"bob", "c@example.net"}, Want: "root@example.com", Recipients: []string{"bob@example.com", "c@example.net"}},
	{Name: "completed once", Submission: domain, From: "root", To: []string{"bob", "bob@EXAMPLE.com"}, Want: "root@example.com", Recipients: []string{"bob@example.com"}},
	{Name: "postmaster completed", Submission: domain, From: "a@example.org", To: []string{"postmaster"}, Want: "a@example.org", Recipients: []string{"postmaster@example.com"}},
	{Name: "alias", Submission: ops, From: "a@example.org", To: []string{"Root"}, Want: "a@example.org", Recipients: []string{"ops@example.net rfc822;Root"}},
	{Name: "alias at a local domain", Submission: ops, From: "root@localhost", To: []string{"root@APP1.example.com"}, Want: "root@localhost",
		Recipients: []string{"ops@example.net rfc822;root@APP1.example.com"}},
	{Name: "no alias elsewhere", Submission: ops, From: "a@example.org", To: []string{"root@example.com"}, Want: "a@example.org", Recipients: []string{"root@example.com"}},
	{Name: "name without alias at a local domain", Submission: ops, From: "a@example.org", To: []string{"who@localhost"}, Want: "a@example.org", Recipients: []string{"who@localhost"}},
	{Name: "nested, and each once", Submission: ops, From: "a@example.org", To: []string{"team", "root", "b@example.net"}, Want: "a@example.org",
		Recipients: []string{"a@example.com rfc822;team", "c@example.net rfc822;team", "b@example.net rfc822;team", "ops@example.net rfc822;team"}},
	{Name: "alias to itself", Submission: ops, From: "a@example.org", To: []string{"self"}, Want: "a@example.org",
		Recipients: []string{"self@example.com rfc822;self", "d@example.net rfc822;self"}},
	{Name: "postmaster is root", Submission: ops, From: "a@example.org", To: []string{"postmaster"}, Want: "a@example.org", Recipients: []string{"ops@example.net rfc822;postmaster"}},
	{Name: "everybody else", Submission: catch, From: "a@example.org", To: []string{"who", "root"}, Want: "a@example.org",
		Recipients: []string{"all@example.net rfc822;who", "ops@example.net rfc822;root"}},
	{Name: "one of an alias refused", Submission: ops, From: "a@example.org", To: []string{"bad"}, Refused: "550 5.7.1 not there"},
	{Name: "an alias that is too large", Submission: ops, From: "a@example.org", To: []string{"big"},
		Refused: "554 5.5.3 <big> stands for more than the 6 recipients that a message may have here (max_recipients)"},
	{Name: "too many with an alias", Submission: ops, From: "a@example.org", To: []string{"x@example.net", "y@example.net", "z@example.net", "team"}, Refused: "452 4.5.3 too many recipients"},
	{Name: "names in the header", Submission: domain, From: "root", To: []string{"bob"},
		Header: "From: root (Cron Daemon)\r\nTo: bob, \"Smith, J\" <js>,\r\n c@example.net\r\nReply-To: <>\r\nSubject: root\r\n",
		Kept:   "From: root@example.com (Cron Daemon)\r\nTo: bob@example.com, \"Smith, J\" <js@example.com>,\r\n c@example.net\r\nReply-To: <>\r\nSubject: root\r\n",
		Want:   "root@example.com", Recipients: []string{"bob@example.com"}},
	{Name: "names in a signed header", Submission: domain, From: "root", To: []string{"bob"}, Header: "DKIM-Signature: v=1\r\nFrom: root\r\n",
		Want: "root@example.com", Recipients: []string{"bob@example.com"}},
	{Name: "names that nothing completes stay in the header", Submission: config.Submission{Alias: map[string][]string{"root": {"ops@example.net"}}},
		From: "a@example.org", To: []string{"root"}, Header: "From: root\r\n", Want: "a@example.org", Recipients: []string{"ops@example.net rfc822;root"}},
	{Name: "archive", Submission: archived, From: "a@example.org", To: []string{"b@example.net", "c@example.net"}, Want: "a@example.org",
		Recipients: []string{"b@example.net", "c@example.net", "all@archive.example (copy)"}},
	{Name: "archive that is a recipient", Submission: archived, From: "a@example.org", To: []string{"b@example.net", "all@ARCHIVE.example"}, Want: "a@example.org",
		Recipients: []string{"b@example.net", "all@ARCHIVE.example"}},
	{Name: "archive of routes, once", Submission: archived, From: "a@example.org", To: []string{"b@copied.example", "c@example.net", "d@copied.example"}, Want: "a@example.org",
		Recipients: []string{"b@copied.example", "c@example.net", "d@copied.example", "all@archive.example (copy)", "case@archive.example (copy)"}},
	{Name: "archive of the route of an alias", Submission: config.Submission{Alias: map[string][]string{"root": {"b@copied.example"}}}, From: "a@example.org", To: []string{"root"}, Want: "a@example.org",
		Recipients: []string{"b@copied.example rfc822;root", "case@archive.example (copy)", "all@archive.example (copy)"}},
	{Name: "archive of a recipient that was refused", Submission: config.Submission{Alias: map[string][]string{"root": {"b@copied.example", "x@refused.example"}}}, From: "a@example.org",
		To: []string{"root"}, Refused: "550 5.7.1 not there"},
	{Name: "archive beside as many recipients as there may be", Submission: archived, From: "a@example.org",
		To: []string{"1@example.net", "2@example.net", "3@example.net", "4@example.net", "5@example.net", "6@example.net"}, Want: "a@example.org",
		Recipients: []string{"1@example.net", "2@example.net", "3@example.net", "4@example.net", "5@example.net", "6@example.net", "all@archive.example (copy)"}},
	{Name: "archive that is a name", Submission: config.Submission{Domain: "example.com", Archive: []string{"archive", "team@localhost"}, Alias: map[string][]string{"team": {"x@example.net", "b@example.net"}}},
		From: "a@example.org", To: []string{"b@example.net"}, Want: "a@example.org", Recipients: []string{"b@example.net", "archive@example.com (copy)", "x@example.net (copy)"}},
	{Name: "archive that no route takes", Submission: config.Submission{Archive: []string{"archive@refused.example"}}, From: "a@example.org", To: []string{"b@example.net"}, Want: "a@example.org",
		Recipients: []string{"b@example.net", "archive@refused.example (copy)"}},
	{Name: "name in a book", Books: Cards, From: "a@example.org", To: []string{"ALI", `"alice liddell"`}, Want: "a@example.org", Recipients: []string{"alice@book.example rfc822;ALI"}},
	{Name: "a book before the domain", Books: Cards, Submission: domain, From: "ali", To: []string{"ali", "al", "who"}, Want: "ali@example.com",
		Recipients: []string{"alice@book.example rfc822;ali", "al@example.com", "who@example.com"}},
	{Name: "an alias before the book", Books: Cards, Submission: ops, From: "a@example.org", To: []string{"root"}, Want: "a@example.org", Recipients: []string{"ops@example.net rfc822;root"}},
	{Name: "postmaster is no name of a book", Books: Cards, Submission: domain, From: "a@example.org", To: []string{"Postmaster"}, Want: "a@example.org", Recipients: []string{"Postmaster@example.com"}},
	{Name: "a domain is asked in no book", Books: away, Submission: domain, From: "ali", To: []string{"alice@book.example", "ali@localhost"}, Want: "ali@example.com",
		Recipients: []string{"alice@book.example", "ali@localhost"}},
	{Name: "the beginning of a name", Books: Cards, From: "a@example.org", To: []string{"al"}, Refused: "553 5.1.3 <al>" + needs},
	{Name: "group by its name", Books: Cards, From: "a@example.org", To: []string{"sales"}, Want: "a@example.org", Recipients: []string{"alice@book.example rfc822;sales", "bob@book.example rfc822;sales"}},
	{Name: "group", Books: Cards, Submission: domain, From: "a@example.org", To: []string{`"group:Ops"`}, Want: "a@example.org",
		Recipients: []string{"alice@book.example rfc822;\"group:Ops\"", "x@book.example rfc822;\"group:Ops\""}},
	{Name: "person of one book", Books: Cards, From: "a@example.org", To: []string{`"book:Team/Alice Liddell"`}, Want: "a@example.org",
		Recipients: []string{"alice@book.example rfc822;\"book:Team/Alice+20Liddell\""}},
	{Name: "group that is unknown", Books: Cards, Submission: domain, From: "a@example.org", To: []string{`"group:Op"`}, Refused: `550 5.1.1 no such group in Team; did you mean "Ops"?`},
	{Name: "group without address", Books: Cards, Submission: domain, From: "a@example.org", To: []string{`"group:Empty"`}, Refused: "550 5.1.1 the group has no member with an address"},
	{Name: "person without address", Books: Cards, Submission: domain, From: "a@example.org", To: []string{"mute"}, Refused: "550 5.1.1 Mute has no address in Team"},
	{Name: "group that is too large", Books: Cards, Submission: domain, From: "a@example.org", To: []string{"many"}, Refused: "554 5.5.3 the group has more than the 6 recipients"},
	{Name: "two of one name", Books: Cards, Submission: domain, From: "a@example.org", To: []string{`"Bob Brown"`},
		Refused: `553 5.1.4 "Bob Brown" may be Bob Brown <bob@book.example> (Team) or Bob Brown <bob2@book.example> (Team); write the address`},
	{Name: "a book that is away", Books: away, Submission: domain, From: "a@example.org", To: []string{"ali"}, Refused: "451 4.4.3 an address book cannot be asked now"},
	{Name: "a book that is away has no part in aliases", Books: away, Submission: ops, From: "a@example.org", To: []string{"root"}, Want: "a@example.org", Recipients: []string{"ops@example.net rfc822;root"}},
	{Name: "a book that the client may not ask", Books: closed, Submission: domain, From: "a@example.org", To: []string{"ali"}, Want: "a@example.org", Recipients: []string{"ali@example.com"}},
	{Name: "alias of a group", Books: Cards, Submission: booked, From: "a@example.org", To: []string{"sales"}, Want: "a@example.org",
		Recipients: []string{"alice@book.example rfc822;sales", "bob@book.example rfc822;sales", "boss@example.net rfc822;sales"}},
	{Name: "alias of a person, in a book that the client may not ask", Books: closed, Submission: booked, From: "a@example.org", To: []string{"lead"}, Want: "a@example.org",
		Recipients: []string{"alice@book.example rfc822;lead"}},
	{Name: "alias of its own name", Books: Cards, Submission: booked, From: "a@example.org", To: []string{"own"}, Want: "a@example.org",
		Recipients: []string{"ali@example.com rfc822;own", "own@example.com rfc822;own"}},
	{Name: "alias of a name that no book has", Books: Cards, Submission: booked, From: "a@example.org", To: []string{"nobody"}, Want: "a@example.org", Recipients: []string{"who@example.com rfc822;nobody"}},
	{Name: "alias of two", Books: Cards, Submission: booked, From: "a@example.org", To: []string{"twice"}, Refused: `553 5.1.4 "Bob Brown" may be`},
	{Name: "alias of a group that is unknown", Books: Cards, Submission: booked, From: "a@example.org", To: []string{"gone"}, Refused: "550 5.1.1 no such group in Team"},
	{Name: "alias of a group that is too large", Books: Cards, Submission: booked, From: "a@example.org", To: []string{"many"}, Refused: "554 5.5.3 the group has more than the 6 recipients"},
	{Name: "alias of a group that is away", Books: away, Submission: booked, From: "a@example.org", To: []string{"sales"}, Refused: "451 4.4.3 an address book cannot be asked now"},
	{Name: "archive in a book", Books: Cards, Submission: config.Submission{Archive: []string{"keep@localhost"}, Alias: map[string][]string{"keep": {"group:Ops"}}}, From: "a@example.org", To: []string{"b@example.net"},
		Want: "a@example.org", Recipients: []string{"b@example.net", "alice@book.example (copy)", "x@book.example (copy)"}},
}
