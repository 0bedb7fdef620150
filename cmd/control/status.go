package control

import (
	"time"

	"postern/queue"
	"postern/queue/budget"
	"postern/queue/verdict"
	"postern/relay/oauth"
	"postern/spool"
)

// Status is the state of a running relay.
type Status struct {
	Version  string `json:"version"`
	PID      int    `json:"pid"`
	Hostname string `json:"hostname"`
	// Config is the path of the file; empty is the embedded default.
	Config string `json:"config"`
	// Settings tells the configuration in force apart from others.
	Settings string    `json:"settings,omitempty"`
	Started  time.Time `json:"started"`
	Loaded   time.Time `json:"loaded"` // when the configuration in force was read
	Healthy  bool      `json:"healthy"`
	Problems []string  `json:"problems,omitempty"` // why it is not healthy
	Degraded []string  `json:"degraded,omitempty"` // what fails and is made up for, or concerns some senders only

	Descriptors *Descriptors `json:"descriptors,omitempty"`

	Listeners []Listener `json:"listeners"`
	Metrics   string     `json:"metrics,omitempty"` // the address in force
	Console   string     `json:"console,omitempty"` // the address in force
	Spool     Spool      `json:"spool"`
	Queue     Queue      `json:"queue"`
	Lanes     []Lane     `json:"upstreams"`
	Expected  []Expected `json:"expected,omitempty"` // routes with an expect
	Storms    []Storm    `json:"storms,omitempty"`
}

// Storm is what is known of messages that were put on hold because too many that
// are alike came.
type Storm struct {
	ID         string     `json:"id"`
	From       string     `json:"from"`
	Subject    string     `json:"subject"`
	To         string     `json:"to"`         // the first recipient
	Recipients int        `json:"recipients"` // of each message
	Began      time.Time  `json:"began"`
	Latest     time.Time  `json:"latest"`
	Ended      *time.Time `json:"ended,omitempty"` // nil: it goes on
	Held       int        `json:"held"`            // messages that were put on hold
	Waiting    int        `json:"waiting"`         // of them that still are, as far as was counted
}

// Expected is a route that is to take mail now and then.
type Expected struct {
	Route string `json:"route"`
	// Within is the expect of the route, in seconds, and Quiet is for how long the
	// running relay took nothing by it.
	Within float64    `json:"within_seconds"`
	Quiet  float64    `json:"quiet_seconds"`
	Last   *time.Time `json:"last,omitempty"` // message; nil: none was seen
	Silent bool       `json:"silent,omitempty"`
}

// Listener is one listener of a running relay.
type Listener struct {
	Name        string `json:"name"`
	Address     string `json:"address"` // where it listens
	TLS         string `json:"tls"`
	Connections int    `json:"connections"`
}

// Spool is the state of the durable store.
type Spool struct {
	Dir string `json:"dir"`
	// Shared: a database keeps the queue, and relays share it.
	Shared bool `json:"shared,omitempty"`
	// Relays are those that share the queue, where a database keeps it; none
	// where that does not answer.
	Relays []Peer `json:"relays,omitempty"`
	// Standin is the local spool that stands in for a database that is away; nil:
	// there is none.
	Standin *Standin `json:"standin,omitempty"`
	spool.Usage
}

// Standin is a local spool that stands in for the database of a queue.
type Standin struct {
	Messages  int  `json:"messages"`  // that wait in it to be moved into the database
	Accepting bool `json:"accepting"` // the database is away, and new mail goes there
}

// Peer is one of the relays that share a queue.
type Peer struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Lives   bool      `json:"lives"` // it was heard of within the last seconds
	Self    bool      `json:"self"`  // it is the one that answers
	Lanes   []Charge  `json:"upstreams"`
}

// Charge is an upstream that a relay delivers by, and no other one.
type Charge struct {
	Upstream string    `json:"upstream"`
	Since    time.Time `json:"since"`
}

