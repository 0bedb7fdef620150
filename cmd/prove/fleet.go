//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"postern/spool/postgres"
	"postern/spool/postgres/postgrestest"
)

// fleetReport is what a run with several relays prints.
type fleetReport struct {
	report
	Relays int            `json:"relays"`
	Faults map[string]int `json:"faults"`
	// Takeovers are those that the logs tell of.
	Takeovers int `json:"takeovers"`
	// Tries are the seconds from the death of a relay, which stays dead, to the next
	// attempt of a lane that it had; Gaps are those to its next delivery.
	Tries []float64 `json:"seconds_from_death_to_next_attempt"`
	Gaps  []float64 `json:"seconds_from_death_to_next_delivery"`
	// MostInPeriod is the most that an upstream got within one period of its rate.
	MostInPeriod int `json:"most_within_the_period_of_a_rate"`
	Allowed      int `json:"allowed_within_it"`
	// Queued messages were still in the database at the end.
	Queued int `json:"still_queued"`
	// Pauses of an upstream, and what it got in them all the same.
	Pauses      int `json:"pauses"`
	WhilePaused int `json:"arrived_while_paused"`
	// UnderWay are those of a relay that could not be told of a pause: it was
	// stopped or cut off, and sent them before it heard.
	UnderWay int `json:"arrived_while_paused_of_a_relay_that_came_back"`
}

// fleet has several relays share a queue in a database with a standby, and has
// all of them fail at random.
type fleet struct {
	plan    *plan
	stderr  io.Writer
	books   *books
	sinks   map[string]*sink // by upstream
	servers [2]*postgrestest.Server
	folders [2]string
	primary int   // of servers
	follow  *link // from the standby to the primary
	relays  []*member
	rep     fleetReport
	pauses  []span // of pausing, which has ended when they are read
	broken  []span // times of faults
}

// span is a time in which an upstream was paused, or in which a fault lasted.
type span struct{ from, to time.Time }

// member is a relay with the links that it has.
type member struct {
	*daemon
	database [2]*link
	upstream *link
}

// The rate of the upstream "paced": so many within a period.
const (
	pacedCount  = 40
	pacedPeriod = 10 * time.Second
)

const fleetConfiguration = `hostname = "prove.postern.test"
state_dir = %[1]q
[spool]
url = %[2]q
relay = %[3]q
[control]
socket = "%[1]s/control.sock"
[log]
format = "json"
[[listener]]
address = %[4]q
[upstream.sink]
%[5]s
[upstream.paced]
%[6]s
rate = "40/10s"
[upstream.halted]
%[7]s
[[route]]
to = ["*@paced.example"]
upstream = ["paced"]
[[route]]
to = ["*@halted.example"]
upstream = ["halted"]
[[route]]
from = ["*"]
upstream = ["sink"]
[retry]
backoff = ["1s", "2s"]
warn_after = "0"
`

func (p *plan) fleetOfRelays(ctx context.Context, stderr io.Writer) (rep fleetReport, err error) {
	dir, leave, err := p.folder("prove-", stderr)
	if err != nil {
		return rep, err
	}
	defer func() { leave(err) }()
	if p.binary == "" {
		if p.binary, err = build(ctx, dir, "postern", static); err != nil {
			return rep, err
		}
	}
	f := &fleet{plan: p, stderr: stderr, books: newBooks(), sinks: map[string]*sink{}}
	f.rep.Faults, f.rep.Allowed, f.rep.Relays = map[string]int{}, pacedCount, p.relays
	defer f.end()
	if err = f.comeUp(ctx, dir); err == nil {
		err = f.run(ctx)
	}
	if err != nil {
		f.keep(dir)
	}
	return f.rep, err
}

// run has load and trouble for the time of the plan, and closes the books.
func (f *fleet) run(ctx context.Context) error {
	began := time.Now()
	loadCtx, endLoad := context.WithCancel(ctx)
	defer endLoad()
	var senders sync.WaitGroup
	for _, c := range f.senders() {
		senders.Go(func() { c.run(loadCtx) })
	}
	senders.Go(func() { f.pausing(loadCtx) })
	err := f.trouble(ctx)
	endLoad()
	senders.Wait()
	if err != nil {
		return err
	}
	for _, s := range f.sinks {
		s.fail(0)
	}
	f.rep.ArrivedASecond = float64(f.books.whole()) / time.Since(began).Seconds()
	drain := time.Now()
	stall := stallLimit
	if f.plan.alone {
		stall /= 8 // it waits for what can't come
	}
	if err := waitEmpty(ctx, f.books, stall, 10*time.Minute); err != nil {
		fmt.Fprintln(f.stderr, "prove:", err)
	}
	f.rep.DrainedInSeconds = time.Since(drain).Seconds()
	return f.settle(began)
}

