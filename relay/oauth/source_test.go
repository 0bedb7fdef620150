package oauth

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/spool/statefile"
)

func TestOneAskServesMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newIDP(t), &witness{}
		p.latency = time.Second
		tokens := New(Options{State: stateIn(t.TempDir()), Transport: p, Events: w.tell})
		up := accountWith(config.FlowClientCredentials)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { mustToken(t, tokens, up, "", "access-token-1") })
		}
		all.Wait()
		mustToken(t, tokens, up, "", "access-token-1")
		if p.asked() != 1 {
			t.Errorf("asked %d times", p.asked())
		}
		obtained, _ := w.told()
		if len(obtained) != 1 || obtained[0].Reason != First || obtained[0].Took < 2*time.Second || obtained[0].Expires.IsZero() {
			t.Errorf("%+v", obtained)
		}
		if ask := p.asks[0]; ask.Get("scope") != "smtp offline_access" || ask.Has("client_secret") ||
			p.basic[0] != "the+client" || !strings.Contains(p.basic[1], "%2F") {
			t.Errorf("%v %v", ask, p.basic)
		}
		// Another process finds it on disk.
		again := New(Options{State: tokens.store.state, Transport: p})
		mustToken(t, again, up, "", "access-token-1")
	})
}

// Whoever leaves does not take the request along: its answer may rotate.
func TestNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		time.Sleep(r.life)
		r.latency = 3 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.tokens.Token(ctx, r.up, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		r.tokens.Wait(t.Context())
		if tok := onDisk(t, r.dir, r.up); tok.Refresh != r.refresh || tok.Access != "access-token-2" {
			t.Error("the rotated token is lost")
		}
		mustToken(t, r.tokens, r.up, "", "access-token-2")
	})
}

func TestRenewedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		mustToken(t, r.tokens, r.up, "", "access-token-1")
		time.Sleep(r.life - earliest - time.Second)
		mustToken(t, r.tokens, r.up, "", "access-token-1")
		if r.asked() != 0 {
			t.Error("asked too early")
		}
		time.Sleep(time.Second)
		mustToken(t, r.tokens, r.up, "", "access-token-2")
		obtained, _ := r.told()
		if len(obtained) != 1 || obtained[0].Reason != Early || !obtained[0].Rotated {
			t.Errorf("%+v", obtained)
		}
		if tok := onDisk(t, r.dir, r.up); tok.Refresh != "refresh-token-2" {
			t.Error("the file has another refresh token than the provider")
		}
		if ask := r.asks[0]; ask.Has("scope") { // RFC 6749 §6: the same as before
			t.Errorf("%v", ask)
		}
	})
}

// A network that is down is no token that is not valid.
func TestNetworkDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		mustToken(t, r.tokens, r.up, "", "access-token-1")
		time.Sleep(r.life - earliest)
		r.set(func() { r.down = syscall.ECONNREFUSED })
		// The old one goes on, and the provider is not asked for each session.
		for range 5 {
			mustToken(t, r.tokens, r.up, "", "access-token-1")
		}
		_, failed := r.told()
		if len(failed) != 1 || failed[0].Kind != Unreachable || failed[0].Until.IsZero() || failed[0].Reason != Early {
			t.Fatalf("%+v", failed)
		}
		if st := r.tokens.Status(t.Context(), r.up); !st.Present || !st.Renewable || st.NeedsLogin || st.Problem == "" {
			t.Errorf("%+v", st)
		}
		time.Sleep(earlyPause)
		mustToken(t, r.tokens, r.up, "", "access-token-1")
		if _, failed := r.told(); len(failed) != 2 {
			t.Errorf("%d attempts", len(failed))
		}
		time.Sleep(earliest)
		e := mustFail(t, r.tokens, r.up, "", Unreachable)
		if !e.Temporary() || !strings.Contains(e.Text, "idp.example cannot be reached") {
			t.Error(e)
		}
		if _, failed := r.told(); !failed[2].Until.IsZero() || failed[2].Reason != Ended {
			t.Errorf("%+v", failed[2])
		}
		// The login is as good as before; only its token has ended.
		if st := r.tokens.Status(t.Context(), r.up); !st.Present || !st.Renewable || st.NeedsLogin || st.Problem == "" {
			t.Errorf("%+v", st)
		}
		r.set(func() { r.down = nil })
		mustToken(t, r.tokens, r.up, "", "access-token-2")
		if st := r.tokens.Status(t.Context(), r.up); st.Problem != "" || !st.Renewable {
			t.Errorf("%+v", st)
		}
	})
}

