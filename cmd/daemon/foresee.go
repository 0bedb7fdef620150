package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/relay/archive"
	"postern/relay/peer"
	"postern/spool/disk"
	"postern/spool/journal"
	"postern/spool/statefile"
)

// resolverTimeout bounds the look for upstreams that lead back.
const resolverTimeout = 3 * time.Second

// foresight collects what a start would stumble over.
type foresight struct {
	cfg      *config.Config
	running  bool            // a daemon has the control socket of this configuration
	ports    map[string]bool // those of that daemon; nil: it may not be asked
	service  bool            // whoever starts the daemon may give it more than this process has
	problems []config.Problem
	warnings []config.Problem
}

// Foresee tells what a start with this configuration would find wrong with the
// folders, sockets and ports of this machine, as this process may use them.
// Nothing is made or opened; the names of upstreams are looked up. Sockets that
// the daemon itself has are no problem. service says that
// the daemon is started by something that may give it the right to ports below
// 1024.
func Foresee(ctx context.Context, cfg *config.Config, service bool) (problems, warnings []config.Problem) {
	f := &foresight{cfg: cfg, service: service}
	st, err := control.Dial(cfg.Control.Socket).Status(ctx)
	f.running = err == nil || errors.Is(err, fs.ErrPermission)
	if err == nil {
		f.ports = portsOf(st)
	}
	if err := cfg.CheckOwner(); err != nil {
		f.problems = append(f.problems, config.Problem{File: cfg.Path, Text: err.Error()})
	}
	if key, err := exchangeable(cfg); err != nil {
		f.problems = append(f.problems, config.Problem{File: cfg.FileOf(key), Key: key, Text: err.Error()})
	}
	if cfg.Spool.Shared() {
		err := foreseeDatabase(ctx, cfg)
		var passing *mended
		if errors.As(err, &passing) {
			f.warnings = append(f.warnings, config.Problem{File: cfg.FileOf("spool.url"), Key: "spool.url", Text: passing.Error(),
				Hint: "a start accepts mail on this machine until it can be, and nothing goes out before"})
			err = nil
		}
		f.add("spool.url", spoolFailed, err)
	} else {
		f.add("spool.dir", spoolFailed, journal.Foresee(journal.Options{Dir: cfg.Spool.Dir, Create: cfg.Path == ""}))
	}
	if free, err := journal.Room(cfg.Spool.Dir); err == nil && !cfg.Spool.Shared() && free < cfg.Spool.MinFree {
		f.warnings = append(f.warnings, config.Problem{File: cfg.FileOf("spool.min_free"), Key: "spool.min_free",
			Text: fmt.Sprintf("only %d MiB are free on the file system of the spool: new mail is answered 452", free>>20), Hint: "make room there, or set min_free lower"})
	}
	if cfg.NeedsCapture() {
		f.add("state_dir", captureFailed, disk.MayMake(cfg.CaptureDir()))
	} else if err := disk.MayMake(cfg.StateDir); err != nil {
		f.warnings = append(f.warnings, config.Problem{File: cfg.FileOf("state_dir"), Key: "state_dir",
			Text: "cannot be made or written: " + err.Error(), Hint: "what is learnt about upstreams, and tokens, are lost at a restart; create it for the user that runs postern"})
	}
	if dir := cfg.Submission.ArchiveDir; dir != "" {
		f.add("submission.archive_dir", archiveFailed, archive.New(dir).Foresee())
	}
	if !f.running {
		f.control()
		if pid, claimed := (&statefile.Folder{Dir: cfg.StateDir}).Claimant(); claimed {
			f.add("state_dir", stateFailed, inUse(cfg.StateDir, &disk.Held{Process: strconv.Itoa(pid)}))
		}
	}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		key := fmt.Sprintf("listener[%d]", i)
		f.listener(key+".address", key+".group", l)
	}
	if l := &cfg.HTTP.Socket; filepath.Dir(l.Target) != filepath.Dir(cfg.Control.Socket) { // of which all is said already
		f.listener("http.socket", "http.socket_group", l)
	}
	f.listener("http.address", "", &cfg.HTTP.Listener)
	f.listener("console.address", "console.group", &cfg.Console.Listener)
	f.port("control.metrics", metricsFailed, cfg.Control.Metrics)
	if w := cfg.DoubtfulHostname(); w != nil {
		f.warnings = append(f.warnings, *w)
	}
	f.descriptors(st)
	f.loops(ctx)
	return f.problems, f.warnings
}

// add records what a start would say at a step.
func (f *foresight) add(key string, at step, err error) {
	if err == nil {
		return
	}
	p := config.Problem{File: f.cfg.FileOf(key), Key: key, Text: err.Error()}
	var start *StartError
	if errors.As(startError(at, err), &start) {
		p.Text, p.Hint = start.Text, strings.TrimSuffix(start.Hint, ".")
	}
	f.problems = append(f.problems, p)
}

