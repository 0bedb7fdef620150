package peer

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// privateDomains are not delegated in the public DNS (RFC 6761, RFC 6762,
// RFC 8375, and ICANN's .internal), or made by clusters.
var privateDomains = []string{".localhost", ".local", ".internal", ".home.arpa", ".svc"}

// HostName is the name in a Host field of HTTP: without its port, in lower case.
func HostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// OwnHost reports whether a HostName can be this machine's: a web page can have
// its own name lead here (DNS rebinding), and an IP address, a name without a
// dot, names that nobody can buy, and those of the machine are not such a
// page's. also are further names of it.
func OwnHost(name string, also ...string) bool {
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil || !strings.Contains(name, ".") {
		return true
	}
	machine, _ := os.Hostname()
	return slices.ContainsFunc(append(also, machine), func(own string) bool { return strings.EqualFold(name, own) }) ||
		slices.ContainsFunc(privateDomains, func(d string) bool { return strings.HasSuffix(name, d) })
}
