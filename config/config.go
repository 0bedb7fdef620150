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
	"io/fs"
	"net/netip"
	"time"
)

// Config is a validated configuration. It is immutable: a reload makes
// another one.
type Config struct {
	Path      string // file it came from; empty: the embedded default
	Hostname  string // for EHLO, Received and Message-ID
	Spool     Spool
	Control   Control
	Log       Log
	Listeners []Listener
	Upstreams map[string]*Upstream
	Routes    []Route
	Senders   []Sender
	Retry     Retry
	// StateDir is where the capture server keeps its Maildir (see CaptureDir)
	// and where durable knowledge about upstreams lives.
	StateDir string
	// Confine says whether the daemon gives up the right to write outside of
	// its own folders: "on", "off", or "auto", which is off where passwords
	// come from commands and ConfineWritable is empty.
	Confine string
	// ConfineWritable are further folders that commands may write to.
	ConfineWritable []string
	// Warnings are findings that do not stop a start: a route that can never
	// match, a password in a file that others can read.
	Warnings []Problem
}

// Spool configures the durable store.
type Spool struct {
	Dir         string
	MaxSize     int64 // bytes on disk; 0: unlimited
	MinFree     int64 // bytes that must stay free on its file system
	MaxMessages int   // that it takes; 0: unlimited
}

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
	Level  string // debug | info | warn | error
	Format string // auto | json | console
}

// ListenerTLS says how a listener does TLS.
type ListenerTLS string

// The TLS modes of a listener.
const (
	ListenerTLSOff      ListenerTLS = "off"
	ListenerTLSStart    ListenerTLS = "starttls"
	ListenerTLSImplicit ListenerTLS = "implicit"
)

// InternalListener is the name of the listener, as routes see it, of
// Postern's own notifications.
const InternalListener = "internal"

// Listener is one door.
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
	// Newlines says what to do with a bare CR or LF in content: "refuse" or
	// "normalise" (each becomes CRLF).
	Newlines string
	// Syntax says how commands are read: "lenient" takes what can mean one
	// thing only, "strict" what RFC 5321 allows. Empty: strict.
	Syntax string
	// Early says what to do with a client that doesn't wait where RFC 2920
	// makes it wait: "refuse" ends the connection, "allow" reads on. Empty:
	// allow.
	Early string
	// RepairHeaders mends what a submission server may mend (RFC 6409 §8).
	RepairHeaders bool
	TLSMinVersion string // "1.0" to "1.3"; empty: "1.2"
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
	Name           string
	Provider       string // of providers.toml, or "capture"; empty: none
	Preset         Preset // what the provider has filled in
	Region         string // of the provider; empty: it has none
	Host           string
	Port           int // 0 with TLSAuto, and only then
	TLS            UpstreamTLS
	TLSMinVersion  string // "1.0" to "1.3"; empty: "1.2"
	TLSOldCiphers  bool   // RSA key exchange, 3DES and CBC with SHA-256 are offered too
	CAFile         string
	ServerName     string   // SNI and the name that the certificate is checked for; default Host
	Fingerprints   []string // lower-case hex SHA-256 of certificates, one of which replaces the check of the chain
	CertFile       string   // client certificate
	KeyFile        string
	Auth           string // auto | plain | login | cram-md5 | scram-sha-256 | xoauth2 | oauthbearer | ntlm | gssapi | gss-spnego | integrated | external | none
	Username       string
	Password       Secret
	OAuth          *OAuth   // where tokens come from; nil: there are none
	Domain         string   // of Windows, for ntlm
	Kerberos       Kerberos // of gssapi, gss-spnego, integrated and auto
	MaxConnections int
	MaxMessages    int           // over one connection; 0: as the upstream turns out to take
	MaxAge         time.Duration // of a connection; 0: 5 minutes
	Without        []string      // extensions of SMTP that are not used, in capitals
	Rate           []Rate        // every one of them holds; empty: no limit
	MaxRecipients  int           // of one transaction; 0: as the upstream says
	MaxMessageSize int64         // bytes; 0: as the upstream says
	ConnectTimeout time.Duration
	CommandTimeout time.Duration
	DataTimeout    time.Duration
	IdleClose      time.Duration
}

// Kerberos says where an upstream's tickets come from; zero: by password.
type Kerberos struct {
	Realm  string // of the user; empty: of the username, or krb5.conf's default
	Keytab string // file with keys
	CCache string // file with tickets, which somebody else renews
	Conf   string // krb5.conf; empty: the system's, where there is one
	SPN    string // the upstream's principal; empty: smtp/HOST
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
	Line     int                 // in the file
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
	Line      int // in the file
}

// Retry configures what happens to deferred mail.
type Retry struct {
	Backoff   []time.Duration // the last one repeats
	Lifetime  time.Duration
	WarnAfter time.Duration // 0: never
	// AfterDot says what to do with a delivery that was cut off between the
	// final dot and its answer: "retry" or "hold".
	AfterDot string
}
