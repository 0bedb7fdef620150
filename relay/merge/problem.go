package merge

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/config"
	"postern/config/wire"
)

// Kind tells what a problem is about, for the exit code of a program.
type Kind int

// The kinds, from the weakest to the strongest.
const (
	Data    Kind = iota // a template, a row, an address, an attachment, a key of the message file
	Name                // a name that no address book knows
	Away                // an address book that does not answer now
	NoInput             // a file, a command or standard input that cannot be read
)

// Problem is one thing for which nothing is sent.
type Problem struct {
	Kind  Kind
	File  string // the message file, or where the rows come from; may be empty
	Line  int    // of the file, from 1; 0: none
	Row   int    // from 1, without the header; 0: it is about no row
	Field string // "subject", "attach[0].file"; may be empty
	Text  string // what is wrong
	Hint  string // what to do; may be empty
	rows  bool   // File is where rows come from
	all   bool   // it is about all rows: the header
}

// String is one line: "due.csv: row 17: subject: no column "invocie"". A line
// of a message file is written as "reminder.toml:4".
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 && !p.rows {
			b.WriteString(":" + strconv.Itoa(p.Line))
		}
		b.WriteString(": ")
	}
	if p.Line > 0 && (p.rows || p.File == "") {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	} else if p.Row > 0 {
		fmt.Fprintf(&b, "row %d: ", p.Row)
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Text)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// brief is the problem without where it is: for the row itself.
func (p Problem) brief() string {
	if p.Field == "" {
		return p.Text
	}
	return p.Field + ": " + p.Text
}

// Brief is what is wrong in one line, for one message.
func Brief(list []Problem) string {
	all := make([]string, len(list))
	for i, p := range list {
		all[i] = p.brief()
	}
	return strings.Join(all, "; ")
}

const (
	// alike is how often the same problem is told of; of the rest of the rows
	// only the number.
	alike = 3
	// maxProblems bounds the list, and with it the memory.
	maxProblems = 1000
)

// Problems is everything that is wrong: the error of whatever refuses to send.
type Problems struct {
	List  []Problem
	Total int // of problems, more than the list has where many are alike

	seen map[string]int // what is alike → how often
}

// Error has one line for each problem, without a newline at the end.
func (p *Problems) Error() string {
	lines := make([]string, 0, len(p.List)+1)
	for _, one := range p.List {
		lines = append(lines, one.String())
	}
	if more := p.Total - len(p.List); more > 0 {
		lines = append(lines, fmt.Sprintf("%d more problems like these", more))
	}
	return strings.Join(lines, "\n")
}

// Kind is the strongest of what is not a Name, or Name where there is nothing
// else.
func (p *Problems) Kind() Kind {
	worst, others := Data, false
	for _, one := range p.List {
		if one.Kind != Name {
			worst, others = max(worst, one.Kind), true
		}
	}
	if !others && len(p.List) > 0 {
		return Name
	}
	return worst
}

func (p *Problems) add(list ...Problem) {
	if p.seen == nil {
		p.seen = map[string]int{}
	}
	for _, one := range list {
		p.Total++
		if len(p.List) >= maxProblems {
			continue
		}
		if one.Row > 0 {
			same := one.Field + "\x00" + one.Text
			if p.seen[same]++; p.seen[same] > alike {
				continue
			}
		}
		p.List = append(p.List, one)
	}
}

// none is nil where there is nothing wrong, else the problems in the order of
// the message file and the rows.
func (p *Problems) none() error {
	if p.Total == 0 {
		return nil
	}
	slices.SortStableFunc(p.List, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.order(), b.order()), cmp.Compare(a.Row, b.Row), cmp.Compare(a.Line, b.Line))
	})
	return p
}

// order puts the message file before the rows.
func (p Problem) order() int {
	if p.Row > 0 || p.rows {
		return 1
	}
	return 0
}

// nearest is "did you mean …?" for a word, or "".
func nearest(word string, candidates []string) string {
	if near := config.Nearest(word, candidates); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// shown is how much of a value is repeated in a problem, in bytes.
const shown = 80

// quoted is a value as it may stand in a problem: between quotes, abridged.
func quoted(s string) string {
	if len(s) > shown {
		cut := shown
		for cut > 0 && s[cut]&0xc0 == 0x80 {
			cut--
		}
		return wire.Quote(s[:cut]) + "…"
	}
	return wire.Quote(s)
}
