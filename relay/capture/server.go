// Package capture is an upstream that keeps what it is given: a real SMTP
// server inside the process, with STARTTLS and AUTH, that delivers to a
// Maildir. An upstream with provider = "capture" is pointed at it, so that all
// of the relay is at work and nothing leaves the machine.
//
// It owns its Maildir, its certificate and its password, which are made anew
// at each start and never leave the memory. It has no port and no socket:
// connections are made within the process, so that nobody else can come. It
// never passes a message on.
package capture

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"postern/config"
)

// MaxMessageBytes is the largest message that is kept.
const MaxMessageBytes = 256 << 20

// maxLine is the longest line, in bytes. Some programs write a whole HTML page
// into one, and upstreams take it.
const maxLine = 1 << 20

// ioTimeout bounds each wait of the server for its client, which is the relay
// itself.
const ioTimeout = 10 * time.Minute

// Options says where messages go.
type Options struct {
	// Dir is the Maildir; it is made where it is missing.
	Dir string
	// Hostname names the server in its banner and certificate; empty: "localhost".
	Hostname string
	// Events is told what happens; nil: nobody is.
	Events func(Event)
}

// Stored tells of a message that was kept.
type Stored struct {
	Upstream string // the upstream that it was meant for
	Path     string // in the Maildir
	From     string // reverse-path, made harmless
	To       []string
	Size     int64 // bytes of the file
}

// Failed tells of a message that was answered with 451.
type Failed struct {
	Upstream string
	Err      error
}

// Event is what a Server tells of: *Stored or *Failed. It is valid until the
// function that it is given to returns; that function is called concurrently.
type Event interface{ event() }

func (*Stored) event() {}
func (*Failed) event() {}

// Server is a running capture server. It serves any number of upstreams; a
// header field of each message names the one that it was meant for.
type Server struct {
	smtp     *smtp.Server
	password string
	pin      string
	listener *listener
	served   sync.WaitGroup
}

// Start begins to serve. End it by Close.
func Start(o Options) (*Server, error) {
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	box, err := openMaildir(o.Dir, o.Hostname)
	if err != nil {
		return nil, err
	}
	cert, pin, err := newCertificate(o.Hostname)
	if err != nil {
		return nil, err
	}
	s := &Server{password: rand.Text(), pin: pin, listener: newListener()}
	s.smtp = newSMTP(o, cert, &backend{box: box, password: s.password, events: o.Events})
	s.served.Go(func() { _ = s.smtp.Serve(s.listener) }) // ends by Close
	return s, nil
}

func newSMTP(o Options, cert tls.Certificate, backend smtp.Backend) *smtp.Server {
	server := smtp.NewServer(backend)
	server.Domain = o.Hostname
	server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}
	server.MaxMessageBytes = MaxMessageBytes
	server.MaxLineLength = maxLine
	server.ReadTimeout, server.WriteTimeout = ioTimeout, ioTimeout
	server.EnableSMTPUTF8 = true
	server.EnableBINARYMIME = true
	server.EnableREQUIRETLS = true
	server.ErrorLog = log.New(io.Discard, "", 0) // what matters is an event
	return server
}

// Host stands for the server where an upstream has a host name.
const Host = "capture"

// Connect opens a connection, within the process. It may be called
// concurrently.
func (s *Server) Connect(ctx context.Context) (net.Conn, error) { return s.listener.connect(ctx) }

// Upstream is a copy of base that leads here, where whoever dials asks Connect:
// over STARTTLS with the server's certificate pinned, and with a sign-in.
func (s *Server) Upstream(base *config.Upstream) *config.Upstream {
	up := *base
	up.Provider = config.CaptureProvider
	up.Host, up.Port = Host, 0
	up.TLS = config.TLSVerify
	up.ServerName, up.CAFile, up.CertFile, up.KeyFile = "", "", "", ""
	up.Fingerprints = []string{s.pin}
	up.Auth = "auto"
	up.Username = base.Name
	up.Password = config.NewSecret(s.password)
	return &up
}

// Close stops listening, lets transactions that are under way end until ctx
// is done, and cuts off the rest.
func (s *Server) Close(ctx context.Context) error {
	err := s.smtp.Shutdown(ctx)
	// A Shutdown that comes before go-smtp has begun to serve doesn't know of
	// the listener, and nobody would close it.
	_ = s.listener.Close()
	s.listener.cutOff()
	s.served.Wait()
	if errors.Is(err, smtp.ErrServerClosed) || errors.Is(err, ctx.Err()) {
		return nil // it was closed before, or it took too long
	}
	return err
}

// newCertificate makes a key that never leaves the memory, with a certificate
// that vouches for itself; pin is its fingerprint.
func newCertificate(hostname string) (_ tls.Certificate, pin string, _ error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, "", err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "postern capture"},
		DNSNames:     []string{hostname},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	sum := sha256.Sum256(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, hex.EncodeToString(sum[:]), nil
}
