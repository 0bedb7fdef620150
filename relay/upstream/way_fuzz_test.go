package upstream

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"

	"postern/config"
)

// FuzzWays: whatever DNS says, it leads to at most so many ways, all with
// TLS, a host and a port; and no name of a host outside of the domain becomes
// one that a certificate may bear.
func FuzzWays(f *testing.F) {
	f.Add("mx.example.com.\x00.\x00", uint16(465), uint8(1))
	f.Add("notexample.com.\x00example.com\x00.example.com.", uint16(0), uint8(2))
	f.Fuzz(func(t *testing.T, targets string, port uint16, split uint8) {
		var lists [2][]*net.SRV
		for i, start := 0, 0; i <= len(targets); i++ {
			if i < len(targets) && targets[i] != 0 {
				continue
			}
			list := &lists[0]
			if len(lists[0]) >= int(split) {
				list = &lists[1]
			}
			*list = append(*list, &net.SRV{Target: targets[start:i], Port: binary.BigEndian.Uint16([]byte{byte(port), byte(i)})})
			start = i + 1
		}
		up := &config.Upstream{Host: "example.com", TLS: config.TLSAuto}
		ways := orderWays(up.Host, lists[0], lists[1])
		if len(ways) > maxWays {
			t.Fatalf("%d ways", len(ways))
		}
		for _, w := range ways {
			if w.host == "" || w.port < 1 || w.tls != config.TLSImplicit && w.tls != config.TLSVerify {
				t.Fatalf("%+v", w)
			}
			for _, name := range namesOf(up, w) {
				if name != "example.com" && !strings.HasSuffix(name, ".example.com") {
					t.Fatalf("%+v may bear %q", w, name)
				}
			}
		}
	})
}