// Queue counts what is owed. A delivery is one message on its way to one list
// of upstreams. Due are those whose time comes within the same
// spool.TallyStep, so they can be some when OldestDue, which is exact, is nil.
type Queue struct {
	Deliveries int        `json:"deliveries"`
	Due        int        `json:"due"`
	Deferred   int        `json:"deferred"`
	Scheduled  int        `json:"scheduled"` // not to go out yet
	Held       int        `json:"held"`
	Kept       int        `json:"kept"` // of those held: failed, and from <> or of copies
	Active     int        `json:"active"`
	OldestDue  *time.Time `json:"oldest_due,omitempty"`
}

// Lane is the way to one upstream.
type Lane struct {
	Upstream       string          `json:"upstream"`
	Address        string          `json:"address,omitempty"` // host:port
	Provider       string          `json:"provider,omitempty"`
	TLS            string          `json:"tls,omitempty"`
	Auth           string          `json:"auth,omitempty"`
	Username       string          `json:"username,omitempty"`
	State          queue.State     `json:"state"`
	Settings       string          `json:"settings,omitempty"` // tells its configuration apart from others
	Reason         string          `json:"reason,omitempty"`   // why it is not up
	Advice         *verdict.Advice `json:"advice,omitempty"`   // about the reason
	Since          *time.Time      `json:"since,omitempty"`
	NextProbe      *time.Time      `json:"next_probe,omitempty"`
	Sessions       int             `json:"sessions"`
	MaxConnections int             `json:"max_connections,omitempty"`
	MaxRecipients  int             `json:"max_recipients,omitempty"`         // of a transaction
	MaxMessageSize int64           `json:"max_message_size_bytes,omitempty"` // 0: as the upstream says
	Queued         int             `json:"queued"`                           // deliveries that are to go here next
	OldestDue      *time.Time      `json:"oldest_due,omitempty"`
	// RefusedSenders are those whose mail it refuses at present.
	RefusedSenders []string  `json:"refused_senders,omitempty"`
	Refusals       []Refusal `json:"refusals,omitempty"` // the same, in detail
	// DownSince is since when the upstream fails; nil: it does not.
	DownSince *time.Time `json:"down_since,omitempty"`
	// PausedBy is the operator who paused it, Since is when.
	PausedBy string `json:"paused_by,omitempty"`
	// Holder is the other relay that delivers what goes here; empty: this one.
	Holder string `json:"holder,omitempty"`
	// Rates tells what is left of each rate, WaitsSince since when due mail
	// waits for them; nil: none does.
	Rates      []budget.Left `json:"rates,omitempty"`
	WaitsSince *time.Time    `json:"rate_waits_since,omitempty"`
	// Pace is how many messages a minute may go while it is slowed.
	Pace float64 `json:"messages_per_minute,omitempty"`
	// Memory is set where TLS is "opportunistic" or "auto".
	Memory *TLSMemory `json:"tls_memory,omitempty"`
	// CertificateEnds is when the certificate ends that the upstream has shown in
	// its last session; nil: there was none by TLS since the start.
	CertificateEnds *time.Time `json:"certificate_ends,omitempty"`
	// Token is set where the upstream is signed in to by OAuth 2.0.
	Token *oauth.Status `json:"token,omitempty"`
}

// Refusal is a sender whose mail an upstream refuses at present.
type Refusal struct {
	Sender  string    `json:"sender"` // without angle brackets; empty: <>
	Since   time.Time `json:"since"`
	Waiting int       `json:"waiting"` // deliveries that wait for it, counted up to 1000
	Reason  string    `json:"reason"`
}

// TLSMemory is what is remembered about the TLS of an upstream: by
// "opportunistic" what it does not fall back behind, by "auto" the way that
// worked.
type TLSMemory struct {
	Offered  *time.Time `json:"offered,omitempty"` // STARTTLS, for the first time
	Valid    *time.Time `json:"valid,omitempty"`   // a valid certificate, for the first time
	Way      string     `json:"way,omitempty"`     // host:port
	Implicit bool       `json:"implicit,omitempty"`
	Found    *time.Time `json:"found,omitempty"`   // when the way was looked for
	Problem  string     `json:"problem,omitempty"` // why nobody can tell what is remembered
}
