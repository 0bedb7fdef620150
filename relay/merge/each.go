package merge

import (
	"cmp"
	"context"
	"sync"
)

// Group is the rows of one message.
type Group struct {
	N    int // of the message, from 1
	Row  int // the first row of it, from 1; 0: there are no rows
	Rows []Row
	Bad  string // why it is left out, with KeepGoing; empty: it is not

	// Wrong is what is known to be wrong before the message is made, or what
	// making it doesn't show.
	Wrong   []string
	unsound bool // there is a row of which nothing more is to be said
}

// groups calls visit with the rows of each message until it returns false.
func (p *Plan) groups(visit func(*Group) bool) error {
	count := p.Messages()
	n := 0
	give := func(row int, rows []Row) bool {
		n++
		g := &Group{N: n, Row: row, Rows: rows}
		if p.table != nil && len(p.table.bad) > 0 {
			for i := range rows {
				if b := p.table.bad[p.rowNumber(g, i)]; b != nil {
					g.Wrong = append(g.Wrong, b.why)
					g.unsound = g.unsound || b.unsound
				}
			}
		}
		if why := p.bad[n]; why != "" {
			g.Wrong = append(g.Wrong, why)
		}
		if p.options.KeepGoing && len(g.Wrong) > 0 {
			g.Bad = g.Wrong[0]
		}
		return visit(g) && n < count
	}
	switch {
	case count == 0:
		return nil
	case p.table == nil || p.table.n == 0:
		give(0, nil)
		return nil
	case p.grouped():
		return p.byColumn(give)
	case p.step.Rows.Per == PerAll:
		rows := make([]Row, 0, p.table.n)
		err := p.table.all(func(_ int, row Row) bool { rows = append(rows, row); return true })
		if err == nil {
			give(1, rows)
		}
		return err
	}
	return p.table.all(func(i int, row Row) bool { return give(i+1, []Row{row}) })
}

// byColumn gives the rows that have the same value, in the order in which the
// values came.
func (p *Plan) byColumn(give func(row int, rows []Row) bool) error {
	for _, first := range p.first {
		var rows []Row
		for i := first; i >= 0; i = p.next[i] {
			row, err := p.table.row(int(i))
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		if !give(int(first)+1, rows) {
			return nil
		}
	}
	return nil
}

// rowNumber is which row of the table the i-th of a message is, from 0.
func (p *Plan) rowNumber(g *Group, i int) int {
	if !p.grouped() {
		return g.Row - 1 + i
	}
	at := int32(g.Row - 1)
	for ; i > 0; i-- {
		at = p.next[at]
	}
	return int(at)
}

// window is how many messages may be under way before the oldest of them is
// done.
const window = 64

// Each calls do with the rows of each message, from several goroutines, each
// with a Renderer of its own, and in with each result, in the order of the
// messages, from the goroutine of the caller. It ends with the first error of
// in, after every do that had begun. When ctx ends, do is called for the rest as
// well, so that it can tell of it; the error is that of ctx.
func Each[T any](ctx context.Context, p *Plan, workers int, do func(context.Context, *Renderer, *Group) T, in func(*Group, T) error) error {
	type result struct {
		g *Group
		v T
	}
	jobs, results, slots, stop := make(chan *Group), make(chan result), make(chan struct{}, window), make(chan struct{})
	var readErr error
	go func() {
		defer close(jobs)
		readErr = p.groups(func(g *Group) bool {
			select {
			case slots <- struct{}{}:
			case <-stop:
				return false
			}
			jobs <- g
			return true
		})
	}()
	var running sync.WaitGroup
	for range min(workers, max(1, p.Messages())) {
		running.Go(func() {
			r := p.renderer()
			defer p.spare(r)
			for g := range jobs {
				results <- result{g, do(ctx, r, g)}
			}
		})
	}
	go func() { running.Wait(); close(results) }()

	var failed error
	pending, next := map[int]result{}, 1
	for got := range results {
		pending[got.g.N] = got
		for one, ok := pending[next]; ok; one, ok = pending[next] {
			delete(pending, next)
			next++
			<-slots
			if failed == nil {
				if failed = in(one.g, one.v); failed != nil {
					close(stop)
				}
			}
		}
	}
	return cmp.Or(failed, ctx.Err(), readErr)
}

// renderer is one that is not in use.
func (p *Plan) renderer() *Renderer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.spares); n > 0 {
		r := p.spares[n-1]
		p.spares = p.spares[:n-1]
		return r
	}
	return newRenderer(p)
}

func (p *Plan) spare(r *Renderer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spares = append(p.spares, r)
}
