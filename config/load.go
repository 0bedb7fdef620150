package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Load reads the configuration of a file: defaults, the keys of the file over
// them, and then every check. The error is always a *Problems with everything
// that is wrong; what is only doubtful stands in Config.Warnings.
//
// Relative paths in the file start at the folder of the file.
func Load(path string) (*Config, error) {
	return (&document{file: path, source: &sourceMap{}, from: map[string]part{}}).load()
}

// load reads the file and makes a Config of it.
func (d *document) load() (*Config, error) {
	d.readAll()
	if d.root == nil {
		return nil, d.asError()
	}
	cfg := d.config()
	if len(d.problems.list) > 0 {
		return nil, d.asError()
	}
	cfg.Warnings = d.warnings.inOrder(d.file, "warnings")
	return cfg, nil
}

// asError is what is wrong with the document.
func (d *document) asError() *Problems {
	list := d.problems.inOrder(d.file, "problems")
	for i := range list {
		list[i].foreign = d.foreign[list[i].File]
	}
	return &Problems{List: list, Untold: d.problems.untold}
}

// Find loads what a --config option asks for: the file it names, or else the
// file at DefaultPath, or else, where there is none, the embedded default.
func Find(option string) (*Config, error) {
	if option != "" {
		return Load(option)
	}
	if _, err := os.Stat(DefaultPath()); errors.Is(err, fs.ErrNotExist) {
		return embedded("")
	}
	return Load(DefaultPath())
}

// defaultStateDir is where the embedded default keeps everything:
// ${XDG_STATE_HOME:-~/.local/state}/postern, and %LocalAppData%\postern on
// Windows.
func defaultStateDir() (string, error) {
	if runtime.GOOS == "windows" {
		if base := os.Getenv("LocalAppData"); base != "" {
			return filepath.Join(base, "postern"), nil
		}
	}
	// The XDG specification has relative paths ignored.
	if base := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "postern"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil || home == "" {
		return "", errors.New("this user has no home directory; set XDG_STATE_HOME, or write " + DefaultPath())
	}
	return filepath.Join(home, ".local", "state", "postern"), nil
}

// embedded is the configuration without a file: what comes in at
// 127.0.0.1:2525 goes to the capture server, and everything it keeps lies in
// stateDir ("spool", "capture", "control.sock"). An empty stateDir is
// defaultStateDir.
func embedded(stateDir string) (*Config, error) {
	if stateDir == "" {
		var err error
		if stateDir, err = defaultStateDir(); err != nil {
			return nil, &Problems{List: []Problem{{Text: "no place for the state of the embedded default: " + err.Error()}}}
		}
	}
	cfg := Default()
	cfg.StateDir = stateDir
	cfg.Spool.Dir = filepath.Join(stateDir, "spool")
	cfg.Control.Socket = filepath.Join(stateDir, "control.sock")
	cfg.Listeners = []Listener{defaultListener(defaultListen)}
	up := DefaultUpstream(captureName)
	up.Provider = CaptureProvider
	cfg.Upstreams[up.Name] = up
	cfg.Routes = []Route{{Name: "route 1", From: []string{"*"}, Upstream: []string{up.Name}}}
	cfg.settleHTTP()
	cfg.settlePickup(filepath.Join(stateDir, "pickup"))
	cfg.settleBooks()
	if problem := socketPathProblem(cfg.Control.Socket); problem != "" {
		return nil, &Problems{List: []Problem{{Key: "control.socket", Text: problem, Hint: "set XDG_STATE_HOME to a shorter path"}}}
	}
	return cfg, nil
}

// Place is what a command needs to know to reach a daemon or its spool.
type Place struct {
	Path     string // of the file; empty: the embedded default
	Socket   string // control socket
	SpoolDir string
	Shared   bool // a database keeps the queue; SpoolDir is state_dir
	// ReadSocket is for those who may not use Socket; empty: none.
	ReadSocket string
	// SubmitSocket is where users of this machine hand in mail by HTTP, if there
	// is such a socket; empty: there is none, or it is one of systemd, whose
	// path the file does not say.
	SubmitSocket string
	// Hostname is what the relay calls itself.
	Hostname string
	// MaxMessage is how many bytes a message may have at SubmitSocket.
	MaxMessage int64
	// SMTP is where programs of this machine hand in mail, "127.0.0.1:2525";
	// empty: no listener without TLS is at a loopback address.
	SMTP string
	// Pickup is the folder for messages while the daemon is away; empty: there
	// is none.
	Pickup string
	// StateDir is what the relay keeps beside the spool.
	StateDir string
	// Books are asked in this order. BookErr is what is wrong with their tables:
	// they cannot be asked then.
	Books   []Book
	BookErr error
}

// ofBooks reports whether a problem keeps books from being asked. Files of a
// directory that its user may not read don't: the relay may.
func ofBooks(key string) bool {
	_, name, nested := strings.Cut(strings.TrimPrefix(key, "book."), ".")
	private := nested && (strings.HasPrefix(name, passwordKey) || name == "keytab" || name == "ccache" || name == "ca_file" || name == "krb5_conf")
	return strings.HasPrefix(key, "send.") || strings.HasPrefix(key, "book.") && !private
}

