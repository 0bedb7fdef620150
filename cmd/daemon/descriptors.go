package daemon

import (
	"os"
	"slices"
	"strings"

	"postern/cmd/control"
	"postern/config"
	"postern/relay/api"
	"postern/relay/intake"
)

// What one connection, or one part of the process, may have open at most.
const (
	// ownFiles are those of the process itself: log, locks, the runtime's,
	// questions to the kernel and the resolver, files that are read and closed.
	ownFiles = 32
	// A client: its socket, and the file of a message that is larger than what
	// is kept in memory. As many as a quarter more may be on their way out.
	// A copy for archive_dir has a folder and a file open.
	perClient, perArchived = 2, 4
	// A session with an upstream: its socket, and the file of a large message.
	// One with the capture server has no socket, but the server has three
	// folders and a file open for the message.
	perSession, perCapture = 2, 5
	// An operator, or a browser, may read the content of a message. A scrape reads
	// /proc.
	perOperator, perReader, perScraper = 2, 1, 2

	journalFile  = 64 << 20 // bytes; journal.Options.SegmentSize
	journalFiles = 256      // of a spool without a bound: 16 GiB
	// leastPlaces are for everybody, before the rest is shared out.
	leastPlaces = 4
	// leastJournal are enough for a spool that is nearly empty.
	leastJournal = 8
)

// shares are the descriptors of a process, shared out: what strangers can take
// leaves enough for spool, control and upstreams.
type shares struct {
	client int // of each client
	limit  int // RLIMIT_NOFILE; 0: there is none
	needed int // if nobody had to take less than the configuration says
	least  int // for one connection at a time at each listener and upstream, and what there is beside
	// Places for connections, at a time.
	listeners                              []int // of each, in the order of the configuration
	operators, readers, scrapers, browsers int
	batches                                int // requests by HTTP that have many files open
}

// share shares out limit descriptors. handed is how many sockets a service
// manager hands over under a name; each has the places of its listener.
func share(limit int, cfg *config.Config, handed map[string]int) *shares {
	s := &shares{client: perClient, limit: limit}
	if cfg.Submission.ArchiveDir != "" {
		s.client = perArchived
	}
	all := cfg.AllListeners()
	sockets := make([]int, len(all))
	own, wanted := ownFiles+3, 0
	for i, l := range all {
		sockets[i] = 1
		if l.Network == "systemd" {
			sockets[i] = max(1, handed[l.Target])
		}
		own += sockets[i]
		s.listeners = append(s.listeners, l.MaxConnections)
		wanted += sockets[i] * s.ofClients(l.MaxConnections)
	}
	if len(cfg.HTTP.Listeners()) > 0 {
		s.batches = cfg.HTTP.MaxJSON
	}
	sessions := 0
	for _, up := range cfg.Upstreams {
		if up.Provider == config.CaptureProvider {
			sessions += perCapture * up.MaxConnections
		} else {
			sessions += perSession * up.MaxConnections
		}
	}
	journal := journalFiles
	if cfg.Spool.MaxSize > 0 {
		journal = int(cfg.Spool.MaxSize/journalFile) + 16
	}
	s.places(control.Places, cfg)
	s.needed = own + journal + sessions + s.others() + wanted
	if limit <= 0 || s.needed <= limit {
		return s
	}
	s.batches = min(s.batches, max(1, limit/1024))
	// Everybody takes less. Journal and sessions are seldom as many as they may
	// be, so that a quarter of all is kept for each at most.
	s.places(min(control.Places, max(leastPlaces, limit/32)), cfg)
	s.least = own + s.others() + leastJournal + perSession*len(cfg.Upstreams)
	for i := range s.listeners {
		s.least += sockets[i] * s.ofClients(1)
	}
	s.shareOut(limit-own-min(journal, limit/4)-min(sessions, limit/4)-s.others(), sockets)
	return s
}

// shareOut gives each listener a few places, if they are wanted and there, and
// the rest of so many descriptors by what each wants.
func (s *shares) shareOut(descriptors int, sockets []int) {
	all, few := 0, 0
	for i, n := range s.listeners {
		all += sockets[i]
		few += sockets[i] * s.ofClients(min(n, leastPlaces))
	}
	least := leastPlaces
	if few > descriptors {
		least = max(1, s.clientsIn(descriptors/max(1, all)))
	}
	left, wanted := descriptors, 0
	for i, n := range s.listeners {
		left -= sockets[i] * s.ofClients(min(n, least))
		wanted += sockets[i] * (s.ofClients(n) - s.ofClients(min(n, least)))
	}
	for i, n := range s.listeners {
		few := s.ofClients(min(n, least))
		more := max(0, left) * (s.ofClients(n) - few) / max(1, wanted)
		s.listeners[i] = min(n, max(1, s.clientsIn(few+more)))
	}
}

// places gives n to each of those who ask for the state.
func (s *shares) places(n int, cfg *config.Config) {
	s.operators, s.readers, s.scrapers, s.browsers = n, 0, 0, 0
	if cfg.Control.ReadSocket != "" {
		s.readers = n
	}
	if cfg.Control.Metrics != "" {
		s.scrapers = n
	}
	if cfg.Console.Listener.Address != "" {
		s.browsers = n
	}
}

// others is how many descriptors those take who are no clients of a listener.
func (s *shares) others() int {
	return perOperator*s.operators + perReader*s.readers + perScraper*s.scrapers + perOperator*s.browsers + api.MaxFiles*s.batches
}

// ofClients is how many descriptors the clients of a socket take in n places,
// with those who are on their way out (intake.Leavers).
func (s *shares) ofClients(n int) int { return s.client * (n + intake.Leavers(n)) }

// clientsIn is the number of places that so many descriptors are enough for.
func (s *shares) clientsIn(descriptors int) int {
	n := descriptors / s.client * 4 / 5
	for s.ofClients(n) > descriptors {
		n--
	}
	return max(0, n)
}

// lowered is cfg with no more connections at a listener than there is room for.
func (s *shares) lowered(cfg *config.Config) *config.Config {
	own := *cfg
	own.Listeners = slices.Clone(cfg.Listeners)
	for i, l := range own.AllListeners() {
		l.MaxConnections = s.listeners[i]
	}
	own.HTTP.MaxJSON = max(1, s.batches)
	return &own
}

// status is what an administrator sees of them.
func (s *shares) status(cfg *config.Config) *control.Descriptors {
	d := &control.Descriptors{Limit: s.limit, Needed: s.needed, Least: s.least}
	for i, l := range cfg.AllListeners() {
		if s.listeners[i] < l.MaxConnections {
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
