package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"postern/config"
)

const (
	// connectTimeout bounds a connection with its TLS, and then the sign-in where
	// another server can be asked.
	connectTimeout = 4 * time.Second
	// avoided is how long a server that failed is tried after the others.
	avoided = time.Minute
	// pause is for how long nobody is asked after all servers have failed, or
	// after the sign-in was refused.
	pause = 10 * time.Second
	// kept is how long a connection is kept for the next question.
	kept = 30 * time.Second
)

// server is one of those that hold the same directory.
type server struct {
	config.DirectoryServer

	mu     sync.Mutex
	reason string
	when   time.Time // it failed; zero: it hasn't
}

// global tells of the ports by which Active Directory gives the whole forest.
func (s *server) global() bool { return s.Port == "3268" || s.Port == "3269" }

func (s *server) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.when = time.Time{}
	if s.reason = ""; err != nil {
		s.reason, _ = explain(err)
		s.when = time.Now()
	}
}

func (s *server) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// since is when it failed; zero: not lately.
func (s *server) since(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.when) > avoided {
		return time.Time{}
	}
	return s.when
}

// order is that in which servers are tried.
func (d *Directory) order() []*server {
	list, now := slices.Clone(d.servers), time.Now()
	slices.SortStableFunc(list, func(a, b *server) int { return a.since(now).Compare(b.since(now)) })
	return list
}

// session is a connection that is signed in: one that was kept, or a new one.
func (d *Directory) session(ctx context.Context) (*session, error) {
	d.mu.Lock()
	s, away := d.idle, d.away
	d.idle = nil
	if !time.Now().Before(d.until) {
		away = nil
	}
	d.mu.Unlock()
	if s != nil && !s.conn.IsClosing() {
		s.kept = true
		return s, nil
	}
	if away != nil {
		return nil, away
	}
	for _, server := range d.order() {
		s, err := d.open(ctx, server)
		if err == nil {
			server.failed(nil)
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, d.told(server, ctx.Err())
		}
		server.failed(err)
		var no *refused
		if errors.As(err, &no) {
			e := d.told(server, err)
			e.Hint = "correct the account of the book; nobody else is asked, as wrong passwords lock accounts"
			return nil, d.rest(e)
		}
	}
	return nil, d.rest(d.whyAway())
}

// rest lets nobody ask for a moment.
func (d *Directory) rest(why *Away) *Away {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away, d.until = why, time.Now().Add(pause)
	return why
}

// keep has the next question find the session.
func (d *Directory) keep(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.idle != nil || s.conn.IsClosing() {
		s.close()
		return
	}
	d.idle = s
	if d.closing != nil {
		d.closing.Stop()
	}
	d.closing = time.AfterFunc(kept, func() {
		d.mu.Lock()
		unused := d.idle == s
		if unused {
			d.idle = nil
		}
		d.mu.Unlock()
		if unused {
			s.close()
		}
	})
}

// open connects to a server, signs in, and asks it what it is.
func (d *Directory) open(ctx context.Context, server *server) (*session, error) {
	raw, state, err := d.dial(ctx, server)
	if err != nil {
		return nil, err
	}
	f := &frames{Conn: raw}
	f.grant(d.most)
	s := &session{server: server, frames: f, conn: ldap.NewConn(f, state != nil), state: state, timeout: d.set.Timeout}
	s.conn.Start()
	if err := d.begin(ctx, s); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// begin signs in and reads the root.
func (d *Directory) begin(ctx context.Context, s *session) error {
	sign, err := d.prepare(ctx, s) // a KDC or a command is not the server's fault
	if err != nil {
		return &refused{err}
	}
	limit := connectTimeout
	if len(d.servers) == 1 { // a gateway, such as DavMail, signs in somewhere else meanwhile
		limit = d.set.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return s.run(ctx, func(ctx context.Context) error {
		if err := sign(); err != nil {
			return err
		}
		return s.root(ctx, &d.set)
	})
}

// dial is a connection with TLS as the settings want it; no state: without. A
// socket of this machine has none: its bytes go over no network.
func (d *Directory) dial(ctx context.Context, server *server) (net.Conn, *tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var dialer net.Dialer
	network, address := "tcp", net.JoinHostPort(server.Host, server.Port)
	if server.Socket != "" {
		network, address = "unix", server.Socket
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil || server.Socket != "" || !server.Secure && d.set.TLS == config.DirectoryTLSOff {
		return conn, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	secure, err := d.secure(ctx, server, conn)
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, err
	}
	state := secure.ConnectionState()
	return secure, &state, nil
}

func (d *Directory) secure(ctx context.Context, server *server, conn net.Conn) (*tls.Conn, error) {
	conf := &tls.Config{ServerName: server.Host, MinVersion: tls.VersionTLS12}
	if d.set.CAFile != "" {
		pem, err := config.ReadFile(d.set.CAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", d.set.CAFile)
		}
	}
	if !server.Secure {
		if err := startTLS(conn); err != nil {
			return nil, err
		}
	}
	secure := tls.Client(conn, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secure, nil
}

// startTLS is RFC 4511 §4.14. Nothing that comes with the answer is read, so
// that nobody can put words in front of what TLS protects.
func startTLS(conn net.Conn) error {
	const request = "\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
	if _, err := conn.Write([]byte(request)); err != nil {
		return err
	}
	f := &frames{Conn: conn}
	f.grant(1 << 16)
	message, err := f.message()
	if err != nil {
		return err
	}
	answer, err := ber.DecodePacketErr(message)
	if err != nil {
		return errors.New("what it sends is not LDAP")
	}
	if err := ldap.GetLDAPError(answer); err != nil {
		return fmt.Errorf("it does no StartTLS: %w", err)
	}
	if len(answer.Children) < 2 || answer.Children[1].Tag != ldap.ApplicationExtendedResponse {
		return errors.New("it answers StartTLS with something else")
	}
	return nil
}
