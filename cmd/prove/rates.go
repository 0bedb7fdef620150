//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"postern/spool/postgres/postgrestest"
)

// ratesReport is what a run prints that measures what relays with a shared queue
// take and relay, beside one with a journal and Postfix. Rates are messages a
// second, and compare only within one run.
type ratesReport struct {
	Rounds  int       `json:"rounds"`
	Seconds float64   `json:"seconds"`
	Left    []string  `json:"left_out"` // peers, and why
	Cells   []cell    `json:"cells"`
	Steady  []reading `json:"steady"`
}

// cell is one measurement of one peer.
type cell struct {
	Peer     string `json:"peer"`
	Round    int    `json:"round"`
	What     string `json:"what"` // accepted: the upstream refuses connections; relayed: it takes what comes
	Size     int    `json:"bytes"`
	Sessions int    `json:"sessions"`
	Messages int64  `json:"messages"`
	Refused  int64  `json:"refused"`
	// Missing had not arrived when the time for it was over.
	Missing int64   `json:"missing"`
	Rate    float64 `json:"a_second"` // relayed: until the last arrival
	// WAL is the write-ahead log of a message, from its first byte until it is
	// delivered and gone; 0: not measured.
	WAL int64 `json:"wal_bytes_a_message"`
	// Load is the machine's load average over one minute, at the end.
	Load float64 `json:"load"`
}

// reading is what the tables hold while a relay is under load.
type reading struct {
	Seconds float64 `json:"seconds"`
	// Rate is what arrived a second since the last reading.
	Rate   float64          `json:"relayed_a_second"`
	Queued int64            `json:"queued"`
	Dead   map[string]int64 `json:"dead_rows"`
	// Vacuums are those by autovacuum so far, by table.
	Vacuums map[string]int64 `json:"vacuums"`
	WAL     int64            `json:"wal_bytes_a_message"` // since the last reading
}

// loads are what is sent: size and sessions.
var loads = []struct{ size, sessions int }{{1 << 10, 10}, {1 << 10, 50}, {100 << 10, 10}}

// warmUp is how long a peer is given mail before it is measured: Postfix makes its
// processes when they are needed.
const warmUp = time.Second

// rates is such a run.
type rates struct {
	plan      *plan
	stderr    io.Writer
	dir       string
	rep       ratesReport
	databases int // that were made
}

// measureRates gives each peer the same loads, in turns that change from round to
// round, and then one relay a steady load. It is a measurement: it fails only where
// something could not be measured.
func (p *plan) measureRates(ctx context.Context, stderr io.Writer) (rep ratesReport, err error) {
	r := &rates{plan: p, stderr: stderr}
	under := p.dir
	if under == "" {
		under = "/tmp" // the path of a socket is short
	}
	if r.dir, err = os.MkdirTemp(under, "rates-"); err != nil {
		return rep, err
	}
	defer os.RemoveAll(r.dir)
	if err := os.Chmod(r.dir, 0o755); err != nil { // other programs run as other users
		return rep, err
	}
	if p.binary == "" {
		if p.binary, err = build(ctx, r.dir, "postern", static); err != nil {
			return rep, err
		}
	}
	began := time.Now()
	peers, servers, err := r.peers(ctx)
	defer func() {
		for _, s := range servers {
			s.Stop()
		}
	}()
	if err != nil {
		return rep, err
	}
	r.rep.Rounds = p.rounds
	each := p.length / time.Duration(2*len(loads)*len(peers)*p.rounds)
	for round := range p.rounds {
		for _, l := range loads {
			for _, what := range []string{"accepted", "relayed"} {
				for i := range peers {
					c := cell{Peer: peers[(i+round)%len(peers)].name, Round: round + 1, What: what, Size: l.size, Sessions: l.sessions}
					if err := r.measure(ctx, peers[(i+round)%len(peers)], &c, each); err != nil {
						return r.rep, fmt.Errorf("%s, %s, %d × %d: %w", c.Peer, what, l.size, l.sessions, err)
					}
					r.rep.Cells = append(r.rep.Cells, c)
					fmt.Fprintf(stderr, "%s %-8s %-18s %3d KB × %2d: %6.0f/s\n", time.Now().Format(time.TimeOnly), what, c.Peer, l.size>>10, l.sessions, c.Rate)
				}
			}
		}
	}
	if len(servers) > 0 && p.steady > 0 {
		if err := r.steady(ctx, servers[0]); err != nil {
			return r.rep, fmt.Errorf("steady load: %w", err)
		}
	}
	r.rep.Seconds = time.Since(began).Seconds()
	fmt.Fprint(stderr, r.rep.table())
	return r.rep, nil
}

