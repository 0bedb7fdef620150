package signin

import (
	"crypto/md5"
	"crypto/tls"
	"encoding/binary"
	"errors"

	"github.com/xdg-go/scram"
)

// scramBinding ties an exchange to its TLS connection: by tls-exporter (RFC
// 9266 §3) in TLS 1.3; in TLS 1.2 by tls-unique, which RFC 5802 §6.1 makes
// the default there. crypto/tls leaves tls-unique out where it would be weak
// (a resumed session without extended master secret), and then there is none.
func scramBinding(state *tls.ConnectionState) (scram.ChannelBinding, error) {
	switch {
	case state == nil:
		return scram.ChannelBinding{}, errors.New("there is no TLS to bind to")
	case state.Version >= tls.VersionTLS13:
		return scram.NewTLSExporterBinding(state)
	case len(state.TLSUnique) > 0:
		return scram.NewTLSUniqueBinding(state.TLSUnique), nil
	}
	return scram.ChannelBinding{}, errors.New("this TLS session has nothing to bind to")
}

// windowsBinding is what Kerberos and NTLM carry to show which TLS connection
// they belong to: the MD5 (RFC 4121 §4.1.1.2) of a gss_channel_bindings_struct.
// nil: there is none.
func windowsBinding(state *tls.ConnectionState) []byte {
	data := endPoint(state)
	if data == nil {
		return nil
	}
	// Neither side names its address: four zero words, and the data.
	head := binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(data)))
	sum := md5.Sum(append(head, data...))
	return sum[:]
}

// endPoint is tls-server-end-point (RFC 5929 §4), a hash of the server's
// certificate, behind its name; nil: there is none, or none is defined for
// the certificate's signature.
func endPoint(state *tls.ConnectionState) []byte {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	end, err := scram.NewTLSServerEndpointBinding(state)
	if err != nil {
		return nil
	}
	return append([]byte("tls-server-end-point:"), end.Data...)
}