// The provider does not answer: that ends, too, and is no refusal.
func TestSilentProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP(t)
		p.latency = time.Hour
		tokens := New(Options{State: stateIn(t.TempDir()), Transport: p})
		began := time.Now()
		e := mustFail(t, tokens, accountWith(config.FlowClientCredentials), "", Unreachable)
		if time.Since(began) > askTimeout || e.Text != "idp.example did not answer in time" {
			t.Error(time.Since(began), e)
		}
	})
}

// A token that the upstream refuses is replaced once, for everybody.
func TestRefusedByUpstream(t *testing.T) {
	r := newRelay(t)
	mustToken(t, r.tokens, r.up, "", "access-token-1")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { mustToken(t, r.tokens, r.up, "access-token-1", "access-token-2") })
	}
	all.Wait()
	mustToken(t, r.tokens, r.up, "", "access-token-2")
	if r.asked() != 1 {
		t.Errorf("asked %d times", r.asked())
	}
	// A provider that insists does not make us ask for ever.
	r.set(func() { r.same = true })
	mustToken(t, r.tokens, r.up, "access-token-2", "access-token-2")
	if r.asked() != 2 {
		t.Errorf("asked %d times", r.asked())
	}
}

func TestWithoutAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP(t)
		p.life = 0
		tokens := New(Options{State: stateIn(t.TempDir()), Transport: p})
		up := accountWith(config.FlowClientCredentials)
		mustToken(t, tokens, up, "", "access-token-1")
		time.Sleep(1000 * time.Hour)
		mustToken(t, tokens, up, "", "access-token-1")
		mustToken(t, tokens, up, "access-token-1", "access-token-2")
	})
}

// A refresh token that is revoked needs a person, and only that. When one has
// logged in, in another process, this one finds it.
func TestRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		mustToken(t, r.tokens, r.up, "", "access-token-1")
		r.set(func() { r.refresh = "" })
		e := mustFail(t, r.tokens, r.up, "access-token-1", NeedsLogin)
		if e.Code != "invalid_grant" || !strings.HasSuffix(e.Text, "run `postern upstream login office`") || e.Temporary() {
			t.Error(e)
		}
		if st := r.tokens.Status(t.Context(), r.up); !st.NeedsLogin || st.Renewable {
			t.Errorf("%+v", st)
		}
		if tok := onDisk(t, r.dir, r.up); tok == nil || tok.Refresh != "refresh-token-1" {
			t.Error("what was refused was thrown away")
		}
		other := New(Options{State: stateIn(r.dir), Transport: r.idp})
		if _, err := other.Login(t.Context(), r.up, &typist{}); err != nil {
			t.Fatal(err)
		}
		mustToken(t, r.tokens, r.up, "access-token-1", "access-token-2")
		if st := r.tokens.Status(t.Context(), r.up); st.NeedsLogin || !st.Renewable {
			t.Errorf("%+v", st)
		}
	})
}

func TestNobodyHasLoggedIn(t *testing.T) {
	p := newIDP(t)
	tokens := New(Options{State: stateIn(t.TempDir()), Transport: p})
	up := accountWith(config.FlowCode)
	if st := tokens.Status(t.Context(), up); !st.NeedsLogin || st.Present || st.Renewable {
		t.Errorf("%+v", st)
	}
	if e := mustFail(t, tokens, up, "", NeedsLogin); p.asked() != 0 || len(p.paths) != 0 {
		t.Error("asked in vain", e)
	}
	// A login is nothing to another client, user, or set of scopes.
	tokens = New(Options{State: stateIn(loggedIn(t, p)), Transport: p})
	up = accountWith(config.FlowDevice)
	for name, change := range map[string]func(*config.Account){
		"client": func(u *config.Account) { u.OAuth.ClientID = "another" },
		"user":   func(u *config.Account) { u.Username = "another@example.com" },
		"scopes": func(u *config.Account) { u.OAuth.Scopes = []string{"smtp"} },
		"issuer": func(u *config.Account) { u.OAuth.Issuer += "/realm" },
	} {
		changed, oauth := *up, *up.OAuth
		changed.OAuth = &oauth
		change(&changed)
		if e := mustFail(t, tokens, &changed, "", NeedsLogin); !strings.Contains(e.Text, "another client") {
			t.Error(name, e)
		}
	}
	up.OAuth.Scopes = []string{"offline_access", "smtp"} // another order is the same
	mustToken(t, tokens, up, "", "access-token-1")
}

// Two processes share a folder: who comes second takes what the first got.
func TestTwoProcesses(t *testing.T) {
	p := newIDP(t)
	dir := loggedIn(t, p)
	up := accountWith(config.FlowDevice)
	var both sync.WaitGroup
	for range 4 {
		tokens := New(Options{State: stateIn(dir), Transport: p})
		both.Go(func() { mustToken(t, tokens, up, "access-token-1", "access-token-2") })
	}
	both.Wait()
	if p.asked() != 1 {
		t.Errorf("asked %d times: somebody was locked out", p.asked())
	}
}