// Locate finds the control socket and the spool that a --config option leads
// to, as Find does, but looks at nothing else of the file: whoever may talk
// to the daemon need not be able to read its secrets and keys, and can reach
// it while the file is being edited.
func Locate(option string) (Place, error) {
	path := option
	if path == "" {
		path = DefaultPath()
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			cfg, err := embedded("")
			if err != nil {
				return Place{}, err
			}
			return Place{Socket: cfg.Control.Socket, SpoolDir: cfg.Spool.Dir, SubmitSocket: cfg.HTTP.Socket.Target, MaxMessage: cfg.HTTP.Socket.MaxMessageSize, SMTP: defaultListen, Pickup: cfg.Pickup.Dir, Hostname: cfg.Hostname, Books: cfg.Books}, nil
		}
	}
	doc := readDocument(path)
	if doc.root == nil {
		return Place{}, doc.asError()
	}
	cfg := Default()
	doc.top().readOnly(cfg.keys(), "hostname", "state_dir", "book")
	doc.top().sub("send").readOnly(cfg.Send.keys(), "books")
	doc.top().sub("spool").readOnly(cfg.Spool.keys(), "dir", "max_size")
	doc.top().sub("control").readOnly(cfg.Control.keys(), "socket", "read_socket")
	doc.top().sub("pickup").readOnly(cfg.Pickup.keys(), "dir")
	doc.top().sub("http").readOnly(cfg.HTTP.keys(), "socket", "max_message_size")
	spool := doc.top().sub("spool")
	shared := spool.has("url") || spool.has("url_file") || spool.has("url_credential")
	if shared {
		cfg.Spool.Dir = cfg.StateDir
	}
	most := cfg.HTTP.Listener.MaxMessageSize
	if size := cfg.Spool.MaxSize; size > 0 && !doc.top().sub("http").has("max_message_size") {
		most = min(most, size)
	}
	// Its mode, limits, and variables that other keys lack keep a daemon from
	// starting, not from being reached.
	wrong, books := []Problem{}, []Problem{}
	for _, p := range doc.problems.list {
		if slices.Contains(located, p.Key) {
			wrong = append(wrong, p)
		} else if ofBooks(p.Key) {
			books = append(books, p)
		}
	}
	if !cfg.HTTP.set {
		cfg.HTTP.Socket.Target = submitSocket(cfg)
	} else if cfg.HTTP.Socket.Network != "unix" {
		cfg.HTTP.Socket.Target = ""
	}
	if len(wrong) > 0 {
		return Place{}, &Problems{List: wrong}
	}
	cfg.settlePickup("")
	cfg.settleBooks()
	var bookErr error
	if len(books) > 0 {
		bookErr = &Problems{List: books}
	}
	return Place{
		BookErr: bookErr,
		Pickup:  cfg.Pickup.Dir, Books: cfg.Books, StateDir: cfg.StateDir,
		Path: path, Socket: cfg.Control.Socket, SpoolDir: cfg.Spool.Dir, Shared: shared, ReadSocket: cfg.Control.ReadSocket,
		SubmitSocket: cfg.HTTP.Socket.Target, Hostname: cfg.Hostname, MaxMessage: most, SMTP: loopbackListener(doc.root["listener"]),
	}, nil
}

// loopbackListener is the address of the first listener of a file that a
// program of this machine can use as it is.
func loopbackListener(listeners any) string {
	list, ok := listeners.([]map[string]any)
	if !ok {
		return defaultListen
	}
	for _, l := range list {
		address, _ := l["address"].(string)
		mode, _ := l["tls"].(string)
		required, _ := l["require_auth"].(bool)
		host, port, err := splitHostPort(address)
		if err != nil || port == "0" || required || mode == string(ListenerTLSImplicit) {
			continue
		}
		switch {
		case isLoopback(host):
			return address
		case host == "" || host == "0.0.0.0" || host == "::":
			return net.JoinHostPort("127.0.0.1", port)
		}
	}
	return ""
}

