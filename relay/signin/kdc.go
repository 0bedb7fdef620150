package signin

import (
	"context"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/messages"

	"postern/config/wire"
)

const (
	// loginTimeout bounds everything that is asked of KDCs for one sign-in.
	loginTimeout = 30 * time.Second
	// kdcTimeout is how long one KDC is waited for, by UDP and again by TCP.
	kdcTimeout = 3 * time.Second
	// maxKDCReply bounds an answer, in bytes. A ticket of Windows with many
	// groups has up to 64 KiB.
	maxKDCReply = 128 << 10
	// maxKDCs bounds how many addresses of a realm are asked.
	maxKDCs = 8
)

// kdcs carries requests to the key distribution centres of realms. The
// library's own way there waits without regard to a context, and allocates
// whatever length an answer claims to have.
type kdcs struct{ conf *config.Config }

// ask sends a request to the KDCs of a realm, one after the other, until one
// gives an answer that can be used, by UDP and then by TCP, or the other way
// round where the request is long (RFC 4120 §7.2.1).
func (k *kdcs) ask(ctx context.Context, realm string, request []byte) ([]byte, error) {
	networks := []string{"udp", "tcp"}
	if limit := k.conf.LibDefaults.UDPPreferenceLimit; limit <= 1 || len(request) > limit {
		networks = []string{"tcp", "udp"}
	}
	var last error
	for _, network := range networks {
		hosts, err := k.hosts(ctx, realm, network)
		if err != nil {
			last = err
			continue
		}
		for _, host := range hosts {
			reply, err := send(ctx, network, host, request)
			switch {
			case ctx.Err() != nil:
				return nil, noKDC(context.Cause(ctx))
			case err != nil:
				last = fmt.Errorf("%s by %s: %w", host, network, err)
			case tooBig(reply): // RFC 4120 §7.2.1: the same question by TCP
				last = fmt.Errorf("%s by %s: the answer is too long", host, network)
			default:
				return reply, nil
			}
		}
	}
	return nil, noKDC(last)
}

// noKDC is an error of the network, or that nothing of use came from there.
func noKDC(cause error) error {
	text := "no KDC of the realm answers; check realm, krb5.conf and the network"
	if cause != nil {
		text += " (" + wire.Text(cause.Error(), 200) + ")"
	}
	return &kerberosError{text: text, away: true}
}

// hosts are the addresses of a realm's KDCs: those of krb5.conf or, where it
// has none and allows it, those of the DNS (RFC 4120 §7.2.3.2).
func (k *kdcs) hosts(ctx context.Context, realm, network string) ([]string, error) {
	var hosts []string
	for _, known := range k.conf.Realms {
		if known.Realm == realm {
			hosts = append(hosts, known.KDC...)
		}
	}
	if len(hosts) == 0 && k.conf.LibDefaults.DNSLookupKDC {
		_, found, err := net.DefaultResolver.LookupSRV(ctx, "kerberos", network, realm)
		if err != nil {
			return nil, err
		}
		for _, srv := range found {
			hosts = append(hosts, net.JoinHostPort(strings.TrimSuffix(srv.Target, "."), fmt.Sprint(srv.Port)))
		}
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("no KDC of %s is known", realm)
	}
	return hosts[:min(len(hosts), maxKDCs)], nil
}

// send asks one KDC once.
func send(ctx context.Context, network, host string, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, kdcTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if network == "udp" {
		return sendDatagram(conn, request)
	}
	return sendStream(conn, request)
}

// sendDatagram takes the first datagram that is an answer of Kerberos at all:
// others may have been sent by anybody.
func sendDatagram(conn net.Conn, request []byte) ([]byte, error) {
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, err
		}
		if isReply(buffer[:n]) {
			return buffer[:n:n], nil
		}
	}
}

// sendStream frames request and answer by their length: RFC 4120 §7.2.2.
func sendStream(conn net.Conn, request []byte) ([]byte, error) {
	framed := binary.BigEndian.AppendUint32(nil, uint32(len(request)))
	if _, err := conn.Write(append(framed, request...)); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length > maxKDCReply {
		return nil, fmt.Errorf("it announces an answer of %d bytes", length)
	}
	reply := make([]byte, length)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, err
	}
	if !isReply(reply) {
		return nil, errors.New("its answer is not one of Kerberos")
	}
	return reply, nil
}

// The tags of RFC 4120 §5.10.
const (
	tagASReply  = 11
	tagTGSReply = 13
	tagError    = 30
)

// tagOf is the application tag of a whole message; 0: it is none.
func tagOf(message []byte) int {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(message, &outer)
	if err != nil || len(rest) > 0 || outer.Class != asn1.ClassApplication || !outer.IsCompound {
		return 0
	}
	return outer.Tag
}

func isReply(message []byte) bool {
	switch tagOf(message) {
	case tagASReply, tagTGSReply, tagError:
		return true
	}
	return false
}

// refusalOf is the error that an answer is; nil: it is none.
func refusalOf(reply []byte) *messages.KRBError {
	if tagOf(reply) != tagError {
		return nil
	}
	e := new(messages.KRBError)
	if unharmed(func() error { return e.Unmarshal(reply) }) != nil {
		return &messages.KRBError{ErrorCode: errorcode.KRB_ERR_GENERIC}
	}
	return e
}

func tooBig(reply []byte) bool {
	e := refusalOf(reply)
	return e != nil && e.ErrorCode == errorcode.KRB_ERR_RESPONSE_TOO_BIG
}

// unharmed calls the library over bytes that came from the network, and turns
// its panics into an error.
func unharmed(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the KDC's answer is not valid")
		}
	}()
	return f()
}
