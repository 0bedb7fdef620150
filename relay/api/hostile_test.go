package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/submission"
	"postern/spool"
)

// dial is a bare connection to the address, or to the socket.
func (r *rig) dial(socket bool) net.Conn {
	r.t.Helper()
	network, address := "tcp", strings.TrimPrefix(r.url, "http://")
	if socket {
		network, address = "unix", r.path
	}
	c, err := net.Dial(network, address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// head is the header of a request with a body of so many bytes.
func head(path, kind string, size int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", path, secret, kind, size)
}

// statusLine is the first line of an answer, within a time.
func statusLine(t *testing.T, c net.Conn, within time.Duration) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(within))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

// Clients that say nothing, stop within a header or a body, or never read, hold
// all places. An ordinary one gets in.
func TestSlowClientsKeepNobodyOut(t *testing.T) {
	places, each := 20, 40
	if os.Getenv("POSTERN_LONG") != "" {
		places, each = 500, 625 // 5,000 connections in all
	}
	r := newRig(t, fmt.Sprintf("max_connections = %d\ndata_timeout = \"30s\"", places))
	for _, begin := range []string{"", "POST /emails HT", head("/emails", mediaJSON, 1000), head("/v1/messages?from=a%40example.com&to=b%40example.org", mediaMail, 1000) + "Subject: x\r\n\r\n"} {
		for range each {
			io.WriteString(r.dial(false), begin)
			io.WriteString(r.dial(true), begin)
		}
	}
	for _, socket := range []bool{false, true} {
		for range 5 {
			if a := r.do(call{path: "/emails", body: good, socket: socket}); a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
	}
}

// A body that makes no progress ends its request, and leaves nothing behind.
func TestSlowBody(t *testing.T) {
	r := newRig(t, "data_timeout = \"1s\"")
	for _, path := range []string{"/emails", "/v1/messages?from=a%40example.com&to=b%40example.org"} {
		kind := mediaMail
		if path == "/emails" {
			kind = mediaJSON
		}
		c := r.dial(false)
		io.WriteString(c, head(path, kind, 1000)+"Subject: x\r\n\r\n")
		if got := statusLine(t, c, 20*time.Second); !strings.Contains(got, "408") {
			t.Errorf("%s: %q", path, got)
		}
	}
	if r.count() != 0 {
		t.Error("half a message was accepted")
	}
}

// A client that goes away inside its message has sent none.
func TestBodyCutShort(t *testing.T) {
	r := newRig(t, "")
	for _, path := range []string{"/emails", "/v1/messages?from=a%40example.com&to=b%40example.org", "/v1/messages"} {
		c := r.dial(false)
		kind, body := mediaMail, "From: a@example.com\r\nTo: b@example.org\r\n\r\nhi\r\n"
		if path == "/emails" {
			kind, body = mediaJSON, good
		}
		io.WriteString(c, head(path, kind, len(body)+10)+body)
		c.(*net.TCPConn).CloseWrite()
		if got := statusLine(t, c, 20*time.Second); strings.Contains(got, "200") {
			t.Errorf("%s: %q", path, got)
		}
	}
	if n := r.count(); n != 0 {
		t.Errorf("%d messages were accepted", n)
	}
}

// Large bodies in memory have few places, of which one origin gets half, and
// are counted by origin; what streams is not among them.
func TestLargeBodies(t *testing.T) {
	r := newRig(t, "max_json = 4")
	const size = 3 << 20
	var open []net.Conn
	for range 6 {
		c := r.dial(false)
		io.WriteString(c, head("/emails", mediaJSON, size))
		io.WriteString(c, `{"text":"`+strings.Repeat("x", size*2/3))
		open = append(open, c)
	}
	answers := make(chan string, len(open))
	for _, c := range open {
		go func() { answers <- statusLine(t, c, time.Minute) }()
	}
	for range 4 { // the other two are held, and wait for the rest of their bodies
		if got := <-answers; !strings.Contains(got, "503") {
			t.Errorf("a large body: %q", got)
		}
	}
	if a := r.do(call{path: "/emails", body: good}); a.status != 200 {
		t.Errorf("a small one: %d %s", a.status, a.body)
	}
	large := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72)
	if a := r.do(call{path: "/v1/messages?from=a%40example.com&to=b%40example.org", kind: mediaMail, body: large}); a.status != 200 {
		t.Errorf("one that streams: %d %s", a.status, a.body)
	}
	places := r.server.large.Load()
	if n := places.Used(); n != 2 || len(answers) != 0 {
		t.Errorf("%d places are taken, and %d more were answered", n, len(answers))
	}
	for _, c := range open {
		c.Close()
	}
	// Memory is given back before the place is.
	for deadline := time.Now().Add(20 * time.Second); r.server.memory.Used() != 0 || places.Used() != 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes and %d places are still held", r.server.memory.Used(), places.Used())
		}
	}
	attached := fmt.Sprintf(`{"filename":"a","content":%q}`, strings.Repeat("QUFB", size/4))
	if a := r.do(call{path: "/emails", body: with(`"attachments":[` + attached + `]`)}); a.status != 200 {
		t.Errorf("a large one, later: %d %s", a.status, a.body)
	}
}