// senders are clients of all relays and for all upstreams.
func (f *fleet) senders() (all []*sender) {
	for i := range f.plan.senders {
		all = append(all, &sender{name: fmt.Sprintf("s%d", i), addr: f.relays[i%len(f.relays)].addr, books: f.books, big: f.plan.big, pause: f.plan.pause, returned: 0.02})
	}
	for i, r := range f.relays {
		all = append(all,
			// Bursts above the rate, and three quarters of it on the whole.
			&sender{name: fmt.Sprintf("p%d", i), addr: r.addr, books: f.books, domain: "paced.example", burst: 30,
				rest: time.Duration(len(f.relays)) * pacedPeriod},
			&sender{name: fmt.Sprintf("h%d", i), addr: r.addr, books: f.books, domain: "halted.example", pause: 100 * time.Millisecond})
	}
	return all
}

// comeUp starts upstreams, database, standby and relays.
func (f *fleet) comeUp(ctx context.Context, dir string) error {
	for _, name := range []string{"sink", "paced", "halted"} {
		s, err := startSink(f.books)
		if err != nil {
			return err
		}
		s.keeps = true
		f.sinks[name] = s
	}
	if err := f.databases(ctx); err != nil {
		return err
	}
	for i := range f.plan.relays {
		r, err := f.newMember(filepath.Join(dir, fmt.Sprintf("relay%d", i)), fmt.Sprintf("relay%d", i))
		if err != nil {
			return err
		}
		if err := r.start(ctx); err != nil {
			return err
		}
		f.relays = append(f.relays, r)
	}
	return nil
}

// databases starts a primary and a standby that it waits for.
func (f *fleet) databases(ctx context.Context) (err error) {
	place, err := os.MkdirTemp("/tmp", "prove-pg-") // the path of a socket is short
	if err != nil {
		return err
	}
	if err := os.Chmod(place, 0o755); err != nil {
		return err
	}
	for i, name := range []string{"a", "b"} {
		f.folders[i] = filepath.Join(place, name)
		if err := os.Mkdir(f.folders[i], 0o700); err != nil {
			return err
		}
	}
	if f.follow, err = newLink("unix", ""); err != nil { // leads nowhere yet
		return err
	}
	if f.servers[0], err = postgrestest.New(f.folders[0], f.settings()...); err != nil {
		return err
	}
	if err := f.newStandby(ctx); err != nil {
		return err
	}
	_, err = postgres.Migrate(ctx, f.servers[0].URL("postgres"))
	return err
}

// settings are those of both servers.
func (f *fleet) settings() []string {
	all := []string{"wal_keep_size=1GB", "wal_retrieve_retry_interval=200ms", "wal_receiver_timeout=60s", "wal_sender_timeout=60s"}
	if !f.plan.alone {
		all = append(all, "synchronous_standby_names=ANY 1 (standby)")
	}
	host, port, _ := strings.Cut(f.follow.addr, ":")
	return append(all, fmt.Sprintf("primary_conninfo=host=%s port=%s user=postern application_name=standby", host, port))
}

// newStandby makes a standby where the primary is not.
func (f *fleet) newStandby(ctx context.Context) (err error) {
	primary, other := f.servers[f.primary], 1-f.primary
	f.follow.lead("unix", primary.Socket())
	if f.servers[other], err = primary.Follow(f.folders[other], f.settings()...); err != nil || f.plan.alone {
		return err
	}
	return primary.Followed(ctx)
}

// newMember is a relay that reaches the databases and one of its upstreams by
// links.
func (f *fleet) newMember(dir, name string) (r *member, err error) {
	r = &member{}
	var hosts []string
	for i := range r.database {
		if r.database[i], err = newLink("unix", filepath.Join(f.folders[i], ".s.PGSQL.5432")); err != nil {
			return nil, err
		}
		hosts = append(hosts, r.database[i].addr)
	}
	if r.upstream, err = newLink("tcp", f.sinks["sink"].addr); err != nil {
		return nil, err
	}
	if r.daemon, err = newDaemon(f.plan.binary, dir, dir, f.sinks["sink"].addr); err != nil {
		return nil, err
	}
	url := "postgres://postern@" + strings.Join(hosts, ",") + "/postgres?sslmode=disable&target_session_attrs=read-write"
	text := fmt.Sprintf(fleetConfiguration, dir, url, name, r.addr, upstreamAt(r.upstream.addr), upstreamAt(f.sinks["paced"].addr), upstreamAt(f.sinks["halted"].addr))
	return r, os.WriteFile(r.config(), []byte(text), 0o600)
}

func upstreamAt(addr string) string {
	host, port, _ := strings.Cut(addr, ":")
	return fmt.Sprintf("host = %q\nport = %s\ntls = \"off\"\nauth = \"none\"", host, port)
}

// end ends everything that still runs.
func (f *fleet) end() {
	for _, r := range f.relays {
		if !r.gone() {
			r.kill()
		}
		for _, l := range append(r.database[:], r.upstream) {
			l.close()
		}
	}
	for _, s := range f.servers {
		if s != nil {
			s.Thaw()
			s.Stop()
		}
	}
	if f.follow != nil {
		f.follow.close()
	}
	for _, s := range f.sinks {
		s.close()
	}
	if f.folders[0] != "" {
		os.RemoveAll(filepath.Dir(f.folders[0]))
	}
}