// peers are those that can be run here, and the servers of their databases.
func (r *rates) peers(ctx context.Context) (all []peer, servers []*postgrestest.Server, err error) {
	all = []peer{r.journal()}
	if postgrestest.Bin() == "" {
		r.leave("no PostgreSQL: apt-get install postgresql")
	} else {
		var places []string
		for _, name := range []string{"pg", "primary", "standby"} {
			at := filepath.Join(r.dir, name)
			if err := os.Mkdir(at, 0o700); err != nil {
				return nil, nil, err
			}
			places = append(places, at)
		}
		for _, at := range places[:2] {
			s, err := postgrestest.New(at)
			if err != nil {
				return nil, servers, err
			}
			servers = append(servers, s)
		}
		standby, err := servers[1].Follow(places[2], "cluster_name=standby")
		if err != nil {
			return nil, servers, err
		}
		servers = append(servers, standby)
		if err := requireStandby(ctx, servers[1].URL("postgres")); err != nil {
			return nil, servers, err
		}
		if err := servers[1].Followed(ctx); err != nil {
			return nil, servers, err
		}
		all = append(all, r.shared("postgres", servers[0], 1), r.shared("postgres, 2 relays", servers[0], 2), r.shared("postgres, standby", servers[1], 1))
	}
	p, err := r.postfix()
	if err != nil {
		r.leave(err.Error())
		return all, servers, nil
	}
	return append(all, p), servers, nil
}

func (r *rates) leave(why string) {
	r.rep.Left = append(r.rep.Left, why)
	fmt.Fprintln(r.stderr, why)
}

// measure starts a peer, gives it a load for a time, and ends it.
func (r *rates) measure(ctx context.Context, p peer, c *cell, length time.Duration) error {
	dir := filepath.Join(r.dir, "cell")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	upstream := ownAddress()
	var u *counter
	var err error
	if c.What == "relayed" {
		if u, err = count(upstream); err != nil {
			return err
		}
		defer u.close()
	}
	on, err := p.start(ctx, dir, upstream)
	if err != nil {
		return err
	}
	defer on.stop()
	warm := &filler{addrs: on.addrs, sessions: c.Sessions, text: text(c.Size)}
	warming, cancel := context.WithTimeout(ctx, min(length, warmUp))
	warm.fill(warming)
	cancel()
	if u != nil {
		u.await(ctx, warm.accepted.Load(), time.Minute)
		u.arrived.Store(0)
	}
	before, err := on.written(ctx)
	if err != nil {
		return err
	}
	f := &filler{addrs: on.addrs, sessions: c.Sessions, text: text(c.Size)}
	began := time.Now()
	filling, cancel := context.WithTimeout(ctx, length)
	took := f.fill(filling)
	cancel()
	c.Messages, c.Refused = f.accepted.Load(), f.refused.Load()
	if c.Messages == 0 {
		return fmt.Errorf("nothing was accepted: %w", f.why)
	}
	c.Rate = float64(c.Messages) / took.Seconds()
	if u != nil {
		u.await(ctx, c.Messages, time.Minute+10*length)
		c.Missing = max(0, c.Messages-u.arrived.Load())
		c.Rate = float64(c.Messages-c.Missing) / time.Unix(0, u.last.Load()).Sub(began).Seconds()
		if err := on.emptied(ctx); err != nil {
			return err
		}
		after, err := on.written(ctx)
		if err != nil {
			return err
		}
		c.WAL = (after - before) / c.Messages
	}
	c.Load = loadAverage()
	return ctx.Err()
}

// loadAverage is that of the last minute.
func loadAverage() (n float64) {
	text, _ := os.ReadFile("/proc/loadavg")
	fmt.Sscan(string(text), &n)
	return n
}

// table says the medians of all rounds, how many times those of Postfix in the same
// round they are, and what was not as it should be.
func (rep *ratesReport) table() string {
	var b strings.Builder
	var names []string
	for _, c := range rep.Cells {
		if !slices.Contains(names, c.Peer) {
			names = append(names, c.Peer)
		}
	}
	out := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, what := range []string{"accepted", "relayed"} {
		fmt.Fprintf(out, "\n%s a second (times Postfix)", what)
		for _, l := range loads {
			fmt.Fprintf(out, "\t%d KB, %d sessions", l.size>>10, l.sessions)
		}
		fmt.Fprintln(out)
		for _, name := range names {
			fmt.Fprint(out, name)
			for _, l := range loads {
				rate, times := rep.median(name, what, l.size, l.sessions)
				fmt.Fprintf(out, "\t%.0f", rate)
				if times > 0 && name != "postfix" {
					fmt.Fprintf(out, " (%.1f)", times)
				}
			}
			fmt.Fprintln(out)
		}
	}
	out.Flush()
	for _, c := range rep.Cells {
		if c.Refused > 0 || c.Missing > 0 {
			fmt.Fprintf(&b, "%s, round %d, %s, %d KB, %d sessions: %d refused, %d did not arrive\n", c.Peer, c.Round, c.What, c.Size>>10, c.Sessions, c.Refused, c.Missing)
		}
	}
	return b.String()
}

// median is that of a peer's rates, and of their ratios to Postfix's in the same
// round; 0: there are none.
func (rep *ratesReport) median(peer, what string, size, sessions int) (rate, times float64) {
	var rates, ratios []float64
	for _, c := range rep.Cells {
		if c.What != what || c.Size != size || c.Sessions != sessions || c.Peer != peer {
			continue
		}
		rates = append(rates, c.Rate)
		for _, o := range rep.Cells {
			if o.What == what && o.Size == size && o.Sessions == sessions && o.Round == c.Round && o.Peer == "postfix" && o.Rate > 0 {
				ratios = append(ratios, c.Rate/o.Rate)
			}
		}
	}
	return middle(rates), middle(ratios)
}

// middle is the median; 0 of nothing.
func middle(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}
