package merge

import (
	"context"
	"sync"
)

// window is how many messages may be under way before the oldest of them is
// done.
const window = 64

// Each calls do with the rows of each message, from several goroutines, each
// with a Renderer of its own, and in with each result, in the order of the
// messages, from the goroutine of the caller. It ends with the first error of
// in, after every do that had begun, or with that of ctx.
func Each[T any](ctx context.Context, p *Plan, workers int, do func(context.Context, *Renderer, *Group) T, in func(*Group, T) error) error {
	type result struct {
		g *Group
		v T
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs, results, slots := make(chan *Group), make(chan result), make(chan struct{}, window)
	var readErr error
	go func() {
		defer close(jobs)
		readErr = p.groups(func(g *Group) bool {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return false
			}
			select {
			case jobs <- g:
				return true
			case <-ctx.Done():
				return false
			}
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

	pending, next := map[int]result{}, 1
	for got := range results {
		pending[got.g.N] = got
		for {
			one, ok := pending[next]
			if !ok {
				break
			}
			delete(pending, next)
			next++
			<-slots
			if ctx.Err() == nil {
				if err := in(one.g, one.v); err != nil {
					cancel(err)
				}
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return readErr
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
