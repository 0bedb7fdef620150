package daemon

import (
	"context"
	"time"

	"postern/cmd/fleet"
	"postern/cmd/history"
)

// openFleet makes what operators ask: the queue, and, where relays share it, also
// that of the relay that is in charge.
func (d *daemon) openFleet() {
	d.operators, d.search = d.queue, d.searchOwn
	if d.database == nil {
		return
	}
	f := fleet.New(fleet.Options{Queue: d.queue, Relay: d.database.Name(), Ask: d.database.Ask, Peers: d.peers, Search: d.searchOwn, Panicked: d.log.Fleet()})
	d.operators, d.search = f, f.Search
	d.database.OnAsk(f.Answer)
}

// flushWaits is how long a search waits for what was told a moment ago to be written.
const flushWaits = 2 * time.Second

// searchOwn looks in what this relay has told, up to now.
func (d *daemon) searchOwn(ctx context.Context, q history.Query) (*history.Found, error) {
	flushing, cancel := context.WithTimeout(ctx, flushWaits)
	d.history.Flush(flushing)
	cancel()
	return history.Search(ctx, d.state.Load().cfg.HistoryDir(), q)
}

// peers are the other relays that share the queue.
func (d *daemon) peers(ctx context.Context) (list []fleet.Peer, err error) {
	all, err := d.database.Relays(ctx)
	for _, r := range all {
		if !r.Self {
			list = append(list, fleet.Peer{Name: r.Name, Lives: r.Lives})
		}
	}
	return list, err
}