// A rotated token that could not be written is used by nobody, and not
// forgotten either.
func TestDiskFails(t *testing.T) {
	for _, at := range []string{"create", "write", "sync", "rename", "sync folder"} {
		t.Run(at, func(t *testing.T) {
			r := newRelay(t)
			broken := true
			r.tokens.store.state.(*statefile.State).Step = func(operation string) error {
				if broken && operation == at {
					return fmt.Errorf("%s: %w", at, syscall.ENOSPC)
				}
				return nil
			}
			e := mustFail(t, r.tokens, r.up, "access-token-1", Local)
			if !errors.Is(e, syscall.ENOSPC) {
				t.Error(e)
			}
			// A crash here leaves the last token or the next, as a whole.
			found := onDisk(t, r.dir, r.up)
			if found == nil || found.Refresh != "refresh-token-1" && found.Refresh != "refresh-token-2" {
				t.Fatal(found)
			}
			if left, _ := filepath.Glob(filepath.Join(r.dir, "oauth", "*.new")); len(left) > 0 {
				t.Error(left)
			}
			mustFail(t, r.tokens, r.up, "access-token-1", Local)
			broken = false
			mustToken(t, r.tokens, r.up, "access-token-1", "access-token-2")
			if r.asked() != 1 {
				t.Errorf("asked %d times: the provider knows only the last token", r.asked())
			}
			if found := onDisk(t, r.dir, r.up); found.Refresh != "refresh-token-2" {
				t.Error("the rotated token is not on disk")
			}
		})
	}
}

// Order: nothing is used before it is written, synced, and has its name.
func TestWrittenBeforeUse(t *testing.T) {
	r := newRelay(t)
	var steps []string
	inUse := make(chan struct{})
	r.tokens.store.state.(*statefile.State).Step = func(operation string) error {
		steps = append(steps, operation)
		select {
		case <-inUse:
			t.Error("in use before " + operation)
		default:
		}
		return nil
	}
	mustToken(t, r.tokens, accountWith(config.FlowDevice), "access-token-1", "access-token-2")
	close(inUse)
	if got := strings.Join(steps, ", "); got != "create, write, sync, rename, sync folder" {
		t.Error(got)
	}
	// A crash at this moment: whoever comes next has the rotated token.
	r.set(func() { r.life = time.Minute })
	next := New(Options{State: stateIn(r.dir), Transport: r.idp})
	mustToken(t, next, accountWith(config.FlowDevice), "access-token-2", "access-token-3")
}

// An unsaved token does not overwrite a newer login.
func TestLoginWhileDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		r.tokens.store.state.(*statefile.State).Step = func(string) error { return syscall.EIO }
		mustFail(t, r.tokens, r.up, "access-token-1", Local)
		if _, err := New(Options{State: stateIn(r.dir), Transport: r.idp}).Login(t.Context(), r.up, &typist{}); err != nil {
			t.Fatal(err)
		}
		r.tokens.store.state.(*statefile.State).Step = nil
		mustToken(t, r.tokens, r.up, "access-token-1", "access-token-3")
	})
}

