package config

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

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

// DefaultListener is a listener with every default, at an address.
func DefaultListener(address string) Listener {
	l := Listener{Name: address, Address: address, Network: "tcp", Target: address}
	setDefaults(l.keys())
	l.defaultLeniency(false, false)
	return l
}

// defaultLeniency makes l lenient where only programs of this machine can
// connect. Everybody else has to be let in by a key. What the file says stays.
func (l *Listener) defaultLeniency(syntax, repair bool) {
	host, _, err := splitHostPort(l.Address)
	local := l.Network == "unix" || l.Network == "tcp" && err == nil && isLoopback(host)
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
	up := &Upstream{Name: name, TLS: TLSAuto, Account: Account{Name: name, Auth: MechanismNone}}
	setDefaults(up.keys())
	return up
}

// DefaultStateDir is where the embedded default keeps everything:
// ${XDG_STATE_HOME:-~/.local/state}/postern, and %LocalAppData%\postern on
// Windows.
func DefaultStateDir() (string, error) {
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

// Embedded is the configuration without a file: what comes in at
// 127.0.0.1:2525 goes to the capture server, and everything it keeps lies in
// stateDir ("spool", "capture", "control.sock"). An empty stateDir is
// DefaultStateDir.
func Embedded(stateDir string) (*Config, error) {
	if stateDir == "" {
		var err error
		if stateDir, err = DefaultStateDir(); err != nil {
			return nil, &Problems{[]Problem{{Text: "no place for the state of the embedded default: " + err.Error()}}}
		}
	}
	cfg := Default()
	cfg.StateDir = stateDir
	cfg.Spool.Dir = filepath.Join(stateDir, "spool")
	cfg.Control.Socket = filepath.Join(stateDir, "control.sock")
	cfg.Listeners = []Listener{DefaultListener(defaultListen)}
	up := DefaultUpstream(captureName)
	up.Provider = CaptureProvider
	cfg.Upstreams[up.Name] = up
	cfg.Routes = []Route{{Name: "route 1", From: []string{"*"}, Upstream: []string{up.Name}}}
	if problem := socketPathProblem(cfg.Control.Socket); problem != "" {
		return nil, &Problems{[]Problem{{Key: "control.socket", Text: problem, Hint: "set XDG_STATE_HOME to a shorter path"}}}
	}
	return cfg, nil
}

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
