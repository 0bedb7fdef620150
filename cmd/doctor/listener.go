package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"postern/cmd/control"
	"postern/config"
)

// listenerTimeout bounds the look at one listener.
const listenerTimeout = 5 * time.Second

// lookAtListeners looks at each listener and its certificate. running tells
// that there is a daemon, also where it does not tell us its status.
func lookAtListeners(ctx context.Context, cfg *config.Config, st *control.Status, running bool) []Finding {
	var out []Finding
	for _, l := range cfg.AllListeners() {
		out = append(out, lookAtListener(ctx, l, st, running))
		if l.CertFile != "" {
			out = append(out, judgeListenerCert(l, time.Now()))
		}
	}
	return out
}

func lookAtListener(ctx context.Context, l *config.Listener, st *control.Status, running bool) Finding {
	if l.Network == "systemd" {
		return Finding{ID: ListenerAddress, Status: Skipped, Subject: l.Name, Text: "systemd listens there", Remedy: "`systemctl list-sockets`"}
	}
	if !running {
		return judgeFree(l, tryListen(l))
	}
	address := boundAt(l, st)
	ctx, cancel := context.WithTimeout(ctx, listenerTimeout)
	defer cancel()
	began := time.Now()
	banner, err := knock(ctx, l, address)
	f := judgeBanner(l, address, banner, err)
	f.Took = took(time.Since(began))
	return f
}

// boundAt is where a listener of a running daemon is, also where its port was
// left to the system.
func boundAt(l *config.Listener, st *control.Status) string {
	if st == nil || l.Network != "tcp" {
		return l.Target
	}
	for _, s := range st.Listeners {
		if s.Name == l.Name {
			return s.Address
		}
	}
	return l.Target
}

// tryListen finds out whether the address of a listener is free.
func tryListen(l *config.Listener) error {
	if l.Network != "tcp" {
		return nil // a socket file is replaced at the start
	}
	listener, err := net.Listen("tcp", l.Target)
	if err != nil {
		return err
	}
	return listener.Close()
}

func judgeFree(l *config.Listener, err error) Finding {
	f := Finding{ID: ListenerAddress, Status: OK, Subject: l.Name, Text: l.Address + " is free for a daemon"}
	switch {
	case err == nil:
	case errors.Is(err, syscall.EADDRINUSE):
		f.Status, f.Text = Failed, "another program listens at "+l.Address
		f.Remedy = "`ss -ltnp` names it: stop it, or choose another address."
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		f.Status, f.Text = Failed, "this machine does not have the address of "+l.Address
		f.Remedy = "Correct address, or start the daemon after the network."
	case errors.Is(err, fs.ErrPermission):
		f.Status, f.Text = Skipped, "you may not listen at "+l.Address
		f.Remedy = "A port below 1024 needs CAP_NET_BIND_SERVICE, or a socket of systemd."
	default:
		f.Status, f.Text = Failed, err.Error()
	}
	return f
}

// knock connects to a listener and reads its greeting.
func knock(ctx context.Context, l *config.Listener, address string) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, l.Network, reachable(address))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	end, _ := ctx.Deadline()
	_ = conn.SetDeadline(end) // fails where reading does
	if l.TLS == config.ListenerTLSImplicit {
		// Whether the certificate is good is judged by its file.
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	byHTTP := isHTTP(l)
	if byHTTP { // a path that there is not: it is answered without a token
		_, _ = conn.Write([]byte("HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
	}
	line, err := bufio.NewReaderSize(conn, 1024).ReadString('\n')
	if err == nil && !byHTTP {
		_, _ = conn.Write([]byte("QUIT\r\n"))
	}
	return strings.TrimSpace(line), err
}

// isHTTP tells the listeners of HTTP from those of SMTP.
func isHTTP(l *config.Listener) bool {
	return l.Name == config.HTTPListener || l.Name == config.SubmitListener
}

// reachable is the address at which this machine reaches a listener that
// takes every address.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		if ip != nil && ip.To4() == nil {
			return net.JoinHostPort("::1", port)
		}
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

func judgeBanner(l *config.Listener, address, banner string, err error) Finding {
	f := Finding{ID: ListenerAddress, Status: OK, Subject: l.Name, Text: fmt.Sprintf("%s answers: %s", address, banner)}
	switch {
	case errors.Is(err, fs.ErrPermission):
		f.Status, f.Text = Skipped, "you may not connect to "+address
	case err != nil:
		f.Status, f.Text = Failed, fmt.Sprintf("%s does not answer: %s", address, err)
		f.Remedy = "`postern status` shows where the daemon listens; its log says what went wrong there."
	case strings.HasPrefix(banner, "554"):
		f.Text += " (this machine itself is not among those that it allows)"
	case isHTTP(l) && strings.HasPrefix(banner, "HTTP/1.1 404"):
		f.Text = address + " answers by HTTP"
	case isHTTP(l) && strings.HasPrefix(banner, "HTTP/1.1 403"):
		f.Text = address + " answers by HTTP (this machine itself is not among those that it allows)"
	case !strings.HasPrefix(banner, "220"):
		f.Status = Warning
		f.Remedy = "It is busy, or stopping; or another program answers there."
	}
	return f
}

// judgeListenerCert judges the certificate that a listener shows.
func judgeListenerCert(l *config.Listener, now time.Time) Finding {
	f := Certificate(l.CertFile, now)
	f.ID, f.Subject = ListenerCert, l.Name
	return f
}

// Certificate judges the first certificate of a file of ours: it failed where it
// has ended or can't be read, and is a warning where it ends within three weeks.
// ID and subject are left to the caller.
func Certificate(path string, now time.Time) Finding {
	cert, err := firstCertificate(path)
	if err != nil {
		return Finding{Status: Failed, Text: path + ": " + reason(err), Remedy: "Correct cert_file."}
	}
	f := validity(cert, now)
	f.Facts = map[string]any{"not_after": cert.NotAfter.UTC(), "days_left": daysLeft(cert, now)}
	if f.Status != OK && f.Remedy == "" {
		f.Remedy = "Renew " + path + "."
	}
	return f
}

func firstCertificate(path string) (*x509.Certificate, error) {
	text, err := config.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("holds no certificate")
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
		text = rest
	}
}
