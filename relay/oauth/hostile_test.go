package oauth

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/config/wire"
)

// hostileIssuer is this machine, which may be asked without TLS.
const hostileIssuer = "http://127.0.0.1:9"

// hostileProvider answers with bytes, over connections in the time of synctest.
type hostileProvider struct {
	t      *testing.T
	at     string // the path that is answered with say
	say    func(w io.Writer, r *http.Request) error
	open   sync.WaitGroup
	mu     sync.Mutex
	dialed []string
	asked  int // at the path
}

func (p *hostileProvider) transport() *http.Transport {
	t := newTransport()
	t.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
		p.mu.Lock()
		p.dialed = append(p.dialed, address)
		p.mu.Unlock()
		ours, theirs := net.Pipe()
		p.open.Go(func() {
			defer theirs.Close()
			p.serve(theirs)
		})
		return ours, nil
	}
	return t
}

func (p *hostileProvider) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == p.at {
			p.mu.Lock()
			p.asked++
			p.mu.Unlock()
			_ = p.say(c, r)
			return
		}
		body := `{"issuer": "http://127.0.0.1:9", "token_endpoint": "http://127.0.0.1:9/token",
			"device_authorization_endpoint": "http://127.0.0.1:9/device", "authorization_endpoint": "http://127.0.0.1:9/auth"}`
		if r.URL.Path == "/device" {
			body = `{"device_code": "d", "user_code": "ABCD", "verification_uri": "http://127.0.0.1:9/activate", "expires_in": 600, "interval": 5}`
		}
		status := "200 OK"
		if r.URL.Path == "/token" {
			status, body = "400 No", `{"error":"authorization_pending"}`
		}
		fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
	}
}

// without gives what lines say, without end.
func without(end string, pause time.Duration, lines ...string) func(io.Writer, *http.Request) error {
	return func(w io.Writer, _ *http.Request) error {
		_, err := io.WriteString(w, strings.Join(lines, "\r\n"))
		for err == nil {
			_, err = io.WriteString(w, end)
			time.Sleep(pause)
		}
		return err
	}
}

func saying(kind, body string) func(io.Writer, *http.Request) error {
	return func(w io.Writer, _ *http.Request) error {
		_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, len(body), body)
		return err
	}
}

func leading(to string) func(io.Writer, *http.Request) error {
	return func(w io.Writer, _ *http.Request) error {
		_, err := fmt.Fprintf(w, "HTTP/1.1 307 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", to)
		return err
	}
}

// hostileAnswers are what each of the questions to a provider can be answered
// with. None of them is a token, a document or a code.
var hostileAnswers = map[string]func(io.Writer, *http.Request) error{
	"body without end":             without(strings.Repeat("x", 64<<10), 0, "HTTP/1.1 200 OK", "Content-Type: application/json", "", `{"access_token":"`),
	"token of 10 MB":               saying("application/json", `{"token_type":"Bearer","access_token":"`+strings.Repeat("x", 10<<20)+`"}`),
	"spaces without end":           without(strings.Repeat(" ", 64<<10), 0, "HTTP/1.1 200 OK", "Content-Type: application/json", "", ""),
	"chunks without end":           without("1;"+strings.Repeat("x", 1000)+"\r\n{\r\n", 0, "HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", ""),
	"header lines without end":     without("X: "+strings.Repeat("x", 1000)+"\r\n", 0, "HTTP/1.1 200 OK", ""),
	"a header without end":         without(strings.Repeat("x", 64<<10), 0, "HTTP/1.1 200 OK", "X: "),
	"early hints without end":      without("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", 0),
	"100 Continue without end":     without("HTTP/1.1 100 Continue\r\n\r\n", 0),
	"a body a byte at a time":      without("1", 5*time.Second, "HTTP/1.1 200 OK", "Content-Type: application/json", "", "{"),
	"header a byte at a time":      without("x", 5*time.Second, "HTTP/1.1 200 OK", "X: "),
	"header lines now and then":    without("X: y\r\n", 5*time.Second, "HTTP/1.1 200 OK", ""),
	"trailers without end":         without("X: y\r\n", 0, "HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: X", "", "0", ""),
	"nested 400,000 deep":          saying("application/json", `{"access_token":`+strings.Repeat("[", 400_000)),
	"another nesting":              saying("application/json", `{"a":`+strings.Repeat(`{"a":`, 150_000)),
	"400,000 numbers":              saying("application/json", `{"issuer":[`+strings.Repeat("1,", 400_000)+"1]}"),
	"a number of a million digits": saying("application/json", `{"expires_in":`+strings.Repeat("9", 1_000_000)+"}"),
	"wrong types":                  saying("application/json", `{"issuer":1,"access_token":["a"],"device_code":{},"user_code":7,"expires_in":{},"interval":"x"}`),
	"not an object":                saying("application/json", `["Bearer"]`),
	"null":                         saying("application/json", `null`),
	"nothing":                      saying("application/json", ``),
	"half of what is promised":     without("x", 5*time.Second, "HTTP/1.1 200 OK", "Content-Length: 1000", "", "{"),
	"two lengths":                  without("x", 0, "HTTP/1.1 200 OK", "Content-Length: 10", "Content-Length: 20", "", "{"),
	"no HTTP":                      without("220 mx.example ESMTP\r\n", 0),
	"a redirect to elsewhere":      leading("https://evil.example/token"),
	"a redirect without TLS":       leading("http://idp.example/token"),
	"a redirect to itself":         leading(hostileIssuer + "/token"),
	"compressed without end": func(w io.Writer, _ *http.Request) error {
		_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n")
		z := gzip.NewWriter(w)
		for block := []byte(strings.Repeat(" ", 1<<20)); err == nil; {
			_, err = z.Write(block)
		}
		return err
	},
}

