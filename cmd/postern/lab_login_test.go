//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"postern/queue"
)

const idp = "http://localhost:9998"

// byPerson is an upstream into which somebody has to log in.
func byPerson(auth, flow, client, more string) string {
	return fmt.Sprintf(`%sauth = %q
username = "alice@postern.test"
[upstream.office.oauth]
provider = "generic"
issuer = %q
flow = %q
client_id = %q
scopes = ["openid", "email", "offline_access"]
%s
`, atDovecot, auth, idp, flow, client, more)
}

// browser is alice's.
type browser struct {
	t      *testing.T
	client *http.Client
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, Timeout: waitLimit}}
}

// page reads an answer, which has to be a good one.
func (b *browser) page(resp *http.Response, err error) string {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 400 {
		b.t.Fatalf("%s: %v\n%s", resp.Status, err, text)
	}
	return string(text)
}

func (b *browser) allowDevice(code string) {
	b.t.Helper()
	b.page(b.client.PostForm(idp+"/device/login",
		url.Values{"user_code": {code}, "username": {"alice@postern.test"}, "password": {"alice-at-idp"}}))
	if said := b.page(b.client.PostForm(idp+"/device/confirm", url.Values{"action": {"allowed"}})); !strings.Contains(said, "allowed") {
		b.t.Fatal(said)
	}
}

var formID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// logIn fills in the form at address and returns what it leads to.
func (b *browser) logIn(address string) (*http.Response, error) {
	b.t.Helper()
	id := formID.FindStringSubmatch(b.page(b.client.Get(address)))
	if id == nil {
		b.t.Fatal("no form to log in")
	}
	return b.client.PostForm(idp+"/login/username",
		url.Values{"id": {id[1]}, "username": {"alice@postern.test"}, "password": {"alice-at-idp"}})
}

// atProvider tells the provider what to do with its tokens.
func atProvider(t *testing.T, what string) {
	t.Helper()
	b := newBrowser(t)
	b.page(b.client.Post(idp+"/lab/"+what, "", nil))
}

// login is `postern upstream login office`, or that of a book, at a terminal.
type login struct {
	t      *testing.T
	cmd    *exec.Cmd
	typing io.WriteCloser
	lines  *bufio.Reader
	shown  strings.Builder
}

func (h *harness) login() *login { return h.loginTo("upstream", "login", "office") }

func (h *harness) loginTo(command ...string) *login {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*waitLimit)
	h.t.Cleanup(cancel)
	l := &login{t: h.t, cmd: h.command(ctx, command...)}
	out, err := l.cmd.StdoutPipe()
	if err == nil {
		l.typing, err = l.cmd.StdinPipe()
	}
	if err == nil {
		l.cmd.Stderr = &l.shown
		err = l.cmd.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	l.lines = bufio.NewReader(out)
	return l
}

// indented returns the next line that it sets off.
func (l *login) indented() string {
	l.t.Helper()
	for {
		line, err := l.lines.ReadString('\n')
		l.shown.WriteString(line)
		if err != nil {
			l.t.Fatalf("it ended: %v\n%s", err, l.shown.String())
		}
		if text, ok := strings.CutPrefix(line, "  "); ok {
			return strings.TrimSpace(text)
		}
	}
}

// succeeds waits for its end.
func (l *login) succeeds() {
	l.t.Helper()
	l.ends("Logged in")
}

func (l *login) ends(with string) {
	l.t.Helper()
	rest, _ := io.ReadAll(l.lines)
	l.shown.Write(rest)
	if err := l.cmd.Wait(); err != nil || !strings.Contains(l.shown.String(), with) {
		l.t.Fatalf("%v\n%s", err, l.shown.String())
	}
}

func (h *harness) deviceLogin() {
	h.t.Helper()
	h.login().byDevice("Logged in")
}

func (l *login) byDevice(ends string) {
	l.t.Helper()
	if address := l.indented(); !strings.HasPrefix(address, idp) {
		l.t.Error(address)
	}
	newBrowser(l.t).allowDevice(l.indented())
	l.ends(ends)
}

