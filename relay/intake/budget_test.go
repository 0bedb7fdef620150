package intake

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
)

// TestOpenTransactionsShareMemory: recipients, unfinished headers and bodies
// on their way are counted; beyond the budget the answer is 452, another
// origin still gets its mail in, and everything is given back.
func TestOpenTransactionsShareMemory(t *testing.T) {
	recipients := &strings.Builder{}
	recipients.WriteString("EHLO a\r\nMAIL FROM:<a@any.example>\r\n")
	for i := range 90 {
		fmt.Fprintf(recipients, "RCPT TO:<%060d@%s.example.org> ORCPT=rfc822;%0400d\r\n", i, strings.Repeat("a", 60), i)
	}
	body := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 3000)
	for name, begin := range map[string]string{
		"recipients": recipients.String(),
		"header":     greetAndMail + "DATA\r\nSubject: x\r\n" + strings.Repeat(" "+strings.Repeat("x", 70)+"\r\n", 3000),
		"body":       greetAndMail + "DATA\r\nSubject: x\r\n\r\n" + body,
		"chunk":      greetAndMail + fmt.Sprintf("BDAT %d\r\n", len(body)+100) + "Subject: x\r\n\r\n" + body,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const limit = 1 << 20
				r := newRigWith(t, limit, nil)
				for i := range 40 {
					io.WriteString(r.dial(fmt.Sprintf("192.0.2.2:%d", i+1)), begin)
				}
				synctest.Wait()
				if used := r.memory.Used(); used < limit/4 || used > limit/2 {
					t.Errorf("one origin holds %d of %d", used, limit)
				}
				r.events.mu.Lock()
				refused := 0
				for _, f := range r.events.refusals {
					if f.Code == 452 && f.Status() == "4.3.1" {
						refused++
					}
				}
				r.events.mu.Unlock()
				if name == "recipients" && refused == 0 {
					t.Error("nobody was answered 452")
				}
				nc := r.dial("192.0.2.3:1")
				io.WriteString(nc, greetAndMail+"DATA\r\na: b\r\n\r\n"+strings.Repeat("x\r\n", 20_000)+".\r\n")
				if got := said(nc); !strings.Contains(got, "250 2.0.0 queued") {
					t.Errorf("another origin was told %q", got)
				}
				r.server.Close()
				if used := r.memory.Used(); used != 0 {
					t.Errorf("%d were never given back", used)
				}
			})
		})
	}
}

// TestMessageTooSlow: a message that trickles in has an end, and one over a
// slow line gets through.
func TestMessageTooSlow(t *testing.T) {
	for name, c := range map[string]struct {
		begin    string
		piece    string
		every    time.Duration
		lasts    time.Duration
		maxTime  time.Duration
		endsWith string
	}{
		"trickle":       {greetAndMail + "DATA\r\n", "x: y\r\n", time.Second, 3 * time.Minute, 0, "421 4.4.2 message comes too slowly"},
		"1 KB in 4 s":   {greetAndMail + "DATA\r\na: b\r\n\r\n", strings.Repeat("x", 1022) + "\r\n", 4 * time.Second, 5 * time.Minute, 0, "421 4.4.2 message comes too slowly"},
		"chunk":         {greetAndMail + "BDAT 1000000\r\n", "x: y\r\n", time.Second, 3 * time.Minute, 0, "421 4.4.2 message comes too slowly"},
		"small chunks":  {greetAndMail + "BDAT 5\r\na: b\n", "BDAT 2\r\n\r\n", time.Second, 3 * time.Minute, 0, "421 4.4.2 message comes too slowly"},
		"longest time":  {greetAndMail + "DATA\r\na: b\r\n\r\n", strings.Repeat("x", 1022) + "\r\n", time.Second, time.Hour, 10 * time.Minute, "421 4.4.2 message comes too slowly"},
		"modem":         {greetAndMail + "DATA\r\na: b\r\n\r\n", strings.Repeat("x", 998) + "\r\n", time.Second, 15 * time.Minute, time.Hour, "250 2.0.0 queued"},
		"late, in time": {greetAndMail + "DATA\r\na: b\r\n\r\n", "x\r\n", time.Second, 50 * time.Second, time.Hour, "250 2.0.0 queued"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(l *config.Listener) {
					l.DataMinRate, l.DataMaxTime, l.MaxMessageSize, l.Newlines = 500, c.maxTime, 10<<20, "normalise"
				})
				defer r.server.Close()
				nc := r.dial("")
				io.WriteString(nc, c.begin)
				for end := time.Now().Add(c.lasts); time.Now().Before(end); time.Sleep(c.every) {
					if _, err := io.WriteString(nc, c.piece); err != nil {
						break
					}
				}
				io.WriteString(nc, ".\r\n")
				if got := said(nc); !strings.Contains(got, c.endsWith) {
					t.Errorf("told %q", got)
				}
			})
		})
	}
}

// TestRate: beyond the rate of a listener an origin is answered 450, others
// not, and after a while it may send again.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(l *config.Listener) {
			l.Rate = []config.Rate{{Count: 3, Per: time.Minute}, {Count: 5, Recipients: true, Per: time.Hour}}
		})
		defer r.server.Close()
		send := func(addr string, rcpts int) string {
			nc := r.dial(addr)
			io.WriteString(nc, "EHLO a\r\nMAIL FROM:<a@example.com>\r\n"+strings.Repeat("RCPT TO:<b@example.net>\r\n", 1))
			for i := 1; i < rcpts; i++ {
				fmt.Fprintf(nc, "RCPT TO:<b%d@example.net>\r\n", i)
			}
			io.WriteString(nc, "QUIT\r\n")
			return said(nc)
		}
		for range 3 {
			if got := send("192.0.2.2:1", 1); strings.Contains(got, "450") {
				t.Errorf("within the rate: %q", got)
			}
		}
		if got := send("192.0.2.2:1", 1); !strings.Contains(got, "450 4.7.1 more mail than this server takes from you (3/1m)") {
			t.Errorf("beyond the rate: %q", got)
		}
		if got := send("192.0.2.3:1", 5); strings.Contains(got, "450") {
			t.Errorf("another origin: %q", got)
		}
		if got := send("192.0.2.4:1", 6); strings.Count(got, "450 4.7.1") != 1 {
			t.Errorf("more recipients than the rate: %q", got)
		}
		time.Sleep(time.Minute)
		if got := send("192.0.2.2:1", 1); strings.Contains(got, "450") {
			t.Errorf("a minute later: %q", got)
		}
	})
}

// TestPriorityOfClients: what a client may ask for has a bound.
func TestPriorityOfClients(t *testing.T) {
	for bound, want := range map[int]string{0: "0 -3", 9: "9 -3", -5: "-5 -5"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(l *config.Listener) { l.MaxPriority = bound })
			defer r.server.Close()
			nc := r.dial("")
			io.WriteString(nc, "EHLO a\r\n")
			for _, p := range []string{"9", "-3"} {
				io.WriteString(nc, "MAIL FROM:<a@example.com> MT-PRIORITY="+p+"\r\nRCPT TO:<b@example.net>\r\nDATA\r\na: b\r\n.\r\n")
				synctest.Wait()
			}
			all := r.store.all()
			if got := fmt.Sprint(all[0].env.Priority, all[1].env.Priority); got != want {
				t.Errorf("max_priority %d: %s, want %s", bound, got, want)
			}
		})
	}
}