// heavy are those that cost a processor time, of the test most of all.
var heavy = []string{"compressed without end", "token of 10 MB", "a number of a million digits", "400,000 numbers", "another nesting", "body without end"}

// Whatever a provider answers to each of the three questions: it ends in the
// time of one question, in little memory, with an error, and nobody else is
// asked.
func TestHostileProvider(t *testing.T) {
	for _, at := range []string{"/.well-known/openid-configuration", "/device", "/token"} {
		for name, say := range hostileAnswers {
			t.Run(at+" "+name, func(t *testing.T) {
				if at != "/token" && slices.Contains(heavy, name) && os.Getenv("POSTERN_LONG") == "" {
					t.Skip("takes long; POSTERN_LONG=1 runs it")
				}
				synctest.Test(t, func(t *testing.T) {
					p := &hostileProvider{t: t, at: at, say: say}
					up := accountWith(config.FlowClientCredentials)
					if at == "/device" {
						up = accountWith(config.FlowDevice)
					}
					up.OAuth.Issuer = hostileIssuer
					tokens := New(Options{State: stateIn(t.TempDir()), Transport: p.transport()})
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					began := time.Now()
					var err error
					if at == "/device" {
						_, err = tokens.Login(t.Context(), up, &typist{})
					} else {
						_, err = tokens.Token(t.Context(), up, "")
					}
					took := time.Since(began)
					runtime.ReadMemStats(&after)
					var e *Error
					if !errors.As(err, &e) || len(e.Text) > 600 || strings.ContainsAny(e.Text, "\r\n\x1b") {
						t.Errorf("%v", err)
					}
					if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; took > askTimeout || mib > 64 {
						t.Errorf("it took %v and %d MiB", took, mib)
					}
					p.open.Wait() // nothing of it goes on
					for _, address := range p.dialed {
						if address != "127.0.0.1:9" {
							t.Errorf("%s is asked, too", address)
						}
					}
					if p.asked != 1 {
						t.Errorf("it is asked %d times", p.asked)
					}
				})
			})
		}
	}
}

// Lives of tokens that make no sense cost one question for each sign-in at
// most, and never a token.
func TestStrangeLives(t *testing.T) {
	for _, life := range []string{"-1", "0", "1", "-9223372036854775808", "9223372036854775807", "2147483648", "99999999999", "1e3", "\"3600\"", "null"} {
		for _, form := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				say := saying("application/json", `{"access_token":"a","token_type":"Bearer","expires_in":`+life+`}`)
				if form {
					say = saying("application/x-www-form-urlencoded", "access_token=a&token_type=bearer&expires_in="+life)
				}
				p := &hostileProvider{t: t, at: "/token", say: say}
				up := accountWith(config.FlowClientCredentials)
				up.OAuth.Issuer = hostileIssuer
				tokens := New(Options{State: stateIn(t.TempDir()), Transport: p.transport()})
				for range 5 {
					if got, err := tokens.Token(t.Context(), up, ""); err == nil && got != "a" {
						t.Errorf("%s: %q", life, got)
					}
				}
				if p.asked > 5 {
					t.Errorf("%s: asked %d times", life, p.asked)
				}
				_ = tokens.Status(t.Context(), up)
				p.open.Wait()
			})
		}
	}
}

