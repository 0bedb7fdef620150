package daemon

import (
	"os"
	"slices"
	"strings"

	"postern/config"
	"postern/relay/admin"
)

// What one connection, or one part of the process, may have open at most.
const (
	// ownFiles are those of the process itself: log, locks, the runtime's,
	// questions to the kernel and the resolver, files that are read and closed.
	ownFiles = 32
	// A client: its socket, and the file of a message that is larger than what
	// is kept in memory. As many as a quarter more may be on their way out.
	perClient, evicted = 2, 8
	// A session with an upstream: its socket, and the file of a large message.
	perSession = 2
	// Of the capture server, which is in this process, beside: its end of the
	// socket, the folder and the file of the message.
	perCapture = 3
	// An operator may read the content of a message. A scrape reads /proc.
	perOperator, perReader, perScraper = 2, 1, 2

	journalFile  = 64 << 20 // bytes; journal.Options.SegmentSize
	journalFiles = 256      // of a spool without a bound: 16 GiB
	// strangersOfCapture may be open beside the sessions of the relay.
	strangersOfCapture = 16
	leastPlaces        = 4
)

// shares are the descriptors of a process, shared out: what strangers can take
// leaves enough for spool, control and upstreams.
type shares struct {
	limit  int // RLIMIT_NOFILE; 0: there is none
	needed int // if nobody had to take less than the configuration says
	// Places for connections, at a time.
	listeners                []int // of each, in the order of the configuration
	operators, readers       int
	scrapers, captureClients int
}

// share shares out limit descriptors. handed is how many sockets a service
// manager hands over under a name; each has the places of its listener.
func share(limit int, cfg *config.Config, handed map[string]int) *shares {
	s := &shares{limit: limit}
	sockets := make([]int, len(cfg.Listeners))
	own, wanted := ownFiles+3, 0
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		sockets[i] = 1
		if l.Network == "systemd" {
			sockets[i] = max(1, handed[l.Target])
		}
		own += sockets[i]
		s.listeners = append(s.listeners, l.MaxConnections)
		wanted += sockets[i] * ofClients(l.MaxConnections)
	}
	sessions, captured := 0, 0
	for _, up := range cfg.Upstreams {
		sessions += perSession * up.MaxConnections
		if up.Provider == config.CaptureProvider {
			sessions += perCapture * up.MaxConnections
			captured += up.MaxConnections
		}
	}
	journal := journalFiles
	if cfg.Spool.MaxSize > 0 {
		journal = int(cfg.Spool.MaxSize/journalFile) + 16
	}
	s.places(admin.Places, cfg)
	if captured > 0 {
		s.captureClients = captured + strangersOfCapture
	}
	s.needed = own + journal + sessions + s.others() + wanted
	if limit <= 0 || s.needed <= limit {
		return s
	}
	// Everybody takes less. Journal and sessions are seldom as many as they may
	// be, so that a quarter of all is kept for each at most.
	s.places(min(admin.Places, max(leastPlaces, limit/32)), cfg)
	s.captureClients = min(s.captureClients, max(leastPlaces, limit/8))
	left := limit - own - min(journal, limit/4) - min(sessions, limit/4) - s.others()
	for i, n := range s.listeners {
		part := left * sockets[i] * ofClients(n) / max(1, wanted)
		s.listeners[i] = min(n, max(1, clientsIn(part/sockets[i])))
	}
	return s
}

// places gives n to each of those who ask for the state.
func (s *shares) places(n int, cfg *config.Config) {
	s.operators, s.readers, s.scrapers = n, 0, 0
	if cfg.Control.ReadSocket != "" {
		s.readers = n
	}
	if cfg.Control.Metrics != "" {
		s.scrapers = n
	}
}

// others is how many descriptors those take who are no clients of a listener.
func (s *shares) others() int {
	return perOperator*s.operators + perReader*s.readers + perScraper*s.scrapers + s.captureClients
}

// ofClients is how many descriptors the clients of a socket take in n places.
func ofClients(n int) int { return perClient * (n + n/4 + evicted) }

// clientsIn is the number of places that so many descriptors are enough for.
func clientsIn(descriptors int) int {
	n := max(0, (descriptors/perClient-evicted)*4/5)
	if ofClients(n+1) <= descriptors {
		n++
	}
	return n
}

// lowered is cfg with no more connections at a listener than there is room for.
func (s *shares) lowered(cfg *config.Config) *config.Config {
	own := *cfg
	own.Listeners = slices.Clone(cfg.Listeners)
	for i := range own.Listeners {
		own.Listeners[i].MaxConnections = s.listeners[i]
	}
	return &own
}

// status is what an administrator sees of them.
func (s *shares) status(cfg *config.Config) *admin.Descriptors {
	d := &admin.Descriptors{Limit: s.limit, Needed: s.needed}
	for i := range cfg.Listeners {
		if l := &cfg.Listeners[i]; s.listeners[i] < l.MaxConnections {
			if d.Lowered == nil {
				d.Lowered = map[string]int{}
			}
			d.Lowered[l.Name] = s.listeners[i]
		}
	}
	return d
}

// scarce is the warning that there are too few; nil: there are enough.
func (s *shares) scarce(cfg *config.Config) *config.Problem {
	d := s.status(cfg)
	if !d.Scarce() {
		return nil
	}
	return &config.Problem{File: cfg.Path, Text: d.Text(), Hint: d.Remedy()}
}

// handedOver counts the sockets of a service manager by name (sd_listen_fds(3)).
// It has to be asked before they are taken.
func handedOver() map[string]int {
	count := map[string]int{}
	for name := range strings.SplitSeq(os.Getenv("LISTEN_FDNAMES"), ":") {
		count[name]++
	}
	return count
}
