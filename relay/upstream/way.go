package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/relay/memory"
	"postern/spool"
)

// way is one way to reach an upstream.
type way struct {
	host string
	port int
	tls  config.UpstreamTLS // never TLSAuto
}

func (w way) String() string {
	if w.port == 0 {
		return w.host // within this process
	}
	return net.JoinHostPort(w.host, strconv.Itoa(w.port))
}

// style is how TLS begins, for people.
func (w way) style() string {
	if w.tls == config.TLSImplicit {
		return "implicit"
	}
	return "starttls"
}

const (
	// wayLimit is how long the connection of a way may take, and its TLS
	// handshake, while there is another way: port 465 is often dropped in
	// silence.
	wayLimit = 5 * time.Second
	// wayLifetime is how long a way that worked is taken before others are
	// looked for: the domain may have moved, or the better way be open again.
	wayLifetime = 24 * time.Hour
	// maxWays bounds how many ways are tried.
	maxWays = 8
)

// approach goes to where the upstream has said EHLO, over TLS where it is
// wanted: by the way that is configured, or by the first that works.
func (s *session) approach(ctx context.Context) *spool.Fault {
	if s.up.TLS != config.TLSAuto {
		return s.travel(ctx, way{s.up.Host, s.up.Port, s.up.TLS}, s.limits.connect)
	}
	s.recall()
	var fault *spool.Fault
	known, fresh := s.knownWay()
	if fresh {
		if fault = s.follow(ctx, known, false); fault == nil || ctx.Err() != nil || isOurs(fault.Err) {
			return fault
		}
	}
	asking, cancel := context.WithTimeout(ctx, s.limits.connect)
	defer cancel()
	ways, err := s.dialer.findWays(asking, s.up.Host)
	switch {
	case err == nil:
		return s.search(ctx, ways, fault)
	case fresh:
		return fault // it says more
	case known != (way{}):
		return s.follow(ctx, known, true) // it worked, and may still
	}
	return s.fault(spool.StageResolve, "port and TLS could not be found by DNS (upstreams with a port do without)", err)
}

// knownWay is the one that worked last; fresh: it is taken before others are
// looked for.
func (s *session) knownWay() (known way, fresh bool) {
	w := s.facts.Way
	if w == nil {
		return way{}, false
	}
	known = way{w.Host, w.Port, config.TLSVerify}
	if w.Implicit {
		known.tls = config.TLSImplicit
	}
	age := time.Since(w.Found)
	return known, age >= 0 && age < wayLifetime
}

// search tries ways until one works, and remembers that. failed is the fault
// of the known way, which was tried before; it may be nil.
func (s *session) search(ctx context.Context, ways []way, failed *spool.Fault) *spool.Fault {
	var faults []*spool.Fault
	if failed != nil {
		faults = append(faults, failed)
	}
	for i, w := range ways {
		fault := s.follow(ctx, w, i == len(ways)-1)
		if fault == nil {
			s.learnWay(ctx, w)
			return nil
		}
		if isOurs(fault.Err) {
			return fault
		}
		faults = append(faults, fault)
		if ctx.Err() != nil {
			break
		}
	}
	return worst(faults)
}

// follow takes a way after the last one has failed. The last of all has all
// the time that is configured.
func (s *session) follow(ctx context.Context, w way, last bool) *spool.Fault {
	s.hangUpWire()
	limit := s.limits.connect
	if !last {
		limit = min(limit, wayLimit)
	}
	return s.travel(ctx, w, limit)
}

func (s *session) learnWay(ctx context.Context, w way) {
	s.learn(ctx, Learned{Fact: LearnedWay, Way: w.String(), TLS: w.style()}, func(f *memory.Facts, now time.Time) {
		f.Way = &memory.Way{Host: w.host, Port: w.port, Implicit: w.tls == config.TLSImplicit, Found: now}
	})
}

// worst is the fault that came furthest, with the others beside it.
func worst(faults []*spool.Fault) *spool.Fault {
	main := faults[0]
	for _, f := range faults {
		if f.Outcome.Stage > main.Outcome.Stage {
			main = f
		}
	}
	told := map[string]bool{main.Outcome.Remote: true}
	for _, f := range faults {
		if o := f.Outcome; !told[o.Remote] {
			told[o.Remote] = true
			main.Outcome.Cause += "; at " + o.Remote + ": " + o.Text
			if o.Cause != "" {
				main.Outcome.Cause += ": " + o.Cause
			}
		}
	}
	main.Outcome.Cause = wire.Text(strings.TrimPrefix(main.Outcome.Cause, "; "), maxText)
	return main
}

// errNoService: a target of "." denies the service (RFC 2782).
var errNoService = errors.New(`its DNS says that it takes no submissions (SRV records with the target ".")`)

// findWays looks up how a host takes mail. A name for which DNS knows nothing
// is asked at the usual ports; where DNS cannot be asked nobody knows.
func (d *Dialer) findWays(ctx context.Context, host string) ([]way, error) {
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return orderWays(host, nil, nil), nil // not a domain that could have such records
	}
	implicit, err := d.lookupSRV(ctx, "submissions", host)
	if err != nil {
		return nil, err
	}
	start, err := d.lookupSRV(ctx, "submission", host)
	if err != nil {
		return nil, err
	}
	ways := orderWays(host, implicit, start)
	if len(ways) == 0 {
		return nil, errNoService
	}
	return ways, nil
}

// lookupSRV returns the records of a service by priority and weight (RFC
// 2782); none where DNS says that there are none.
func (d *Dialer) lookupSRV(ctx context.Context, service, host string) ([]*net.SRV, error) {
	lookup := d.LookupSRV
	if lookup == nil {
		lookup = net.DefaultResolver.LookupSRV
	}
	// The dot keeps the search list out of it.
	_, records, err := lookup(ctx, service, "tcp", strings.TrimSuffix(host, ".")+".")
	var dns *net.DNSError
	switch {
	case len(records) > 0: // after an error too: some of them could not be used
		return records, nil
	case err == nil, errors.As(err, &dns) && dns.IsNotFound:
		return nil, nil
	}
	return nil, err
}

// orderWays is what to try, in this order: TLS from the first byte (RFC 8314
// §3.3, §5.1), then STARTTLS (RFC 6186 §3.1), at the targets of the records.
// Without any target it is the host itself, by each of the two that is not
// denied.
func orderWays(host string, implicit, start []*net.SRV) []way {
	var ways, usual []way
	for _, service := range []struct {
		records []*net.SRV
		usual   way
	}{
		{implicit, way{host, 465, config.TLSImplicit}},
		{start, way{host, 587, config.TLSVerify}},
	} {
		if len(service.records) == 0 {
			usual = append(usual, service.usual)
		}
		for _, r := range service.records {
			target := strings.ToLower(strings.TrimSuffix(r.Target, "."))
			if target == "" || r.Port == 0 || len(ways) == maxWays {
				continue
			}
			ways = append(ways, way{target, int(r.Port), service.usual.tls})
		}
	}
	if len(ways) == 0 {
		return usual
	}
	return ways
}
