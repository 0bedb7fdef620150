package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one finding about a configuration.
type Problem struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"` // 0: no particular line
	Key  string `json:"key,omitempty"`  // "upstream.office.port"; empty: no particular key
	Text string `json:"text"`           // what is wrong
	Hint string `json:"hint,omitempty"` // what to do; may be empty

	foreign bool // the file is a link that leads out of the folder of the configuration
}

// String is "file:line: key: text (hint)", on one line, without what is empty.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems is the error of a configuration that cannot be used: everything
// that is wrong with it, in the order of the file.
type Problems struct {
	List []Problem
	// Untold is how many more there are than can be of use to anybody. The last
	// of List then says so, and is none itself.
	Untold int
}

// ForOthers are the problems as they are told to whoever may not read the files,
// as in the log: without words of what a link in conf.d leads to.
func (p *Problems) ForOthers() *Problems {
	told := &Problems{List: slices.Clone(p.List), Untold: p.Untold}
	for i, one := range told.List {
		if one.foreign {
			told.List[i] = Problem{
				File: one.File, Line: one.Line, Text: "this cannot be used",
				Hint: "the file is a link to another place, so that nothing of it is repeated here; postern check tells more to who may read it",
			}
		}
	}
	return told
}

// Count is how many problems there are, told or not.
func (p *Problems) Count() int {
	if p.Untold > 0 {
		return len(p.List) - 1 + p.Untold
	}
	return len(p.List)
}

// Error has one line for each problem, without a newline at the end.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// maxTold is how many problems of a file are told, and how many warnings.
const maxTold = 200

// findings collects what was found in a file.
type findings struct {
	list   []Problem
	untold int // further ones
}

// full reports whether a finding more would only be counted.
func (f *findings) full() bool { return len(f.list) >= maxTold }

func (f *findings) add(p Problem) {
	if f.full() {
		f.untold++
		return
	}
	f.list = append(f.list, p)
}

// inOrder is the list in the order of the file, with what belongs to no line
// behind it, and last how many more there are of what.
func (f *findings) inOrder(file, what string) []Problem {
	list := slices.Clone(f.list)
	slices.SortStableFunc(list, func(a, b Problem) int {
		if a.File != b.File && (a.File == file || b.File != file && a.File < b.File) {
			return -1
		}
		if a.File != b.File {
			return 1
		}
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	if f.untold > 0 {
		list = append(list, Problem{File: file, Text: fmt.Sprintf("and %d more %s", f.untold, what)})
	}
	return list
}

// Nearest is the candidate that a mistyped word most likely meant, or "".
func Nearest(word string, candidates []string) string {
	best, bestDistance := "", 1+max(1, len(word)/3)
	word = strings.ToLower(word)
	for _, c := range candidates {
		if d := editDistance(word, c, bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// maxCompared is the longest word that is compared with others, in bytes.
const maxCompared = 64

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that lead from a to b, byte by byte. Whatever is not below limit is
// counted no further.
func editDistance(a, b string, limit int) int {
	if len(a) > maxCompared || len(b) > maxCompared {
		return max(len(a), len(b))
	}
	var rows [3][maxCompared + 1]int
	before, previous, current := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
			least = min(least, current[j])
		}
		if least > limit { // a swap reaches back over one row, and costs one
			return least
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