// A device that is told strange times is polled neither often nor for longer
// than a person has.
func TestStrangeDevices(t *testing.T) {
	for _, answer := range []string{
		`"expires_in":-1,"interval":5`, `"expires_in":9223372036854775807,"interval":9223372036854775807`, `"expires_in":600,"interval":-5`,
		`"expires_in":"600","interval":0`, `"interval":0.0001`, `"expires_in":0,"interval":18446744073709551615`, `"interval":9223372037`,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &hostileProvider{t: t, at: "/device", say: saying("application/json", `{"device_code":"d","user_code":"ABCD","verification_uri":"`+hostileIssuer+`/a",`+answer+`}`)}
			up := accountWith(config.FlowDevice)
			up.OAuth.Issuer = hostileIssuer
			polls := 0
			counted := observer{p.transport(), func(r *http.Request) {
				if r.URL.Path == "/token" {
					polls++
				}
			}}
			began := time.Now()
			_, err := New(Options{State: stateIn(t.TempDir()), Transport: counted}).Login(t.Context(), up, &typist{})
			if err == nil || time.Since(began) > loginTimeout+time.Second || polls > int(loginTimeout/defaultInterval) {
				t.Errorf("%s: %v after %v and %d polls", answer, err, time.Since(began), polls)
			}
			p.open.Wait()
		})
	}
}

// A person is shown no code and no address that can't be followed as it stands, or
// that leads elsewhere than into a page of TLS.
func TestStrangeCodes(t *testing.T) {
	long := strings.Repeat("A", 400_000)
	const page = hostileIssuer + "/activate"
	for name, c := range map[string]struct{ code, address string }{
		"escape in the code":        {`AB\u001b]52;c;eA==\u0007`, page},
		"line feed in the code":     {`AB\nCD`, page},
		"C1 in the code":            {`AB\u009b31m`, page},
		"turned around":             {`\u202eDCBA`, page},
		"invisible in the code":     {`AB\u200bCD`, page},
		"blanks around the code":    {` ABCD `, page},
		"a long code":               {long, page},
		"no code":                   {"", page},
		"a script":                  {"ABCD", "javascript:alert(1)"},
		"a script with a host":      {"ABCD", `javascript://idp.example/%0aalert(1)`},
		"a file":                    {"ABCD", "file:///etc/passwd"},
		"a file of a host":          {"ABCD", "file://idp.example/x"},
		"data":                      {"ABCD", "data:text/html,x"},
		"without TLS":               {"ABCD", "http://idp.example/activate"},
		"in the name of a user":     {"ABCD", "https://login.example@evil.example/"},
		"relative":                  {"ABCD", "/activate"},
		"of any scheme":             {"ABCD", "//idp.example/activate"},
		"line feed in the address":  {"ABCD", `https://idp.example/a\nb`},
		"blank in the address":      {"ABCD", `https://idp.example/a  b`},
		"escape in the address":     {"ABCD", `https://idp.example/\u001b[2J`},
		"C1 in the address":         {"ABCD", `https://idp.example/\u009b2J`},
		"address turned around":     {"ABCD", `https://idp.example/\u202etxt`},
		"invisible in the address":  {"ABCD", `https://idp\u200b.example/`},
		"a long address":            {"ABCD", "https://idp.example/" + long},
		"no address":                {"ABCD", ""},
		"an address twice":          {"ABCD", page + `","verification_uri":"javascript:alert(1)`},
		"an address by two members": {"ABCD", `","verification_url":"javascript:alert(1)`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &hostileProvider{t: t, at: "/device", say: saying("application/json", `{"device_code":"d","user_code":"`+c.code+`","verification_uri":"`+c.address+`"}`)}
				up := accountWith(config.FlowDevice)
				up.OAuth.Issuer = hostileIssuer
				person := &typist{}
				_, err := New(Options{State: stateIn(t.TempDir()), Transport: p.transport()}).Login(t.Context(), up, person)
				var e *Error
				if !errors.As(err, &e) || e.Kind != Refused || person.address != "" || person.code != "" {
					t.Errorf("%v; shown: %.100q %.100q", err, person.address, person.code)
				}
				p.open.Wait()
			})
		})
	}
	for address, want := range map[string]bool{"https://idp.example/device": true, "http://127.0.0.1:631/": false, "https://localhost/": false, "https://[::1]/": false} {
		if c := (&client{at: endpoints{device: "https://idp.example/code"}}); c.leads(address) != want {
			t.Errorf("a provider elsewhere leads to %s: %v", address, !want)
		}
	}
}

