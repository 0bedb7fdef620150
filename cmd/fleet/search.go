package fleet

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"postern/cmd/history"
)

// searchWaits is how long other relays have for a search.
const searchWaits = 15 * time.Second

// Search looks for the lives of messages in what all relays have told. What it
// lacks stands in Missing.
func (f *Fleet) Search(ctx context.Context, q history.Query) (*history.Found, error) {
	own, err := f.opts.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	peers, err := f.opts.Peers(ctx)
	if err != nil {
		own.Missing = append(own.Missing, "what other relays have told: the database does not answer")
		return own, nil
	}
	asked, cancel := context.WithTimeout(ctx, searchWaits)
	defer cancel()
	all := history.Merge(q.Limit, append(f.searchAll(asked, peers, q), own)...)
	// One relay has taken a message in and knows who wrote it; another one has
	// delivered it, and knows its ID.
	q.Also = nil
	for _, l := range all.Lives {
		if l.ID != "" {
			q.Also = append(q.Also, l.ID)
		}
	}
	if len(q.Also) == 0 || len(peers) == 0 {
		return all, nil
	}
	if own, err = f.opts.Search(ctx, q); err != nil {
		return nil, err
	}
	again := append(f.searchAll(asked, peers, q), own)
	found := history.Merge(q.Limit, again...)
	slices.Sort(found.Missing)
	found.Missing = slices.Compact(found.Missing)
	return found, nil
}

// searchAll has the other relays search, all at the same time.
func (f *Fleet) searchAll(ctx context.Context, peers []Peer, q history.Query) []*history.Found {
	parts := make([]*history.Found, len(peers))
	var work sync.WaitGroup
	for i, p := range peers {
		work.Go(func() { parts[i] = f.searchAt(ctx, p, q) })
	}
	work.Wait()
	return parts
}

func (f *Fleet) searchAt(ctx context.Context, p Peer, q history.Query) *history.Found {
	if !p.Lives {
		return &history.Found{Missing: []string{fmt.Sprintf("what the relay %s has told: it does not run", p.Name)}}
	}
	a, err := f.ask(ctx, p.Name, &request{Verb: search, Query: &q})
	switch {
	case err != nil:
		return &history.Found{Missing: []string{fmt.Sprintf("what the relay %s has told: %s", p.Name, err)}}
	case a.Error != "" || a.Found == nil:
		return &history.Found{Missing: []string{fmt.Sprintf("what the relay %s has told: %s", p.Name, a.Error)}}
	}
	return a.Found
}
