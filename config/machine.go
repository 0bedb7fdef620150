package config

import (
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postern/config/wire"
)

// noName stands where this machine has no name that can be said in EHLO.
const noName = "localhost"

// MachineName is the name of this machine where it can stand in EHLO, and
// "localhost" otherwise: containers are called web_1, box.(none) or nothing.
func MachineName() string {
	name, err := os.Hostname()
	if err != nil {
		return noName
	}
	return nameFrom(name)
}

func nameFrom(machine string) string {
	if canonical, ok := wire.CanonicalHost(machine); ok {
		return canonical
	}
	return noName
}

// readHostname reads a name for EHLO.
func readHostname(f field, v any) (string, bool) {
	name, ok := readText(f, v)
	if !ok {
		return "", false
	}
	canonical, ok := wire.CanonicalHost(name)
	if !ok {
		f.problem(strconv.QuoteToASCII(name)+" is not a host name", `letters, digits, dots and hyphens, such as "app1.example.com", or an address in brackets`)
	}
	return canonical, ok
}

// DoubtfulHostname warns of a name that upstreams may refuse in EHLO: one
// without a dot, or one that names no machine in particular. Nil: it is good,
// or all upstreams are on this machine and do not care.
func (c *Config) DoubtfulHostname() *Problem {
	text := doubtOf(c.Hostname)
	if text == "" || !c.leavesMachine() {
		return nil
	}
	if machine, err := os.Hostname(); c.Hostname == noName && err == nil && nameFrom(machine) == noName {
		text += ": the machine is called " + strconv.QuoteToASCII(machine) + ", which EHLO cannot carry"
	}
	return &Problem{File: c.Path, Key: "hostname", Text: text,
		Hint: `upstreams such as Google's relay refuse it: set hostname to a full name of this machine, such as "app1.example.com"`}
}

// doubtOf is what is wrong with a canonical name; empty: nothing.
func doubtOf(name string) string {
	parent := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case name == "", strings.HasPrefix(name, "["):
		return ""
	case parent == noName, parent == "localdomain":
		return "EHLO and Message-ID say " + strconv.Quote(name) + ", which is no machine in particular"
	case !strings.Contains(name, "."):
		return "EHLO and Message-ID say " + strconv.Quote(name) + ", which has no domain"
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "EHLO and Message-ID say " + strconv.Quote(name) + ", which is an address without brackets"
	}
	return ""
}

// leavesMachine tells whether any upstream is another machine.
func (c *Config) leavesMachine() bool {
	for _, up := range c.Upstreams {
		if up.Provider != CaptureProvider && !isLoopback(up.Host) {
			return true
		}
	}
	return false
}

// socketAddress is what a listener binds, whatever its spelling.
type socketAddress struct {
	path string     // of a unix socket, or "systemd:NAME"; empty: TCP
	ip   netip.Addr // without zone; unset: all addresses, IPv4 and IPv6
	port string
}

// parseSocket reads "host:port" or a path; ok is false where it is no address,
// and for port 0, which the system chooses.
func parseSocket(network, target string) (a socketAddress, ok bool) {
	if network == "systemd" {
		return socketAddress{path: "systemd:" + target}, target != ""
	}
	if network == "unix" {
		folder, err := filepath.EvalSymlinks(filepath.Dir(target))
		if err != nil {
			folder = filepath.Dir(target)
		}
		return socketAddress{path: filepath.Join(folder, filepath.Base(target))}, target != ""
	}
	host, port, err := splitHostPort(target)
	if network != "tcp" || err != nil || port == "0" {
		return a, false
	}
	a.port = port
	switch {
	case host == "":
	case strings.EqualFold(host, "localhost"):
		a.ip = netip.AddrFrom4([4]byte{127, 0, 0, 1}) // as Go's net.Listen prefers it
	default:
		if a.ip, err = netip.ParseAddr(host); err != nil {
			return a, false
		}
		a.ip = a.ip.Unmap().WithZone("")
	}
	return a, true
}

// takes reports whether a packet to ip arrives at a socket bound to a.
func (a socketAddress) takes(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return !a.ip.IsValid() || a.ip == ip || a.ip.IsUnspecified() && a.ip.Is4() == ip.Is4()
}

// overlaps reports whether both cannot be bound at once.
func (a socketAddress) overlaps(b socketAddress) bool {
	if a.path != "" || b.path != "" {
		return a.path == b.path
	}
	return a.port == b.port && (!b.ip.IsValid() || a.takes(b.ip) || b.takes(a.ip))
}

// checkSockets finds what cannot listen side by side: listeners of SMTP, of
// HTTP and of the console, the address of metrics, the control sockets.
func (d *document) checkSockets(cfg *Config) {
	type socket struct {
		socketAddress
		key string
	}
	seen := map[string][]socket{} // by port or path
	add := func(network, target, key string) {
		a, ok := parseSocket(network, target)
		if !ok {
			return
		}
		for _, other := range seen[a.path+a.port] {
			if a.overlaps(other.socketAddress) {
				d.problem(key, strconv.Quote(target)+" is the address of "+strings.TrimSuffix(other.key, ".address")+" too", "remove one of them")
				return
			}
		}
		seen[a.path+a.port] = append(seen[a.path+a.port], socket{a, key})
	}
	for i, l := range cfg.Listeners {
		add(l.Network, l.Target, joinIndex("listener", i)+".address")
	}
	add("tcp", cfg.Control.Metrics, "control.metrics")
	if l := &cfg.Console.Listener; l.Address != "" {
		add(l.Network, l.Target, "console.address")
	}
	if l := &cfg.HTTP.Listener; l.Address != "" {
		add(l.Network, l.Target, "http.address")
	}
	add("unix", cfg.Control.Socket, "control.socket")
	if cfg.Control.ReadSocket != "" {
		add("unix", cfg.Control.ReadSocket, "control.read_socket")
	}
	if l := &cfg.HTTP.Socket; l.Address != "" {
		add(l.Network, l.Target, "http.socket")
	}
}

