package submission_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/submission"
	"postern/spool"
)

// sink is an Acceptor that keeps nothing.
type sink struct{}

func (sink) Create(context.Context) (spool.Draft, error)   { return sink{}, nil }
func (sink) Known(context.Context, *spool.Key) error       { return nil }
func (sink) ID() spool.ID                                  { return 1 }
func (sink) Write(p []byte) (int, error)                   { return len(p), nil }
func (sink) Commit(context.Context, *spool.Envelope) error { return nil }
func (sink) Discard()                                      {}

// BenchmarkSubmit takes one message in without a protocol: one sender, one
// recipient, and the content in one piece. Names would be completed, and asked for
// in a directory; an address costs nothing by that.
func BenchmarkSubmit(b *testing.B) {
	agent := submission.New(submission.Options{Accept: sink{}})
	policy, err := submission.NewPolicy(&config.Config{
		Hostname: "mx.example.com", Submission: config.Submission{Domain: "example.com"},
		Books: []config.Book{{Name: "gal", Provider: config.BookLDAP, Directory: config.Directory{Servers: []config.DirectoryServer{{Host: "127.0.0.1", Port: "1"}}, Timeout: time.Second}}},
	}, routes(b))
	if err != nil {
		b.Fatal(err)
	}
	agent.Use(policy)
	l := listener()
	l.RepairHeaders = true
	client := &submission.Client{
		Listener: "test", Peer: "127.0.0.1:1", Addr: netip.MustParseAddr("127.0.0.1"), Helo: "client.example",
		Settings: submission.SettingsOf(&l),
	}
	for _, size := range []int{1 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("%dK", size>>10), func(b *testing.B) {
			content := []byte(plain + strings.Repeat(strings.Repeat("abcdefghij", 7)+"\r\n", size/72))
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				m, err := agent.Begin(b.Context(), client, submission.Envelope{From: "a@example.com", Protocol: "ESMTP", Body: spool.Body8BitMIME})
				if err != nil {
					b.Fatal(err)
				}
				if err := m.Add(submission.Recipient{Address: "b@example.net"}); err != nil {
					b.Fatal(err)
				}
				if _, err := m.Write(content); err != nil {
					b.Fatal(err)
				}
				if _, err := m.Commit(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
