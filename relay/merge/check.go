package merge

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"strings"

	"postern/relay/compose"
)

// Check renders every message, and forgets it. progress, which may be nil, is
// told how many are done. The error is a *Problems, or that of ctx.
func (p *Plan) Check(ctx context.Context, workers int, progress func(done int)) error {
	c := &check{plan: p, found: p.wrong, keys: newTwins(), saves: newTwins(), bad: map[int]string{}}
	err := Each(ctx, p, workers, func(ctx context.Context, r *Renderer, g *Group) checked {
		if g.Bad != "" || g.unsound || ctx.Err() != nil {
			return checked{left: true}
		}
		m, problems := r.Render(ctx, g)
		if m == nil {
			return checked{problems: problems, left: true}
		}
		return checked{key: m.Key, save: m.Save, noSubject: m.Source.Subject == "", empty: isEmpty(m.Source)}
	}, func(g *Group, one checked) error {
		c.add(g, one)
		if progress != nil {
			progress(g.N)
		}
		return nil
	})
	if err != nil {
		return err
	}
	maps.Copy(p.bad, c.bad)
	c.warn(c.noSubject, "no subject")
	c.warn(c.empty, "neither text nor attachment")
	if p.options.KeepGoing && p.table != nil {
		for _, one := range c.found.List {
			p.options.Warn(one)
		}
		if len(c.bad) > maxBad {
			p.constant.add(Problem{File: p.table.name, Text: fmt.Sprintf("more than %d messages are wrong", maxBad), rows: true})
		}
		return p.constant.none()
	}
	c.found.add(p.constant.List...)
	return c.found.none()
}

// checked is what is remembered of a message.
type checked struct {
	key, save        string
	noSubject, empty bool
	left             bool // there is none
	problems         []Problem
}

// isEmpty reports whether a message has nothing to show.
func isEmpty(m *compose.Message) bool {
	return strings.TrimSpace(m.Text) == "" && strings.TrimSpace(m.HTML) == "" && len(m.Calendar)+len(m.Attached) == 0
}

// check is one look at every message.
type check struct {
	plan             *Plan
	found            Problems
	keys, saves      *twins
	bad              map[int]string // Each reads that of the plan meanwhile
	noSubject, empty alikes
}

// alikes counts messages of which the same is to be said.
type alikes struct{ n, first int }

func (a *alikes) add(is bool, n int) {
	if is {
		if a.n++; a.n == 1 {
			a.first = n
		}
	}
}

func (c *check) add(g *Group, one checked) {
	p := c.plan
	twin := func(seen *twins, key, value, why string) {
		if value == "" {
			return
		}
		if n := seen.add(value, g.N); n > 0 {
			text := fmt.Sprintf("%s is that of message %d too%s", quoted(value), n, why)
			one.problems = append(one.problems, Problem{File: p.table.name, Row: g.Row, Field: p.step.name(key), Text: text, rows: true})
			one.left = true
		}
	}
	shown := len(one.problems) // by Render
	twin(c.keys, "key", one.key, ": this one would never be sent")
	twin(c.saves, "save", one.save, "")
	if n := len(one.problems); n > 0 && (p.options.KeepGoing && len(c.bad) <= maxBad || n > shown && len(c.bad) < maxProblems) {
		c.bad[g.N] = one.problems[0].brief()
	}
	c.found.add(one.problems...)
	c.noSubject.add(one.noSubject && !one.left, g.N)
	c.empty.add(one.empty && !one.left, g.N)
}

// warn tells of messages that lack something.
func (c *check) warn(a alikes, what string) {
	switch {
	case a.n == 0:
	case c.plan.Messages() == 1:
		c.plan.options.Warn(Problem{Text: "the message has " + what})
	case a.n == 1:
		c.plan.options.Warn(Problem{Text: fmt.Sprintf("message %d has %s", a.first, what)})
	default:
		c.plan.options.Warn(Problem{Text: fmt.Sprintf("%d messages have %s, the first is message %d", a.n, what, a.first)})
	}
}

// twins finds values that two messages share, by their hash: 8 bytes each,
// however many there are.
type twins struct {
	seed maphash.Seed
	seen map[uint64]int32
}

func newTwins() *twins { return &twins{maphash.MakeSeed(), map[uint64]int32{}} }

// add is the number of the message that has the value already; 0: none.
func (t *twins) add(value string, n int) int {
	sum := maphash.String(t.seed, value)
	if first, ok := t.seen[sum]; ok {
		return int(first)
	}
	t.seen[sum] = int32(n)
	return 0
}