// checkFolders finds spool and state in each other's way. A spool beside the
// folders in state_dir is in nobody's; in one of them its lock would be theirs,
// or programs that read the Maildir would move its files.
func (d *document) checkFolders(cfg *Config) {
	if cfg.Spool.Shared() {
		return
	}
	spool, state := resolved(cfg.Spool.Dir), resolved(cfg.StateDir)
	for _, name := range [...]string{"capture", "oauth", "tls", "budget", "pause", "carddav", "standin"} {
		if within(spool, filepath.Join(state, name)) {
			d.problem("spool.dir", strconv.Quote(cfg.Spool.Dir)+" is in the folder "+strconv.Quote(name)+" of state_dir, which has files and locks of its own",
				"give the spool a folder of its own")
		}
	}
	if within(state, spool) {
		d.warn("state_dir", strconv.Quote(cfg.StateDir)+" is in spool.dir: whoever moves or clears the spool takes tokens, pauses and captured mail with it, and if they are there first the spool is refused",
			"give it a folder of its own, or the spool one within state_dir")
	}
}

// within tells whether path is folder, or in it.
func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}

// resolved is path without links, as far as it is there.
func resolved(path string) string {
	path = filepath.Clean(path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	above := filepath.Dir(path)
	if above == path {
		return path
	}
	return filepath.Join(resolved(above), filepath.Base(path))
}

// checkLoops finds upstreams that lead back to a listener of ours: each
// message would come in again for as long as it lives.
func (d *document) checkLoops(cfg *Config, own []netip.Addr, names []string) {
	at := cfg.ownPorts()
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		up := cfg.Upstreams[name]
		for _, ip := range ownAddresses(up.Host, own, names) {
			if i := at.listener(ip, up.ports()); i >= 0 {
				d.problem(joinKey("upstream", name)+".host", strconv.Quote(up.Host)+" with this port is "+joinIndex("listener", i)+" of this relay: mail would go round in circles",
					"name the server that delivers, or another port")
				break
			}
		}
	}
}

// LeadsBack reports the listener that a connection of up to ip would reach;
// ok is false where there is none. It is for addresses that the host of an
// upstream turns out to have.
func (c *Config) LeadsBack(up *Upstream, ip netip.Addr) (name string, ok bool) {
	own, _ := thisMachine()
	if !up.leaves() || len(ownAddresses(ip.String(), own, nil)) == 0 {
		return "", false
	}
	i := c.ownPorts().listener(ip, up.ports())
	if i < 0 {
		return "", false
	}
	return c.Listeners[i].Name, true
}

// ownPorts are the listeners of TCP by their port.
type ownPorts map[string][]ownPort

type ownPort struct {
	socketAddress
	index int // in Listeners
}

func (c *Config) ownPorts() ownPorts {
	at := ownPorts{}
	for i, l := range c.Listeners {
		if l.Network != "tcp" {
			continue
		}
		if a, ok := parseSocket(l.Network, l.Target); ok {
			at[a.port] = append(at[a.port], ownPort{a, i})
		}
	}
	return at
}

// listener is the index of the listener that is reached at ip and one of the
// ports; -1: none.
func (o ownPorts) listener(ip netip.Addr, ports []string) int {
	first := -1
	for _, port := range ports {
		for _, own := range o[port] {
			if own.takes(ip) {
				if first < 0 || own.index < first {
					first = own.index
				}
				break
			}
		}
	}
	return first
}

// ports are those that a session may be opened at.
func (u *Upstream) ports() []string {
	switch {
	case !u.leaves():
		return nil
	case u.Port == 0:
		return []string{"465", "587"} // of TLSAuto
	}
	return []string{strconv.Itoa(u.Port)}
}

// leaves is false of the capture server, which is a part of the process.
func (u *Upstream) leaves() bool { return u.Provider != CaptureProvider && u.Host != "" }

// ownAddresses are the addresses by which host means this machine, told
// without asking the resolver; none where it does not.
func ownAddresses(host string, own []netip.Addr, names []string) []netip.Addr {
	local := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil && (strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost")):
		return local // RFC 6761 §6.3
	case err != nil:
		for _, name := range names {
			if strings.EqualFold(host, name) {
				return append(local, own...)
			}
		}
		return nil
	}
	ip = ip.Unmap().WithZone("")
	switch {
	case ip.IsUnspecified():
		return local // connecting to 0.0.0.0 reaches this machine
	case ip.IsLoopback():
		return []netip.Addr{ip}
	}
	for _, mine := range own {
		if mine == ip {
			return []netip.Addr{ip}
		}
	}
	return nil
}

// thisMachine is what this machine is called and reached at, as it says
// itself.
func thisMachine() (own []netip.Addr, names []string) {
	if name, err := os.Hostname(); err == nil && name != "" {
		names = append(names, name)
	}
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, prefix.Addr().Unmap().WithZone(""))
		}
	}
	return own, names
}