// One place is one.
func TestOneLargeBody(t *testing.T) {
	r := newRig(t, "max_json = 1")
	attached := fmt.Sprintf(`{"filename":"a","content":%q}`, strings.Repeat("QUFB", 1<<20))
	for range 2 {
		if a := r.do(call{path: "/emails", body: with(`"attachments":[` + attached + `]`)}); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// A small request is no lever for a thousand large files.
func TestManyLargeMails(t *testing.T) {
	r := newRig(t, "")
	to := strings.TrimSuffix(strings.Repeat(`{"to":[{"email":"ann@example.org"}]},`, 50), ",")
	body := fmt.Sprintf(`{"personalizations":[%s],"from":{"email":"a@example.com"},"content":[{"type":"text/plain","value":%q}]}`, to, strings.Repeat("x", 300<<10))
	if a := r.do(call{path: "/v3/mail/send", body: body}); a.status != 413 || r.count() != 0 {
		t.Errorf("%d %.200s", a.status, a.body)
	}
}

// A wrong token is answered late.
func TestWrongTokenIsAnsweredLate(t *testing.T) {
	r := newRig(t, "")
	began := time.Now()
	if a := r.do(call{path: "/emails", body: good, header: []string{"Authorization: Bearer x"}}); a.status != 403 || time.Since(began) < penalty {
		t.Errorf("%d after %v", a.status, time.Since(began))
	}
}

// Guesses from one place are checked later the more there were; who has the
// right token elsewhere, or has had it there, does not wait.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		all, err := newTokens(&config.HTTP{Tokens: map[string]*config.HTTPToken{"shop": {Name: "shop", Hash: secretHash()}}}, newSecret())
		if err != nil {
			t.Fatal(err)
		}
		here, there := origin.Local(1000), origin.Local(1001)
		if found, fresh, _ := g.check(t.Context(), all, there, secret); found == nil || !fresh {
			t.Fatal("the right token is not known")
		}
		began := time.Now()
		for i := range 12 {
			if found, _, _ := g.check(t.Context(), all, here, fmt.Sprintf("guess %d", i)); found != nil {
				t.Fatal("a guess was right")
			}
		}
		if took := time.Since(began); took < 5*time.Second {
			t.Errorf("12 guesses took %v", took)
		}
		began = time.Now()
		if found, fresh, _ := g.check(t.Context(), all, there, secret); found == nil || fresh || time.Since(began) > 0 {
			t.Errorf("the right one, from elsewhere, after %v", time.Since(began))
		}
		if found, _, _ := g.check(t.Context(), all, here, secret); found == nil || time.Since(began) == 0 {
			t.Errorf("the right one, from where the guesses came, after %v", time.Since(began))
		}
	})
}

// breaking is a store with a bug.
type breaking struct{ submission.Acceptor }

func (breaking) Create(context.Context) (spool.Draft, error) { panic("a bug") }

