package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"

	"postern/config"
)

// TestMain is the process that speaks to a service, where a test has it called.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], ServeArguments) {
		if Serve(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func service(address string) *Service {
	return &Service{config.NewSecret(address), os.Args[0]}
}

// TestAlertServices: what the configuration takes is what the library has, but
// for its mail and its log.
func TestAlertServices(t *testing.T) {
	all := slices.DeleteFunc((&router.ServiceRouter{}).ListServices(), func(s string) bool { return s == "smtp" || s == "logger" })
	slices.Sort(all)
	if !slices.Equal(all, config.AlertServices) {
		t.Errorf("the library has %q", all)
	}
	for _, list := range [][]string{titled, hosted} {
		for _, s := range list {
			if !slices.Contains(all, s) {
				t.Errorf("there is no %q", s)
			}
		}
	}
}

// TestServices: each service that can be at this machine gets the alert.
func TestServices(t *testing.T) {
	var mu sync.Mutex
	var path, got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		path, got = r.URL.Path, r.Header.Get("Title")+" "+string(body)
		switch {
		case strings.HasSuffix(path, "/login"):
			fmt.Fprint(w, `{"access_token":"x","home_server":"h","user_id":"u","flows":[{"type":"m.login.password"}]}`)
		case strings.HasSuffix(path, "joined_rooms"):
			fmt.Fprint(w, `{"joined_rooms":["!room:h"]}`)
		case strings.HasPrefix(path, "/push"):
			fmt.Fprint(w, `{"code":200,"message":"success"}`)
		case strings.HasPrefix(path, "/hooks/"):
			fmt.Fprint(w, `ok`)
		default:
			fmt.Fprint(w, `{"id":1,"result":"success","success":true}`)
		}
	}))
	defer s.Close()
	at := strings.TrimPrefix(s.URL, "http://")
	for _, c := range []struct{ address, path string }{
		{"generic+http://" + at + "/hook/t0ken?title=x", "/hook/t0ken"},
		{"generic://" + at + "/hook?disabletls=yes&template=json", "/hook"},
		{"ntfy://" + at + "/t0pic?scheme=http", "/t0pic"},
		{"gotify://" + at + "/AbCdEfGhIjKlMnO?disabletls=yes", "/message"},
		{"mattermost://bot@" + at + "/t0ken?disabletls=yes", "/hooks/t0ken"},
		{"bark://:key@" + at + "/?scheme=http", "/push"},
		{"matrix://user:hunter2@" + at + "/?rooms=!room:h&disabletls=yes", "/_matrix/client"},
		{"signal://" + at + "/+4912345678/+4987654321?disabletls=yes", "/v2/send"},
	} {
		t.Run(c.address[:strings.Index(c.address, ":")], func(t *testing.T) {
			if err := serve(&job{c.address, Title("relay.example.com", example), Text("relay.example.com", example, time.Unix(1700000200, 0))}); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !strings.HasPrefix(path, c.path) || !strings.Contains(got, "it is parked") || !strings.Contains(got, "postern upstream test office") {
				t.Errorf("%s: %s", path, got)
			}
		})
	}
}

// TestServiceProcess: the process of its own tells the service.
func TestServiceProcess(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, "{}")
		got = r.Header.Get("Title") + "|" + string(body)
	}))
	defer s.Close()
	if err := service(strings.Replace(s.URL, "http", "ntfy", 1)+"/topic?scheme=http").Send(t.Context(), "relay.example.com", example); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(got, "[relay.example.com] critical: it is parked|The mail relay relay.example.com: ") {
		t.Errorf("%q", got)
	}
}

