package upstream_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// slowTaker is an upstream that takes content in blocks, and waits before each;
// or one that takes one recipient a transaction, and waits before each answer.
type slowTaker struct {
	in           *bufio.Reader
	out          net.Conn
	block, reply time.Duration
	work         sync.WaitGroup
}

func (s *slowTaker) serve() {
	defer s.out.Close()
	io.WriteString(s.out, "220 mx\r\n")
	taken := 0
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch answer := "250 ok"; verb {
		case "DATA":
			io.WriteString(s.out, "354 go\r\n")
			if s.content() != nil {
				return
			}
			taken = 0
			io.WriteString(s.out, "250 kept\r\n")
		case "RCPT":
			if taken++; taken > 1 && s.reply > 0 {
				answer = "452 4.5.3 too many recipients"
			}
			fallthrough
		default:
			time.Sleep(s.reply)
			io.WriteString(s.out, answer+"\r\n")
		}
	}
}

func (s *slowTaker) content() error {
	for end := ""; !strings.HasSuffix(end, "\r\n.\r\n"); {
		time.Sleep(s.block)
		block := make([]byte, 64<<10)
		n, err := io.ReadAtLeast(s.in, block, 1)
		if err != nil {
			return err
		}
		end += string(block[:n])
		end = end[max(0, len(end)-5):]
	}
	return nil
}

// run delivers one message and returns how long that took.
func (s *slowTaker) run(t *testing.T, env *spool.Envelope, body []byte) (*upstreamtest.Feed, time.Duration, error) {
	d := &upstream.Dialer{Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		s.in, s.out = bufio.NewReaderSize(server, 64<<10), server
		s.work.Go(s.serve)
		return client, nil
	}}
	feed := upstreamtest.NewFeed()
	feed.Add(env, body)
	began := time.Now()
	defer s.work.Wait()
	err := d.Deliver(t.Context(), &config.Upstream{Host: "mx.example", Port: 25, TLS: config.TLSOff, Account: config.Account{Name: "test"}}, feed)
	took := time.Since(began)
	for _, breach := range feed.Breaches() {
		t.Error(breach)
	}
	return feed, took, err
}

// An upstream that takes each block just in time doesn't hold a connection for
// hours, and one that is only slow gets its message.
func TestContentTakenJustInTime(t *testing.T) {
	body := []byte(strings.Repeat(strings.Repeat("x", 62)+"\r\n", 1<<14)) // 1 MiB
	for _, c := range []struct {
		block   time.Duration
		longest time.Duration
		taken   bool
	}{
		{9 * time.Minute, 20*time.Minute + 1024*time.Second, false},
		{time.Minute, 30 * time.Minute, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			feed, took, err := (&slowTaker{block: c.block}).run(t, envelopeTo("to@b.example"), body)
			if took > c.longest+10*time.Second || (err == nil) != c.taken {
				t.Errorf("it took %s: %v", took, err)
			}
			got := feed.Settled()
			if len(got) != 1 {
				t.Fatalf("%+v", got)
			}
			o := got[0].Outcomes[0]
			if c.taken != (o.Code == 250) || !c.taken && (o.Stage != spool.StageBody || !strings.Contains(o.Cause, "all of it together took longer than 37m4s")) {
				t.Errorf("%+v", o)
			}
		})
	}
}

// One that takes a single recipient each time, and that slowly, has the others
// come again in their turn: they are left out, untried.
func TestRecipientsTakenJustInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := envelopeTo()
		for i := range 100 {
			env.Recipients = append(env.Recipients, spool.Recipient{Address: fmt.Sprintf("r%d@b.example", i)})
		}
		feed, took, err := (&slowTaker{reply: 8 * time.Second}).run(t, env, []byte("x\r\n"))
		if err != nil || took > 2*time.Hour {
			t.Errorf("it took %s: %v", took, err)
		}
		got := feed.Settled()
		if len(got) != 1 || len(got[0].Outcomes) == 100 || len(got[0].Outcomes) < 2 {
			t.Fatalf("%+v", got)
		}
		for _, o := range got[0].Outcomes {
			if o.Code != 250 {
				t.Errorf("%+v", o)
			}
		}
	})
}