// Whatever a provider says while a code is typed, the login ends in its time, and what
// is told of it is one short line.
func TestStrangeWaiting(t *testing.T) {
	long := strings.Repeat("x", 900_000)
	for name, c := range map[string]struct {
		body  string
		polls int // at most
	}{
		"slow down without end":    {`{"error":"slow_down"}`, 20},
		"pending without end":      {`{"error":"authorization_pending"}`, 121},
		"pending, and a long text": {`{"error":"authorization_pending","error_description":"` + long[:200_000] + `"}`, 121},
		"a long error":             {`{"error":"` + long + `"}`, 121},
		"a long text":              {`{"error":"access_denied","error_description":"` + long + `"}`, 1},
		"controls in an error":     {`{"error":"x\u001b]0;t\u0007\u009b31m\u202e\r\n","error_description":"\u001b[2J\u0000\r\n\u200b","error_uri":"javascript:x"}`, 121},
		"two errors":               {`{"error":"access_denied","error":"authorization_pending","error":"access_denied"}`, 1},
		"an error and a token":     {`{"error":"invalid_grant","access_token":"a","refresh_token":"r","token_type":"Bearer"}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &hostileProvider{t: t, at: "/token", say: func(w io.Writer, _ *http.Request) error {
					_, err := fmt.Fprintf(w, "HTTP/1.1 400 No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(c.body), c.body)
					return err
				}}
				up := accountWith(config.FlowDevice)
				up.OAuth.Issuer = hostileIssuer
				began := time.Now()
				_, err := New(Options{State: stateIn(t.TempDir()), Transport: p.transport()}).Login(t.Context(), up, &typist{})
				took := time.Since(began)
				p.open.Wait()
				var e *Error
				if !errors.As(err, &e) || len(e.Text) > 600 || len(e.Code) > 600 || wire.Text(e.Text+e.Code, 2000) != e.Text+e.Code {
					t.Errorf("%q", err)
				}
				if took > loginTimeout || p.asked > c.polls {
					t.Errorf("%d polls in %v", p.asked, took)
				}
			})
		})
	}
}

// What would be more than a token never gets into a line of AUTH or into a file.
func TestStrangeTokens(t *testing.T) {
	for name, body := range map[string]string{
		"a line feed":             `{"access_token":"a\r\nRCPT TO:<x>","token_type":"Bearer"}`,
		"a blank":                 `{"access_token":"a b","token_type":"Bearer"}`,
		"NUL":                     `{"access_token":"a\u0000b","token_type":"Bearer"}`,
		"the end of a field":      `{"access_token":"a\u0001auth=x","token_type":"Bearer"}`,
		"other letters":           `{"access_token":"\u00e4","token_type":"Bearer"}`,
		"a long one":              `{"access_token":"` + strings.Repeat("x", maxToken+1) + `","token_type":"Bearer"}`,
		"a refresh token":         `{"access_token":"a","refresh_token":"r\r\n","token_type":"Bearer"}`,
		"a long refresh token":    `{"access_token":"a","refresh_token":"` + strings.Repeat("x", maxToken+1) + `","token_type":"Bearer"}`,
		"another kind":            `{"access_token":"a","token_type":"mac"}`,
		"a kind with a line feed": `{"access_token":"a","token_type":"Bearer\r\n"}`,
		"a good one, then not":    `{"access_token":"a","access_token":"b\r\n","token_type":"Bearer"}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &hostileProvider{t: t, at: "/token", say: saying("application/json", body)}
			up := accountWith(config.FlowDevice)
			up.OAuth.Issuer = hostileIssuer
			state := t.TempDir()
			got, err := New(Options{State: stateIn(state), Transport: p.transport()}).Login(t.Context(), up, &typist{})
			var e *Error
			if !errors.As(err, &e) || strings.ContainsAny(e.Text, "\r\n\x00") {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			p.open.Wait()
			if kept, _ := filepath.Glob(filepath.Join(state, "*", "*.json")); len(kept) > 0 {
				t.Errorf("%s: kept in %s", name, kept)
			}
		})
	}
}