func (f *foresight) control() {
	c := &f.cfg.Control
	folder := filepath.Dir(c.Socket)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		f.missingRun("control.socket", folder)
		return
	}
	if info, err := os.Lstat(c.Socket); err == nil && info.Mode().Type() != fs.ModeSocket && info.Mode().Type() != fs.ModeIrregular {
		f.add("control.socket", controlFailed, peer.Obstructed(c.Socket, "another control.socket"))
		return
	}
	f.add("control.socket", controlFailed, disk.MayWrite(folder))
	f.group("control.group", c.Group)
	if c.ReadSocket != "" {
		f.add("control.read_socket", controlFailed, disk.MayWrite(filepath.Dir(c.ReadSocket)))
		f.group("control.read_group", c.ReadGroup)
	}
}

// missingRun tells of a folder that is not there. Those under /run are made by
// whoever starts a service (RuntimeDirectory=), and are gone while it is not.
func (f *foresight) missingRun(key, folder string) {
	p := config.Problem{File: f.cfg.FileOf(key), Key: key, Text: "its folder " + folder + " does not exist",
		Hint: "create it for the user that runs postern; RuntimeDirectory= of a systemd unit does"}
	if strings.HasPrefix(folder, "/run/") || strings.HasPrefix(folder, "/var/run/") {
		f.warnings = append(f.warnings, p)
		return
	}
	f.problems = append(f.problems, p)
}

// group: only root, and who is in a group, can give a socket to it.
func (f *foresight) group(key, name string) {
	if name == "" {
		return
	}
	if err := mayGive(name); err != nil {
		f.problems = append(f.problems, config.Problem{File: f.cfg.FileOf(key), Key: key, Text: err.Error(),
			Hint: "add the user that runs postern to the group (usermod -aG " + name + " " + disk.WhoRuns() + ", or SupplementaryGroups= of the unit)"})
	}
}

func (f *foresight) listener(key, group string, l *config.Listener) {
	switch l.Network {
	case "tcp":
		f.port(key, listenFailed, l.Target)
	case "unix":
		f.group(group, l.Group)
		folder := filepath.Dir(l.Target)
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			f.missingRun(key, folder)
			return
		}
		info, err := os.Lstat(l.Target)
		switch {
		case err == nil && info.Mode()&fs.ModeSocket == 0:
			f.add(key, listenFailed, peer.Obstructed(l.Target, "another address"))
		default:
			f.add(key, listenFailed, disk.MayWrite(folder))
		}
	}
}

// port asks for an address without listening, so that no client meets it.
func (f *foresight) port(key string, at step, target string) {
	if target == "" {
		return
	}
	err := mayBind(target)
	if errors.Is(err, syscall.EADDRINUSE) && f.running {
		if _, port, _ := net.SplitHostPort(target); f.ports == nil || f.ports[port] {
			return
		}
	}
	if err == nil {
		return
	}
	f.add(key, at, fmt.Errorf("listen %s: %w", target, err))
	if errors.Is(err, fs.ErrPermission) && f.service {
		// A unit may give the capability, which cannot be seen from here.
		last := len(f.problems) - 1
		f.warnings = append(f.warnings, f.problems[last])
		f.problems = f.problems[:last]
	}
}

// portsOf are the ports at which a daemon listens.
func portsOf(st *control.Status) map[string]bool {
	ports := map[string]bool{}
	add := func(address string) {
		if _, port, err := net.SplitHostPort(address); err == nil {
			ports[port] = true
		}
	}
	add(st.Metrics)
	add(st.Console)
	for i := range st.Listeners {
		add(st.Listeners[i].Address)
	}
	return ports
}

// descriptors looks at the limit of the daemon that runs, or of this process. A
// service manager gives its own.
func (f *foresight) descriptors(running *control.Status) {
	limit := descriptorLimit()
	switch {
	case running != nil && running.Descriptors != nil:
		limit = running.Descriptors.Limit
	case f.service:
		return
	}
	if w := share(limit, f.cfg, nil).scarce(f.cfg); w != nil {
		f.warnings = append(f.warnings, *w)
	}
}

// maxLoops bounds how many addresses of a host are compared with those of this
// machine. A delivery tries far fewer.
const maxLoops = 64

// loops asks for the hosts of upstreams that may be this machine under another
// name.
func (f *foresight) loops(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, resolverTimeout)
	defer cancel()
	for name, up := range f.cfg.Upstreams {
		if _, err := netip.ParseAddr(up.Host); err == nil || up.Host == "" {
			continue
		}
		found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", up.Host)
		for _, ip := range found[:min(len(found), maxLoops)] {
			if listener, ok := f.cfg.LeadsBack(up, ip.Unmap()); ok {
				f.problems = append(f.problems, config.Problem{File: f.cfg.FileOf("upstream." + name + ".host"), Key: "upstream." + name + ".host",
					Text: fmt.Sprintf("%s is %s, where the listener %s of this relay is: mail would go round in circles", up.Host, ip.Unmap(), listener),
					Hint: "name the server that delivers, or another port"})
				break
			}
		}
	}
}
