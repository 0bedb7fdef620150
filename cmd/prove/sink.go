//go:build linux

package main

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// sink is the upstream of a run: it enters what arrives into the books, and
// fails on command. It outlives the daemons that talk to it.
type sink struct {
	books  *books
	server *smtp.Server
	addr   string
	done   chan error

	mu      sync.Mutex
	failing float64 // chance that one command is answered by 451
}

func startSink(b *books) (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{books: b, addr: l.Addr().String(), done: make(chan error, 1)}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &sinkSession{sink: s}, nil }))
	s.server.Domain = "sink.example"
	s.server.ReadTimeout = time.Minute
	s.server.WriteTimeout = time.Minute
	s.server.MaxLineLength = 4096
	go func() { s.done <- s.server.Serve(l) }()
	return s, nil
}

// fail sets the chance, from 0 to 1, that a command is refused for now.
func (s *sink) fail(chance float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = chance
}

func (s *sink) close() {
	s.server.Close()
	<-s.done
}

var errNotNow = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "not now"}

func (s *sink) refuse() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing > 0 && rand.Float64() < s.failing {
		return errNotNow
	}
	return nil
}

type sinkSession struct{ sink *sink }

func (c *sinkSession) Reset()                                   {}
func (c *sinkSession) Logout() error                            { return nil }
func (c *sinkSession) Mail(string, *smtp.MailOptions) error     { return c.sink.refuse() }
func (c *sinkSession) Rcpt(_ string, _ *smtp.RcptOptions) error { return c.sink.refuse() }

func (c *sinkSession) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := c.sink.refuse(); err != nil {
		return err
	}
	number, queueID, body := dissect(content)
	return c.sink.books.received(number, queueID, digest(body))
}

// dissect finds the sender's number, the queue ID in the Received field, and
// the body.
func dissect(content []byte) (number, queueID string, body []byte) {
	header, body, _ := bytes.Cut(content, []byte("\r\n\r\n"))
	inReceived := false
	for s := bufio.NewScanner(bytes.NewReader(header)); s.Scan(); {
		line := s.Text()
		if line != "" && line[0] != ' ' && line[0] != '\t' {
			inReceived = strings.HasPrefix(line, "Received:")
			if v, ok := strings.CutPrefix(line, "X-Number: "); ok {
				number = v
			}
		}
		if _, rest, ok := strings.Cut(line, " id "); ok && inReceived && queueID == "" {
			queueID, _, _ = strings.Cut(strings.TrimRight(rest, "; "), ";")
			queueID, _, _ = strings.Cut(queueID, " ")
		}
	}
	return number, queueID, body
}