// The life of a login at a real provider, whose tokens a real server has it
// check: by device, a token taken back, one that ends soon, a refresh token
// that rotates and outlives a kill, and a login that was taken back.
func TestLabLogin(t *testing.T) {
	needsLab(t)
	listen, log := freeAddr(t), watch(t, "dovecot")
	h := newLabHarness(t, listen, byPerson("xoauth2", "device", "device", `client_secret_file = "DIR/device.secret"`))
	h.start()
	goes := func(what string) {
		t.Helper()
		send(t, listen, "alice@postern.test", what)
		eventually(t, what+": the mail goes out", func() bool { return len(h.queued()) == 0 })
	}
	renewals := func(reason string) int {
		n := 0
		for line := range strings.Lines(h.log.String()) {
			if strings.Contains(line, "token-obtained") && strings.Contains(line, `"reason":"`+reason+`"`) &&
				strings.Contains(line, `"rotated":true`) {
				n++
			}
		}
		return n
	}

	send(t, listen, "alice@postern.test", "before anybody has logged in")
	eventually(t, "the upstream is parked", func() bool { return h.office().State == queue.Parked })
	h.deviceLogin()
	eventually(t, "the mail goes out after the login", func() bool { return len(h.queued()) == 0 })
	if !log.has("user=<alice@postern.test>, method=XOAUTH2") {
		t.Error("the server knows nothing of it")
	}

	h.kill()
	h.start()
	atProvider(t, "revoke?what=access")
	atProvider(t, "life?seconds=3")
	goes("a revoked token")
	if n := renewals("refused"); n != 1 {
		t.Errorf("%d tokens instead of the revoked one", n)
	}
	h.kill() // the provider has forgotten the last refresh token already
	h.start()
	goes("a token that has ended, and a rotated refresh token")
	atProvider(t, "life?seconds=300")
	h.kill()
	h.start()
	goes("and another")
	if n := renewals("expired") + renewals("first"); n < 2 {
		t.Errorf("%d tokens instead of those that had ended", n)
	}

	h.stop()
	atProvider(t, "revoke?what=both")
	before := strings.Count(h.log.String(), `"state":"parked"`)
	h.start()
	send(t, listen, "alice@postern.test", "a login that was taken back")
	eventually(t, "the upstream is parked again", func() bool { return h.office().State == queue.Parked })
	lane := h.office()
	if !strings.Contains(lane.Reason, "invalid_grant") || !strings.Contains(lane.Reason, "postern upstream login office") ||
		!lane.Token.NeedsLogin || len(h.queued()) != 1 {
		t.Errorf("%+v %+v", lane, lane.Token)
	}
	if n := strings.Count(h.log.String(), `"state":"parked"`) - before; n != 1 {
		t.Errorf("%d alerts", n)
	}
	h.deviceLogin()
	eventually(t, "the kept mail goes out", func() bool { return len(h.queued()) == 0 })
	h.stop()
}

// The authorization code with PKCE: the browser comes back by itself, or what
// it shows is pasted.
func TestLabCodeLogin(t *testing.T) {
	needsLab(t)
	for _, pasted := range []bool{false, true} {
		t.Run(fmt.Sprintf("pasted %v", pasted), func(t *testing.T) {
			listen, log := freeAddr(t), watch(t, "dovecot")
			h := newLabHarness(t, listen, byPerson("oauthbearer", "code", "native", `redirect_url = "http://127.0.0.1/auth/callback"`))
			h.start()
			send(t, listen, "alice@postern.test", "before anybody has logged in")
			eventually(t, "the upstream is parked", func() bool { return h.office().State == queue.Parked })
			l, b := h.login(), newBrowser(t)
			shown := l.indented()
			if !strings.Contains(shown, "code_challenge_method=S256") {
				t.Error(shown)
			}
			if pasted {
				b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
					if r.URL.Hostname() == "127.0.0.1" { // the page that cannot be shown
						return http.ErrUseLastResponse
					}
					return nil
				}
				resp, err := b.logIn(shown)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if _, err := fmt.Fprintln(l.typing, resp.Header.Get("Location")); err != nil {
					t.Fatal(err)
				}
			} else if said := b.page(b.logIn(shown)); !strings.Contains(said, "Postern has the answer") {
				t.Error(said)
			}
			l.succeeds()
			eventually(t, "the mail goes out", func() bool { return len(h.queued()) == 0 })
			if !log.has("method=OAUTHBEARER") {
				t.Error("the server knows nothing of it")
			}
			h.stop()
		})
	}
}
