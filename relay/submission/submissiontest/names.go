// Package submissiontest has cases that every way in for mail has to pass, by
// whatever protocol it takes them.
package submissiontest

import (
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
}
