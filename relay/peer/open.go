package peer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
)

// Handed are the sockets that a service manager handed over at the start
// (sd_listen_fds(3)), kept for the life of the process so that a reload may
// drop and take up a listener again. The zero value takes them when it is
// asked first, and nothing else in the process finds them then. Its methods
// may be called concurrently.
type Handed struct {
	once  sync.Once
	files map[string][]*os.File
}

// Count is how many have a name (FileDescriptorName=). None is an error, which
// says what to do.
func (h *Handed) Count(name string) (int, error) {
	h.once.Do(func() {
		h.files = map[string][]*os.File{}
		for _, f := range activation.Files(true) {
			h.files[f.Name()] = append(h.files[f.Name()], f)
		}
	})
	n := len(h.files[name])
	if n == 0 {
		return 0, &Advised{fmt.Errorf("systemd handed over no socket named %q", name),
			"set FileDescriptorName=" + name + " in the .socket unit and start that"}
	}
	return n, nil
}

// Listen is one of those that Count has counted, from 0.
func (h *Handed) Listen(name string, i int) (net.Listener, error) {
	return net.FileListener(h.files[name][i])
}

// ListenTCP listens at an address. Clients of this machine don't vanish without
// a word, so the system needs no keep-alive probes to find out; setting them up
// takes three calls for each connection.
func ListenTCP(target string) (net.Listener, error) {
	var lc net.ListenConfig
	host, _, _ := net.SplitHostPort(target)
	if a, err := netip.ParseAddr(host); err == nil && a.IsLoopback() || host == "localhost" {
		lc.KeepAlive = -1
	}
	return lc.Listen(context.Background(), family(target), target)
}

// family keeps a listener to the addresses that its line names: left to "tcp",
// 0.0.0.0 and [::] would each mean IPv4 and IPv6. Without a host it is both.
func family(target string) string {
	switch a, err := netip.ParseAddrPort(target); {
	case err != nil:
		return "tcp"
	case a.Addr().Unmap().Is4():
		return "tcp4"
	default:
		return "tcp6"
	}
}
