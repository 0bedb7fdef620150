package doctor

// ID names a kind of finding. It stays the same from version to version.
type ID string

// The findings about the relay.
const (
	ConfigFile      ID = "config.file"
	ConfigWarning   ID = "config.warning"
	ConfigSecret    ID = "config.secret"
	DaemonRunning   ID = "daemon.running"
	DaemonVersion   ID = "daemon.version"
	DaemonSettings  ID = "daemon.settings"
	DaemonHealth    ID = "daemon.health"
	DaemonUser      ID = "daemon.user"
	DaemonFiles     ID = "daemon.descriptors"
	SpoolFolder     ID = "spool.folder"
	SpoolLock       ID = "spool.lock"
	SpoolFileSystem ID = "spool.filesystem"
	SpoolSync       ID = "spool.sync"
	SpoolSpace      ID = "spool.space"
	SpoolInodes     ID = "spool.inodes"
	SpoolAside      ID = "spool.aside"
	SpoolDatabase   ID = "spool.database"
	SpoolWorth      ID = "spool.durable"
	SpoolVacuum     ID = "spool.vacuum"
	SpoolQueue      ID = "spool.queue"
	SpoolDoubt      ID = "spool.doubt"
	PickupFolder    ID = "pickup.folder"
	PickupWaiting   ID = "pickup.waiting"
	PickupBad       ID = "pickup.bad"
	StateFolder     ID = "state.folder"
	StateLock       ID = "state.lock"
	FileSecret      ID = "file.secret"
	FileKey         ID = "file.key"
	ControlSocket   ID = "control.socket"
	ListenerAddress ID = "listener.address"
	ListenerCert    ID = "listener.certificate"
	ClockSync       ID = "clock.sync"
	DNSResolver     ID = "dns.resolver"
)

// The findings about an upstream.
const (
	UpstreamSession   ID = "upstream.session"
	UpstreamLane      ID = "upstream.lane"
	UpstreamSettings  ID = "upstream.settings"
	UpstreamSecret    ID = "upstream.secret"
	UpstreamToken     ID = "upstream.token"
	UpstreamOAuth     ID = "upstream.clientsecret"
	UpstreamWay       ID = "upstream.way"
	UpstreamDNS       ID = "upstream.dns"
	UpstreamAddress   ID = "upstream.address"
	UpstreamConnect   ID = "upstream.connect"
	UpstreamBanner    ID = "upstream.banner"
	UpstreamEHLO      ID = "upstream.ehlo"
	UpstreamTLS       ID = "upstream.tls"
	UpstreamCert      ID = "upstream.certificate"
	UpstreamName      ID = "upstream.name"
	UpstreamPin       ID = "upstream.pin"
	UpstreamExtension ID = "upstream.extensions"
	UpstreamSize      ID = "upstream.size"
	UpstreamMechanism ID = "upstream.mechanism"
	UpstreamSignIn    ID = "upstream.signin"
	UpstreamSender    ID = "upstream.sender"
	UpstreamClock     ID = "upstream.clock"
)

// Exit codes of sysexits.h.
const (
	unavailable = 69 // EX_UNAVAILABLE
	cantCreate  = 73 // EX_CANTCREAT
	tempFail    = 75 // EX_TEMPFAIL
	noPerm      = 77 // EX_NOPERM
	badConfig   = 78 // EX_CONFIG
)

// exits has every finding, with the exit code of its failure.
var exits = map[ID]int{
	ConfigFile: badConfig, ConfigWarning: badConfig, ConfigSecret: badConfig,
	DaemonRunning: unavailable, DaemonVersion: unavailable, DaemonSettings: badConfig,
	DaemonHealth: unavailable, DaemonUser: noPerm, DaemonFiles: unavailable,
	SpoolFolder: cantCreate, SpoolLock: tempFail, SpoolFileSystem: cantCreate, SpoolSync: cantCreate,
	SpoolSpace: tempFail, SpoolInodes: tempFail, SpoolDatabase: unavailable, SpoolWorth: unavailable, SpoolVacuum: unavailable, SpoolAside: unavailable, SpoolQueue: unavailable, SpoolDoubt: unavailable,
	PickupFolder: cantCreate, PickupWaiting: unavailable, PickupBad: unavailable,
	StateFolder: cantCreate, StateLock: tempFail, FileSecret: noPerm, FileKey: noPerm, ControlSocket: noPerm,
	ListenerAddress: unavailable, ListenerCert: badConfig, ClockSync: unavailable, DNSResolver: unavailable,

	UpstreamSession: unavailable, UpstreamLane: unavailable, UpstreamSettings: badConfig,
	UpstreamSecret: noPerm, UpstreamToken: noPerm, UpstreamOAuth: noPerm,
	UpstreamWay: unavailable, UpstreamDNS: unavailable, UpstreamAddress: unavailable, UpstreamConnect: unavailable,
	UpstreamBanner: unavailable, UpstreamEHLO: unavailable,
	UpstreamTLS: unavailable, UpstreamCert: unavailable, UpstreamName: unavailable, UpstreamPin: unavailable,
	UpstreamExtension: unavailable, UpstreamSize: unavailable,
	UpstreamMechanism: noPerm, UpstreamSignIn: noPerm, UpstreamSender: noPerm, UpstreamClock: unavailable,
}
