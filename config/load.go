package config

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
)

// Load reads the configuration of a file: defaults, the keys of the file over
// them, and then every check. The error is always a *Problems with everything
// that is wrong; what is only doubtful stands in Config.Warnings.
//
// Relative paths in the file start at the folder of the file.
func Load(path string) (*Config, error) {
	doc := readDocument(path)
	if doc.root == nil {
		return nil, &Problems{doc.problems}
	}
	cfg := doc.config()
	sortProblems(doc.problems)
	sortProblems(doc.warnings)
	if len(doc.problems) > 0 {
		return nil, &Problems{doc.problems}
	}
	cfg.Warnings = doc.warnings
	return cfg, nil
}

// Find loads what a --config option asks for: the file it names, or else the
// file at DefaultPath, or else, where there is none, the embedded default.
func Find(option string) (*Config, error) {
	if option != "" {
		return Load(option)
	}
	if _, err := os.Stat(DefaultPath()); errors.Is(err, fs.ErrNotExist) {
		return Embedded("")
	}
	return Load(DefaultPath())
}

// Place is what a command needs to know to reach a daemon or its spool.
type Place struct {
	Path     string // of the file; empty: the embedded default
	Socket   string // control socket
	SpoolDir string
	// ReadSocket is for those who may not use Socket; empty: none.
	ReadSocket string
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
			cfg, err := Embedded("")
			if err != nil {
				return Place{}, err
			}
			return Place{Socket: cfg.Control.Socket, SpoolDir: cfg.Spool.Dir}, nil
		}
	}
	doc := readDocument(path)
	if doc.root == nil {
		return Place{}, &Problems{doc.problems}
	}
	// Its mode, and variables that other keys lack, keep a daemon from
	// starting, not from being reached.
	doc.problems = slices.DeleteFunc(doc.problems, func(p Problem) bool {
		return p.Key != "spool.dir" && p.Key != "control.socket" && p.Key != "control.read_socket"
	})
	cfg := Default()
	doc.top().sub("spool").text("dir", &cfg.Spool.Dir)
	control := doc.top().sub("control")
	control.text("socket", &cfg.Control.Socket)
	control.text("read_socket", &cfg.Control.ReadSocket)
	if len(doc.problems) > 0 {
		return Place{}, &Problems{doc.problems}
	}
	return Place{Path: path, Socket: doc.path(cfg.Control.Socket), SpoolDir: doc.path(cfg.Spool.Dir), ReadSocket: doc.path(cfg.Control.ReadSocket)}, nil
}

// config reads every key of the document.
func (d *document) config() *Config {
	cfg := Default()
	cfg.Path = d.file
	top := d.top()
	if top.text("hostname", &cfg.Hostname) {
		if canonical, ok := hostName(cfg.Hostname); ok {
			cfg.Hostname = canonical
		} else {
			top.problem("hostname", strconv.QuoteToASCII(cfg.Hostname)+" is not a host name", `letters, digits, dots and hyphens, such as "app1.example.com", or an address in brackets`)
		}
	}
	top.text("state_dir", &cfg.StateDir)
	cfg.StateDir = d.path(cfg.StateDir)
	top.oneOf("confine", &cfg.Confine, "auto", "on", "off")
	top.list("confine_writable", &cfg.ConfineWritable)
	for i, dir := range cfg.ConfineWritable {
		cfg.ConfineWritable[i] = d.path(dir)
	}
	d.readSpool(top.sub("spool"), &cfg.Spool)
	d.readControl(top.sub("control"), &cfg.Control)
	d.readLog(top.sub("log"), &cfg.Log)
	d.readListeners(top, cfg)
	d.readUpstreams(top, cfg)
	d.readRoutes(top, cfg)
	d.readSenders(top, cfg)
	d.readRetry(top.sub("retry"), &cfg.Retry)
	top.finish()
	d.warnSharedAccounts(cfg)
	d.checkListenerSizes(cfg)
	d.checkFolders(cfg)
	d.checkSockets(cfg)
	d.warnSharedGroup(cfg)
	own, names := thisMachine()
	d.checkLoops(cfg, own, names)
	d.checkRoutes(cfg)
	d.checkSenders(cfg)
	return cfg
}

func (d *document) readLog(t *table, log *Log) {
	t.oneOf("level", &log.Level, "debug", "info", "warn", "error")
	t.oneOf("format", &log.Format, "auto", "json", "console")
	t.finish()
}

func (d *document) readSpool(t *table, s *Spool) {
	t.text("dir", &s.Dir)
	s.Dir = d.path(s.Dir)
	d.spool = s.Dir
	t.size("max_size", &s.MaxSize, 0)
	t.size("min_free", &s.MinFree, 0)
	t.integer("max_messages", &s.MaxMessages, 0, 1_000_000_000)
	t.finish()
}