// config reads every key of the document.
func (d *document) config() *Config {
	cfg := Default()
	cfg.Path, cfg.Files, cfg.folder, cfg.from = d.file, d.files(), d.folder, d.origins()
	d.cfg = cfg
	top := d.top()
	top.read(cfg.keys())
	if !top.has("listener") {
		cfg.Listeners = []Listener{defaultListener(defaultListen)}
	}
	if !top.has("upstream") {
		top.problem("", "there is no upstream", "add an [upstream.NAME] table that says where mail goes")
	}
	if !top.has("route") {
		top.problem("", "there is no route, so that no sender could be accepted", "add a [[route]] with from and upstream")
	}
	if text := socketPathProblem(submitSocket(cfg)); !cfg.HTTP.set && text != "" {
		cfg.HTTP.set = true
		top.sub("http").warn("socket", "there is none: beside control.socket it "+text, "set it to a shorter path, or to \"off\"")
	}
	d.settleSpool(cfg)
	cfg.settleHTTP()
	d.warnNoSubmitSocket(cfg)
	cfg.settlePickup("")
	cfg.settleBooks()
	d.warnSharedAccounts(cfg)
	d.checkListenerSizes(cfg)
	d.checkFolders(cfg)
	d.checkSockets(cfg)
	d.warnSharedGroup(cfg)
	own, names := thisMachine()
	d.checkLoops(cfg, own, names)
	d.addCapture(cfg)
	d.checkRoutes(cfg)
	d.checkArchive(cfg)
	d.checkRewrites(cfg)
	d.checkDKIM(cfg)
	d.checkBooks(cfg)
	d.checkSenders(cfg)
	return cfg
}

// maxSocketPath is what every system can bind: sun_path holds 104 bytes on
// BSD and macOS, 108 on Linux, with the NUL.
const maxSocketPath = 103

func socketPathProblem(path string) string {
	if len(path) > maxSocketPath {
		return fmt.Sprintf("is a path of %d bytes; a unix socket can have %d", len(path), maxSocketPath)
	}
	return ""
}

func (c *Control) check(t *table) {
	if text := socketPathProblem(c.Socket); text != "" {
		t.problem("socket", text, "choose a shorter one")
	}
	if t.got["mode"] {
		checkSocketMode(t)
		if c.Mode&0o007 != 0 {
			t.problem("mode", "lets everybody on this machine administer the queue", `at most "0770"; use group for those who may`)
		}
	}
	if t.got["group"] {
		checkGroup(t, "group", c.Group)
	}
	if t.got["read_socket"] {
		if text := socketPathProblem(c.ReadSocket); text != "" {
			t.problem("read_socket", text, "choose a shorter one")
		}
	}
	if t.got["read_group"] {
		checkGroup(t, "read_group", c.ReadGroup)
		if c.ReadSocket == "" {
			t.problem("read_group", "needs read_socket", `such as "/run/postern/read.sock"`)
		}
	}
	if t.got["metrics"] {
		checkMetrics(t, c.Metrics)
	}
}

// warnSharedGroup warns where those who hand in mail may administer the queue
// as well: they would read and remove everybody's.
func (d *document) warnSharedGroup(cfg *Config) {
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if l.Network != "unix" || l.Group == "" {
			continue
		}
		key := fmt.Sprintf("listener[%d].group", i)
		switch l.Group {
		case cfg.Control.Group:
			d.warn(key, strconv.Quote(l.Group)+" is control.group too: whoever may hand in mail may read and remove everybody's", "make a group for each: one that submits, one that operates")
		case cfg.Control.ReadGroup:
			d.warn(key, strconv.Quote(l.Group)+" is control.read_group too: whoever may hand in mail sees everybody's senders and recipients", "make a group for each")
		}
	}
}

// checkMetrics lets only a loopback address pass: the page tells senders'
// volumes and upstreams to whoever asks.
func checkMetrics(t *table, address string) {
	host, _, err := splitHostPort(address)
	switch {
	case err != nil:
		t.problem("metrics", strconv.Quote(address)+" "+err.Error(), `such as "127.0.0.1:9125"`)
	case !isLoopback(host):
		t.problem("metrics", strconv.Quote(address)+" can be reached from other machines",
			"only a loopback address is allowed; put a proxy with access control before it")
	}
}

func checkSocketMode(t *table) {
	if runtime.GOOS == "windows" {
		t.problem("mode", "is not known on Windows", "remove it")
	}
}

func checkGroup(t *table, key, name string) {
	if runtime.GOOS == "windows" {
		t.problem(key, "is not known on Windows", "remove it")
		return
	}
	if _, err := user.LookupGroup(name); err == nil {
		return
	}
	t.problem(key, "there is no group "+strconv.Quote(name)+" on this machine", "create it with groupadd, or remove the key")
}

// splitHostPort cuts "host:port" and checks the port; 0 lets the system
// choose one.
func splitHostPort(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("is not an address with a port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", "", fmt.Errorf("has no port from 0 to 65535")
	}
	return host, port, nil
}

// isLoopback reports whether only this machine can reach the address.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (r *Retry) check(t *table) {
	switch {
	case r.WarnAfter < r.Lifetime || r.WarnAfter == 0:
	case t.got["warn_after"]:
		t.problem("warn_after", formatDuration(r.WarnAfter)+" is not before the end of the lifetime of "+formatDuration(r.Lifetime),
			`choose less, or "0" for no warning`)
	default:
		// The default does not fit a short lifetime: the bounce tells enough.
		r.WarnAfter = 0
	}
	if r.Backoff[0] >= r.Lifetime {
		t.problem("backoff", "begins with "+formatDuration(r.Backoff[0])+", when the lifetime of "+formatDuration(r.Lifetime)+" is over",
			"nothing would be tried twice")
	}
}