// A bug ends one request.
func TestPanic(t *testing.T) {
	r := newRigWith(t, "", func(a submission.Acceptor) submission.Acceptor { return breaking{a} })
	for range 2 {
		a := r.do(call{path: "/emails", body: good})
		if a.status != 500 || a.json(t)["name"] != nameDefect || strings.Contains(a.body, "a bug\"") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if n := r.saw("Panicked"); n != 2 {
		t.Errorf("%d panics were told of", n)
	}
}

// broken is a draft whose commit has a bug.
type broken struct{ spool.Draft }

func (broken) Commit(context.Context, *spool.Envelope) error { panic("a bug") }

type brokenCommits struct{ submission.Acceptor }

func (b brokenCommits) Create(ctx context.Context) (spool.Draft, error) {
	d, err := b.Acceptor.Create(ctx)
	return broken{d}, err
}

// The messages of a batch are kept side by side; a bug there ends one request
// too.
func TestPanicInABatch(t *testing.T) {
	r := newRigWith(t, "", func(a submission.Acceptor) submission.Acceptor { return brokenCommits{a} })
	if a := r.do(call{path: "/emails/batch", body: "[" + good + "," + good + "]"}); a.status != 500 || a.json(t)["name"] != nameDefect {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := r.saw("Panicked"); n != 2 {
		t.Errorf("%d panics were told of", n)
	}
}

// A request that is under way is finished by a shutdown.
func TestShutdownDrains(t *testing.T) {
	w := waiting{begun: make(chan struct{}), goOn: make(chan struct{})}
	r := newRigWith(t, "", func(a submission.Acceptor) submission.Acceptor { w.Acceptor = a; return w })
	var got *answered
	var done sync.WaitGroup
	done.Go(func() { got = r.do(call{path: "/emails", body: good}) })
	<-w.begun
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		ended <- r.server.Shutdown(ctx)
	}()
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(w.goOn)
	if done.Wait(); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("unix", r.path); err == nil {
		t.Error("somebody still listens")
	}
}

// Three bytes of JSON can become a struct: so many are not decoded.
func TestManySmallValues(t *testing.T) {
	for name, c := range map[string]struct {
		json string
		want int
	}{
		"objects": {"[" + strings.Repeat("{},", 40_000) + "{}]", 80_002},
		"quoted":  {`{"text":"[[[{{{,,,\"[["}`, 1},
		"escaped": {`{"text":"\\","to":[]}`, 3},
	} {
		if got := values([]byte(c.json)); got != c.want {
			t.Errorf("%s: %d values, want %d", name, got, c.want)
		}
	}
	r := newRig(t, "")
	for path, body := range map[string]string{
		"/emails":       `{"to":[` + strings.Repeat(`"",`, maxValues) + `""]}`,
		"/emails/batch": "[" + strings.Repeat("{},", maxValues) + "{}]",
	} {
		if got := r.do(call{path: path, body: body}); got.status != http.StatusUnprocessableEntity || !strings.Contains(fmt.Sprint(got), "values") {
			t.Errorf("%s: %.200s", path, fmt.Sprint(got))
		}
	}
}

// What is made of a small text takes memory, too, and is counted while it does:
// the tags of HTML that a text is derived from, and addresses.
func TestWhatGrowsIsCounted(t *testing.T) {
	r := newRig(t, "") // whose memory is 64 MiB, of which one origin gets half
	html := func(tags int) string {
		return fmt.Sprintf(`{"from":"a@example.com","to":"b@example.org","subject":"x","html":"x%s"}`, strings.Repeat("<br>", tags))
	}
	cc := func(n int) string {
		return fmt.Sprintf(`{"from":"a@example.com","to":"b@example.org","subject":"x","text":"x","cc":"%s"}`, strings.Repeat("c@example.org,", n))
	}
	for name, c := range map[string]struct {
		body, want string
		status     int
	}{
		"ordinary HTML":       {html(20_000), "id", 200},
		"more tags than room": {html(200_000), "too many large requests", 503},
		"too many tags":       {html(maxTags + 1), "html: has more than 400000 tags", 422},
		"many addresses":      {cc(100_000), "too many recipients", 422},
		"only commas":         {strings.ReplaceAll(cc(100_000), "c@example.org", ""), "too many recipients", 422},
	} {
		if a := r.do(call{path: "/emails", body: c.body}); a.status != c.status || !strings.Contains(string(a.body), c.want) {
			t.Errorf("%s: %d %.200s, want %d", name, a.status, a.body, c.status)
		}
	}
	if n := r.server.memory.Used(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}

// A small document with few rules is no lever for a processor.
func TestInlineStrangeCSS(t *testing.T) {
	r := newRig(t, "")
	for name, c := range map[string]struct {
		html string
		want string
	}{
		"ordinary":      {"<style>p.a{color:red}</style><p class='a'>x", "OK"},
		"deep selector": {"<style>q div div div div div div p{color:red}</style>" + strings.Repeat("<div>", 300) + "<p>x", "InlineCss: it takes too much"},
	} {
		a := r.do(call{path: "/email", body: fmt.Sprintf(`{"From":"a@example.com","To":"b@example.org","HtmlBody":%q,"InlineCss":true}`, c.html)})
		if !strings.Contains(string(a.body), c.want) {
			t.Errorf("%s: %d %.200s", name, a.status, a.body)
		}
	}
}