// Nothing of a secret or a token comes out, however talkative the provider.
func TestSecretsStayIn(t *testing.T) {
	r := newRelay(t)
	echo := func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		text := fmt.Sprintf("%v %v %s", r.Form, r.Header, r.Form.Encode())
		writeJSON(w, 400, map[string]any{"error": "invalid_grant", "error_description": text})
	}
	r.up.OAuth.ClientSecret = config.NewSecret(clientSecret)
	r.document = map[string]any{"token_endpoint_auth_methods_supported": []string{"client_secret_post"}}
	var out []string
	for _, answer := range []func(http.ResponseWriter, *http.Request){
		echo,
		func(w http.ResponseWriter, r *http.Request) { // not JSON
			w.WriteHeader(400)
			_, _ = w.Write([]byte("refresh-token-1 " + clientSecret))
		},
		func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"refresh_token": "refresh-token-9"`))
		},
		func(w http.ResponseWriter, r *http.Request) {
			writeJSON(w, 200, map[string]any{"access_token": "refresh-token-1 \x01", "token_type": "bearer"})
		},
		refuse(400, "refresh-token-1", "access-token-1"),
		refuse(400, "invalid_grant", hex.EncodeToString([]byte("refresh-token-1"))),
		refuse(400, "invalid_grant", "1-n-e-k-o-t-h-s-e-r-f-e-r"),
		refuse(400, "invalid_grant", base64.StdEncoding.EncodeToString([]byte("a:"+clientSecret))),
	} {
		r.set(func() { r.answers = append(r.answers, answer) })
		_, err := r.tokens.Token(t.Context(), r.up, "access-token-1")
		if err == nil {
			t.Fatal("no error")
		}
		out = append(out, err.Error(), fmt.Sprintf("%+v %#v %v", err, err, r.tokens.Status(t.Context(), r.up)))
	}
	_, failed := r.told()
	out = append(out, fmt.Sprintf("%+v %v", failed, onDisk(t, r.dir, r.up)), fmt.Sprintf("%#v", onDisk(t, r.dir, r.up)))
	for _, text := range out {
		for _, secret := range []string{"refresh-token", clientSecret, "cl1ent", "access-token-1 "} {
			if strings.Contains(text, secret) {
				t.Errorf("%q shows %q", text, secret)
			}
		}
	}
	if n := strings.Count(strings.Join(out, "\n"), concealed); n < 3 {
		t.Errorf("%d disguises were noticed", n)
	}
	if !strings.Contains(out[0], "[secret]") {
		t.Errorf("nothing was hidden in %q, so this test shows nothing", out[0])
	}
	for _, pattern := range []string{"*", "oauth/*"} {
		files, err := filepath.Glob(filepath.Join(r.dir, pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			content, _ := os.ReadFile(file)
			if strings.Contains(string(content), "token-1") {
				t.Errorf("%s is not sealed", file)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   Kind
	}{
		{400, "invalid_grant", NeedsLogin},
		{400, "interaction_required", NeedsLogin},
		{400, "consent_required", NeedsLogin},
		{401, "invalid_client", Refused},
		{400, "unauthorized_client", Refused},
		{400, "invalid_scope", Refused},
		{403, "access_denied", Refused},
		{400, "temporarily_unavailable", Unreachable},
		{400, "slow_down", Unreachable},
		{429, "invalid_grant", Unreachable}, // throttled, whatever it says
		{503, "", Unreachable},
		{500, "invalid_client", Unreachable},
		{404, "", Unreachable},
		{302, "", Unreachable},
		{400, "something_new", Unreachable},
		{200, "invalid_grant", NeedsLogin}, // some answer 200 with an error
	} {
		p := newIDP(t)
		dir := loggedIn(t, p)
		answer := refuse(c.status, c.code, "")
		if c.code == "" {
			answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.status) }
		}
		p.answers = append(p.answers, answer)
		tokens := New(Options{State: stateIn(dir), Transport: p})
		e := mustFail(t, tokens, accountWith(config.FlowDevice), "access-token-1", c.want)
		if want := fmt.Sprint(c.status); c.code == "" && !strings.Contains(e.Text, want) || !strings.Contains(e.Text, c.code) {
			t.Errorf("%+v: %v", c, e)
		}
		mustToken(t, tokens, accountWith(config.FlowDevice), "access-token-1", "access-token-2")
	}
}

// Where nobody logs in, nobody is asked to.
func TestRefusedWithoutAPerson(t *testing.T) {
	p := newIDP(t)
	p.answers = append(p.answers, refuse(400, "invalid_grant", "Invalid JWT Signature."))
	e := mustFail(t, New(Options{State: stateIn(t.TempDir()), Transport: p}), accountWith(config.FlowClientCredentials), "", Refused)
	if strings.Contains(e.Text, "login") || !strings.Contains(e.Text, "clock") {
		t.Error(e)
	}
}

// The clock of a provider is told of.
func TestDates(t *testing.T) {
	p := newIDP(t)
	dated := transport(func(r *http.Request) (*http.Response, error) {
		answer, err := p.RoundTrip(r)
		if err == nil {
			answer.Header.Set("Date", "Sun, 01 Mar 2026 12:00:00 GMT")
		}
		return answer, err
	})
	var told []string
	tokens := New(Options{State: stateIn(t.TempDir()), Transport: dated, Dates: func(host string, date time.Time) {
		told = append(told, host+" "+date.Format(time.RFC3339))
	}})
	up := accountWith(config.FlowClientCredentials)
	mustToken(t, tokens, up, "", "access-token-1")
	tokens.Wait(t.Context())
	if len(told) == 0 || !strings.HasSuffix(told[0], " 2026-03-01T12:00:00Z") {
		t.Error(told)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A login is for the server that it was made for; what a client gets by itself
// is not.
func TestLoginIsForOneServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		r.up.Server = "evil.example"
		mustFail(t, r.tokens, r.up, "", NeedsLogin)
		if r.asked() != 0 {
			t.Error("the provider was asked")
		}
		for _, flow := range []config.Flow{config.FlowClientCredentials, config.FlowServiceAccount} {
			a, b := accountWith(flow), accountWith(flow)
			if b.Server = "other.example"; identity(a) != identity(b) {
				t.Errorf("%s: they differ", flow)
			}
		}
	})
}
