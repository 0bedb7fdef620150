package peer

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
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

// MatchPath sets the names in pattern, whose segments are {name} or a word, to
// the segments of the path of r that stand there; false: the path is another
// one. Segments are unescaped after they are parted, so that a name may have a
// slash in it.
func MatchPath(pattern string, r *http.Request) bool {
	wanted, path := strings.Split(pattern, "/"), strings.Split(r.URL.EscapedPath(), "/")
	if len(wanted) != len(path) {
		return false
	}
	for i, want := range wanted {
		segment, err := url.PathUnescape(path[i])
		name, any := strings.CutPrefix(want, "{")
		if err != nil || any && segment == "" || !any && segment != want {
			return false
		}
		if any {
			r.SetPathValue(strings.TrimSuffix(name, "}"), segment)
		}
	}
	return true
}
