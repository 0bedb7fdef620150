// Package config faces the administrator: it turns a TOML file into a
// validated, immutable Config, or into the list of everything that is wrong
// with the file. It owns the words of the configuration (listener, upstream,
// route, retry) and the meaning of address patterns.
//
// It never opens a connection, never shows a secret, and knows nothing of
// the other packages. What it looks at beyond the file is what a start would
// stumble over: certificates, secret files, groups.
package config

import (
	"crypto/tls"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Config is a validated configuration. It is immutable: a reload makes
// another one.
type Config struct {
	Path       string   // file it came from; empty: the embedded default
	Files      []string // all files it came from, that at Path first; nil: the embedded default
	Hostname   string   // for EHLO, Received and Message-ID
	Spool      Spool
	Submission Submission
	Control    Control
	Log        Log
	History    History
	Listeners  []Listener
	HTTP       HTTP
	Console    Console
	Upstreams  map[string]*Upstream
	Routes     []Route
	Rewrites   []Rewrite
	DKIM       map[string]*DKIM
	Senders    []Sender
	Retry      Retry
	Pickup     Pickup
	Alerts     []Alert
	Storm      Storm
	Send       Send
	Books      []Book // in the order in which they are asked
	// StateDir is where the capture server keeps its Maildir (see CaptureDir)
	// and where durable knowledge about upstreams lives.
	StateDir string
	// Confine says whether the daemon gives up the right to write outside of
	// its own folders: "on", "off", or "auto", which is off where passwords
	// come from commands and ConfineWritable is empty.
	Confine Confine
	// ConfineWritable are further folders that commands may write to.
	ConfineWritable []string
	// Warnings are findings that do not stop a start: a route that can never
	// match, a password in a file that others can read.
	Warnings []Problem

	books  map[string]*Book  // as the file has them
	folder string            // of the further files; empty: there is none
	from   map[string]string // keys and tables that a further file has: its path
}

// Spool configures the durable store.
type Spool struct {
	Dir         string
	MaxSize     int64 // bytes on disk; 0: unlimited
	MinFree     int64 // bytes that must stay free on its file system
	MaxMessages int   // that it takes; 0: unlimited

	// URL is that of a PostgreSQL database that keeps the queue in place of the
	// folder; not set: none does. Dir is then state_dir, where this relay has
	// what is its own.
	URL   Secret
	Relay string // the name of this relay among those that share the database
	// TokenKey encrypts the OAuth tokens of upstreams in the database, where they
	// have no key of their own; not set: tokens are in state_dir of each relay.
	TokenKey Secret
	WhenAway string // what becomes of new mail while the database is away: AwayRefuse or AwayLocal
}

// What becomes of new mail while the database of the queue is away.
const (
	AwayRefuse = "refuse" // 451
	AwayLocal  = "local"  // it is accepted into a spool in state_dir
)

// folder is that of a spool of its own; empty: there is none.
func (s *Spool) folder() string {
	if s.Shared() {
		return ""
	}
	return s.Dir
}

// Shared tells whether a database keeps the queue.
func (s *Spool) Shared() bool { return s.URL.IsSet() }

// Control configures administration.
type Control struct {
	Socket string // path of the unix socket
	Mode   fs.FileMode
	Group  string // group that owns the socket; empty: unchanged
	// ReadSocket is the path of a second unix socket, which shows the state and
	// changes nothing; empty: none. ReadGroup owns it; empty: unchanged.
	ReadSocket, ReadGroup string

	Metrics string // loopback "127.0.0.1:9125"; empty: off
	// HealthMaxAge is the age of the oldest due message beyond which
	// /healthz reports unhealthy.
	HealthMaxAge time.Duration
}

// Log configures the log on standard error.
type Log struct {
	Level  LogLevel  // debug | info | warn | error
	Format LogFormat // auto | json | console
}

// Confine says whether the daemon confines itself.
type Confine string

// The values of confine.
const (
	ConfineAuto Confine = "auto"
	ConfineOn   Confine = "on"
	ConfineOff  Confine = "off"
)

// History says what is kept of messages that have left the queue.
type History struct {
	Keep    time.Duration // 0: nothing
	MaxSize int64         // bytes
}

// LogLevel is from what on something is logged.
type LogLevel string

// LogFormat is how the log is written.
type LogFormat string

// ListenerTLS says how a listener does TLS.
type ListenerTLS string

// The TLS modes of a listener.
const (
	ListenerTLSOff      ListenerTLS = "off"
	ListenerTLSStart    ListenerTLS = "starttls"
	ListenerTLSImplicit ListenerTLS = "implicit"
)

// TLSVersion is the oldest version of TLS that is used: "1.0" to "1.3". Empty:
// "1.2".
type TLSVersion string

// tlsVersions are those that crypto/tls knows.
var tlsVersions = []TLSVersion{"1.0", "1.1", "1.2", "1.3"}

// Number is what crypto/tls has for it.
func (v TLSVersion) Number() uint16 {
	switch v {
	case "1.0":
		return tls.VersionTLS10
	case "1.1":
		return tls.VersionTLS11
	case "1.3":
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// broken is true of a version that RFC 8996 forbids.
func (v TLSVersion) broken() bool { return v < "1.2" }

// Newlines says what to do with a bare CR or LF in content.
type Newlines string

// The values of newlines.
const (
	NewlinesRefuse    Newlines = "refuse"
	NewlinesNormalise Newlines = "normalise" // each becomes CRLF
)

// Syntax says how commands are read.
type Syntax string

// The values of syntax.
const (
	SyntaxLenient Syntax = "lenient" // takes what can mean one thing only
	SyntaxStrict  Syntax = "strict"  // what RFC 5321 allows
)

// Early says what to do with a client that doesn't wait where RFC 2920 makes
// it wait.
type Early string

// The values of early.
const (
	EarlyRefuse Early = "refuse" // ends the connection
	EarlyAllow  Early = "allow"  // reads on
)

// AfterDot says what to do with a delivery that was cut off between the final
// dot and its answer.
type AfterDot string

// The values of after_dot.
const (
	AfterDotRetry AfterDot = "retry"
	AfterDotHold  AfterDot = "hold"
)

// InternalListener is the name of the listener, as routes see it, of
// Postern's own notifications.
const InternalListener = "internal"

// Listener is where clients connect.
type Listener struct {
	Name           string      // for routes and logs; default: its address
	Address        string      // as configured
	Network        string      // "tcp", "unix" or "systemd"
	Target         string      // host:port, path, or name of the systemd socket
	Mode           fs.FileMode // of a unix socket
	Group          string
	TLS            ListenerTLS
	CertFile       string
	KeyFile        string
	Allow          []netip.Prefix    // peers; empty: loopback only, or everybody where users are set
	Proxies        []netip.Prefix    // peers that name their client by the PROXY protocol
	Users          map[string]string // name → hash or SCRAM verifier; never logged
	RequireAuth    bool
	MaxMessageSize int64 // bytes
	MaxRecipients  int
	MaxConnections int
	IdleTimeout    time.Duration // between commands
	DataTimeout    time.Duration // without progress inside a message
	DataMaxTime    time.Duration // for a whole message; 0: no limit
	DataMinRate    int64         // bytes a second over a whole message, after a minute; 0: none
	MaxPriority    int           // of MT-PRIORITY; what is above becomes it
	Rate           []Rate        // of each origin: a user who signed in, a user of this machine, or an address
	Newlines       Newlines
	Syntax         Syntax // empty: strict
	Early          Early  // empty: allow
	// RepairHeaders mends what a submission server may mend (RFC 6409 §8).
	RepairHeaders bool
	TLSMinVersion TLSVersion
}

// UpstreamTLS says how an upstream does TLS.
type UpstreamTLS string

// The TLS modes of an upstream.
const (
	TLSAuto          UpstreamTLS = "auto"          // "implicit" or "verify", whichever the host turns out to do
	TLSVerify        UpstreamTLS = "verify"        // STARTTLS, certificate checked
	TLSEncrypt       UpstreamTLS = "encrypt"       // STARTTLS, certificate not checked
	TLSOpportunistic UpstreamTLS = "opportunistic" // STARTTLS where offered
	TLSImplicit      UpstreamTLS = "implicit"      // TLS from the first byte, certificate checked
	TLSOff           UpstreamTLS = "off"
)

// Upstream is one outbound SMTP connection.
type Upstream struct {
	Provider        string // of providers.toml, or "capture"; empty: none
	Preset          Preset // what the provider has filled in
	Region          string // of the provider; empty: it has none
	Host            string
	Port            int // 0 with TLSAuto, and only then
	TLS             UpstreamTLS
	TLSMinVersion   TLSVersion
	TLSOldCiphers   bool // RSA key exchange, 3DES and CBC with SHA-256 are offered too
	CAFile          string
	ServerName      string   // SNI and the name that the certificate is checked for; default Host
	Fingerprints    []string // lower-case hex SHA-256 of certificates, one of which replaces the check of the chain
	Account                  // that signs in; its name is that of the upstream
	Sender          string   // address in envelope and From of all that goes there; empty: as it is
	MaxConnections  int
	MaxMessages     int           // over one connection; 0: as the upstream turns out to take
	MaxAge          time.Duration // of a connection; 0: 5 minutes
	EncodeLongLines bool          // parts with lines of more than 998 octets go encoded
	Without         []string      // extensions of SMTP that are not used, in capitals
	Rate            []Rate        // every one of them holds; empty: no limit
	MaxRecipients   int           // of one transaction; 0: as the upstream says
	MaxMessageSize  int64         // bytes; 0: as the upstream says
	ConnectTimeout  time.Duration
	CommandTimeout  time.Duration
	DataTimeout     time.Duration
	IdleClose       time.Duration
}

// Route maps messages to upstreams. Every condition that is set must hold;
// an empty one always holds. The first matching route wins.
type Route struct {
	Name     string   // default "route N", from 1
	From     []string // patterns: "a@b", "*@b", "*", "<>"
	To       []string
	User     []string
	UnixUser []string
	Listener []string
	Header   map[string][]string // field name → patterns for its value
	Upstream []string            // failover, in order; empty where Reject is set
	Reject   string              // the text of the 550 that ends this route; empty: it leads to Upstream
	Priority *int                // -9 to 9 (RFC 6710); nil: what the client asks for, else 0
	Archive  []string            // who gets a copy of its mail, beside those of Submission.Archive
	Expect   time.Duration       // an alert tells when it took no message for so long; 0: it is not watched
	Line     int                 // in the file
	File     string              // name of a further file that it stands in; empty: the one at Path

	Staging
}

// Sender says which addresses some clients may send as. Every one whose
// conditions a client meets has to allow the address. The conditions User,
// UnixUser and Listener are those of a Route; an empty one is not set.
type Sender struct {
	User     []string
	UnixUser []string
	Listener []string
	From     []string // patterns for the reverse-path; the null one only by "<>" or "*"
	// CheckFrom holds From:, Sender: and their Resent- forms to the same
	// patterns.
	CheckFrom bool
	Line      int    // in the file
	File      string // name of a further file that it stands in; empty: the one at Path
	Name      string // in postern explain; empty: "sender" and its number
}

// Retry configures what happens to deferred mail.
type Retry struct {
	Backoff   []time.Duration // the last one repeats
	Lifetime  time.Duration
	WarnAfter time.Duration // 0: never
	AfterDot  AfterDot
}

// Where things are when nobody says otherwise.
const (
	defaultListen = "127.0.0.1:2525"
	captureName   = "capture" // the provider, and the upstream of the embedded default
)

// CaptureProvider is the Provider of an upstream that is Postern's own
// capture server.
const CaptureProvider = captureName

// DefaultPath is the configuration file that is used when none is named.
func DefaultPath() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(programData(), "postern.toml")
	}
	return "/etc/postern/postern.toml"
}

// programData is the folder of a Windows machine where services keep things.
func programData() string {
	base := os.Getenv("ProgramData")
	if base == "" {
		base = `C:\ProgramData`
	}
	return filepath.Join(base, "postern")
}

// places are where a system keeps things.
type places struct{ spool, state, socket string }

func systemPlaces() places {
	switch runtime.GOOS {
	case "windows":
		base := programData()
		return places{filepath.Join(base, "spool"), filepath.Join(base, "state"), filepath.Join(base, "control.sock")}
	case "darwin":
		return places{"/var/spool/postern", "/var/lib/postern", "/var/run/postern/control.sock"}
	}
	return places{"/var/spool/postern", "/var/lib/postern", "/run/postern/control.sock"}
}

// Default is a configuration with every default and without listeners,
// upstreams and routes. It cannot be used as it is.
func Default() *Config {
	cfg := &Config{Hostname: MachineName(), Upstreams: map[string]*Upstream{}}
	setDefaults(cfg.keys())
	return cfg
}

// defaultListener is a listener with every default, at an address.
func defaultListener(address string) Listener {
	l := Listener{Name: address, Address: address, Network: "tcp", Target: address}
	setDefaults(l.keys())
	l.defaultLeniency(false, false)
	return l
}

// defaultLeniency makes l lenient where only programs of this machine can
// connect. Everybody else has to be let in by a key. What the file says stays.
func (l *Listener) defaultLeniency(syntax, repair bool) {
	host, _, err := splitHostPort(l.Address)
	local := l.Network == "unix" || l.Network == "tcp" && err == nil && isLoopback(host) && len(l.Proxies) == 0
	if !repair {
		l.RepairHeaders = local
	}
	switch {
	case syntax:
	case local:
		l.Syntax = SyntaxLenient
	default:
		l.Syntax = SyntaxStrict
	}
}

// DefaultUpstream is an upstream with every default and without a host; how
// its host is reached is found out.
// The time-outs are those of RFC 5321 §4.5.3.2.
func DefaultUpstream(name string) *Upstream {
	up := &Upstream{TLS: TLSAuto, Account: Account{Name: name, Auth: MechanismNone}}
	setDefaults(up.keys())
	return up
}

// HistoryDir is the folder of the history.
func (c *Config) HistoryDir() string { return filepath.Join(c.StateDir, "history") }

// StandinDir is the spool that stands in for a database that is away.
func (c *Config) StandinDir() string { return filepath.Join(c.StateDir, "standin") }

// CaptureDir is the Maildir of the capture server.
func (c *Config) CaptureDir() string { return filepath.Join(c.StateDir, "capture") }

// NeedsCapture reports whether any upstream is the capture server.
func (c *Config) NeedsCapture() bool {
	for _, up := range c.Upstreams {
		if up.Provider == CaptureProvider {
			return true
		}
	}
	return false
}