// TestHostileService: one that answers without end, one that never does, one
// that is away and one that refuses are errors within their time, without
// anything of the address.
func TestHostileService(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/s3cretpath/endless":
			for block := make([]byte, 1<<20); r.Context().Err() == nil; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		case "/s3cretpath/silent":
			select {
			case <-r.Context().Done():
			case <-release:
			}
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "you, s3cretpath, may not \x1b[2J")
		}
	}))
	defer s.Close()
	defer close(release)
	send := func(path string, limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return service("generic+"+s.URL+"/s3cretpath/"+path+"?token=S3cretValue").Send(ctx, "r", example)
	}
	for _, c := range []struct {
		path  string
		limit time.Duration
		want  string
	}{
		{"endless", time.Minute, "failed: exit status 1"},
		{"silent", 300 * time.Millisecond, "did not answer in time"},
		{"refuses", time.Minute, "403 Forbidden"},
	} {
		began := time.Now()
		err := send(c.path, c.limit)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(strings.ToLower(err.Error()), "s3cret") {
			t.Errorf("%s: %v", c.path, err)
		}
		t.Logf("%s: %v after %v", c.path, err, time.Since(began).Round(time.Millisecond))
	}
	away := httptest.NewServer(http.NotFoundHandler())
	address := "generic+" + away.URL + "/s3cretpath"
	away.Close()
	if err := service(address).Send(t.Context(), "r", example); err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "s3cretpath") {
		t.Errorf("away: %v", err)
	}
}

// TestServeTakesNothingElse: what is no job, and an address of no service, are
// told, the latter without the address.
func TestServeTakesNothingElse(t *testing.T) {
	var out bytes.Buffer
	if err := Serve(strings.NewReader("hello"), &out); err == nil || out.Len() > 0 {
		t.Errorf("%v, %q", err, out.String())
	}
	for _, address := range []string{"", "smtp://me:hunter2@h/?from=a@b.c&to=a@b.c", "logger://", "nonsense", "slack://hunter2", "ntfy://%zz-hunter2", "telegram://hunter2"} {
		text, _ := json.Marshal(&job{Address: address})
		out.Reset()
		if err := Serve(bytes.NewReader(text), &out); err != nil {
			t.Fatal(err)
		}
		var r result
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Error == "" || strings.Contains(r.Error, "hunter2") {
			t.Errorf("%s: %v, %+v", address, err, r)
		}
	}
}

// TestWithoutSecrets: no part of an address is left, however it is put.
func TestWithoutSecrets(t *testing.T) {
	for _, c := range []struct{ address, text, want string }{
		{"ntfy://me:hunter2@ntfy.example.com/topic1", `Post "https://ntfy.example.com/topic1": refused`, `Post "https://ntfy.example.com/[secret]": refused`},
		{"slack://hook:AAAA1-BBBB2-CCCC3@webhook", `Post "https://hooks.slack.com/services/AAAA1/BBBB2/CCCC3"`, `Post "https://[secret]s.slack.com/services/[secret]/[secret]/[secret]"`},
		{"telegram://12345:abc%2Bdef@telegram?chats=@ops", "bot12345:abc+def", "bot[secret]:abc+def"},
		{"discord://t0kenT0ken@id777", "https://discord.com/api/webhooks/ID777/t0kent0ken", "https://discord.com/api/webhooks/[secret]/[secret]"},
	} {
		if got := withoutSecrets(c.address, c.text); got != c.want {
			t.Errorf("%s: %s", c.address, got)
		}
	}
}

// TestBrief: what has no room is counted, and nothing is longer than it may be.
func TestBrief(t *testing.T) {
	var many []Open
	for range 50 {
		many = append(many, example...)
	}
	text := brief("r", many, time.Now(), usualRoom)
	if len(text) > usualRoom || !strings.Contains(text, " more: postern alert list") {
		t.Errorf("%d bytes: %s", len(text), text[max(0, len(text)-100):])
	}
	long := []Open{{Trouble: Trouble{Text: strings.Repeat("ä", 1000)}}}
	if text := brief("r", long, time.Now(), smallRoom); len(text) > smallRoom+3 {
		t.Errorf("%d bytes", len(text))
	}
}
