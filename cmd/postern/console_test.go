//go:build unix

package main

import (
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// withConsole is a configuration with a console, whose user "ann" has the password
// "secret", an upstream that keeps mail here and one that doesn't.
func withConsole(t *testing.T, listen, upstream, console string) string {
	t.Helper()
	r := perform(t, "secret\n", "passwd")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	return ordinary(listen, upstream) + fmt.Sprintf(`[upstream.here]
provider = "capture"
[console]
address = %q
[console.user.ann]
password = %q
role = "define"
`, console, strings.TrimSpace(r.stdout))
}

// visitor is a browser without JavaScript.
type visitor struct {
	t    *testing.T
	base string
	http http.Client
}

func visit(t *testing.T, address string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t, "http://" + address, http.Client{Jar: jar}}
	if body := v.post("/sign-in", url.Values{"name": {"ann"}, "password": {"secret"}}); !strings.Contains(body, "Sign out") {
		t.Fatalf("not signed in: %s", body)
	}
	return v
}

func (v *visitor) read(answer *http.Response, err error) string {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return string(b)
}

func (v *visitor) get(path string) string {
	v.t.Helper()
	return v.read(v.http.Get(v.base + path))
}

func (v *visitor) post(path string, form url.Values) string {
	v.t.Helper()
	return v.read(v.http.PostForm(v.base+path, form))
}

// Mail that was captured goes out by the console, once, as it came in; trace tells
// of it.
func TestConsoleSendsCapturedMailOn(t *testing.T) {
	listen, upstream, console := freeAddr(t), freeAddr(t), freeAddr(t)
	h := newHarness(t, strings.Replace(withConsole(t, listen, upstream, console), `upstream = ["office"]`, `upstream = ["here"]`, 1))
	sink := startSink(t, upstream)
	h.start()
	send(t, listen, "a@example.com", "kept")
	v := visit(t, console)
	eventually(t, "the events tell of it", func() bool { return strings.Contains(v.get("/events"), ">message-accepted<") })
	link := regexp.MustCompile(`href="(/captured/[^"/]+)">kept`)
	var path string
	eventually(t, "the message is captured", func() bool {
		m := link.FindStringSubmatch(v.get("/captured"))
		if m != nil {
			path = m[1]
		}
		return m != nil
	})
	if page := v.get(path); !strings.Contains(page, "Dear b.") || !strings.Contains(page, "&lt;a@example.com&gt; to &lt;b@example.com&gt;, by here") {
		t.Errorf("%s", page)
	}
	form := url.Values{"upstream": {"office"}, "back": {path}}
	if page := v.post(path+"/release", form); !strings.Contains(page, "It goes to office as the message") {
		t.Fatalf("%s", page)
	}
	if page := v.post(path+"/release", form); !strings.Contains(page, "is not sent twice") {
		t.Errorf("%s", page)
	}
	eventually(t, "it is delivered", func() bool { return len(sink.received()) > 0 && len(h.queued()) == 0 })
	got := sink.received()
	if len(got) != 1 || !strings.Contains(got[0], "Subject: kept\r\n") || strings.Contains(got[0], "X-Postern-Upstream") || strings.Contains(got[0], "Delivered-To") || strings.Count(got[0], "Received:") != 1 {
		t.Errorf("%q", got)
	}
	id := regexp.MustCompile(`"event":"captured-released","id":"([^"]+)"`).FindStringSubmatch(h.log.String())
	if id == nil {
		t.Fatal("the log does not tell")
	}
	eventually(t, "the history has it", func() bool {
		told := h.do("trace", id[1]).stdout
		return strings.Contains(told, "captured-released") && strings.Contains(told, "console:ann") && strings.Contains(told, "delivered at office")
	})
	if page := v.get("/messages/" + id[1] + "/life"); !strings.Contains(page, "delivered at office") {
		t.Errorf("%s", page)
	}
	if page := v.post("/captured/remove", url.Values{"name": {strings.TrimPrefix(path, "/captured/")}, "back": {"/captured"}}); !strings.Contains(page, "1 message: removed.") {
		t.Errorf("%s", page)
	}
}

// The routes in force are explained as the command explains them.
func TestConsoleExplains(t *testing.T) {
	listen, upstream, console := freeAddr(t), freeAddr(t), freeAddr(t)
	h := newHarness(t, withConsole(t, listen, upstream, console))
	h.start()
	v := visit(t, console)
	want := h.must("explain", "--from", "a@example.com", "--to", "b@example.org")
	page := v.get("/routes?from=a%40example.com&to=b%40example.org")
	if !strings.Contains(page, ">"+html.EscapeString(want)) {
		t.Errorf("the command says %s, the page %s", want, page)
	}
}

var draftPath = regexp.MustCompile(`action="(/drafts/[A-Z0-9]+)/save"`)

// defined sends a form, and returns the page of what would be kept.
func (v *visitor) defined(kind string, form url.Values) (page, draft string) {
	v.t.Helper()
	answer, err := v.http.PostForm(v.base+"/definitions/"+kind, form)
	if page = v.read(answer, err); answer.StatusCode != http.StatusOK {
		v.t.Fatal(page)
	}
	eventually(v.t, "the walk ends", func() bool {
		if m := draftPath.FindStringSubmatch(page); m != nil {
			draft = m[1]
		} else {
			page = v.get(answer.Request.URL.Path)
		}
		return draft != ""
	})
	return page, draft
}

// At the console an upstream and a route are defined: into conf.d where the relay
// may write it, by what root types where not. Mail then goes.
func TestConsoleDefines(t *testing.T) {
	for name, writable := range map[string]bool{"itself": true, "by hand": false} {
		t.Run(name, func(t *testing.T) {
			asks, port := startPasswordServer(t, "the right one")
			listen, console := freeAddr(t), freeAddr(t)
			text := withConsole(t, listen, "127.0.0.1:1", console)
			_, text, _ = strings.Cut(text, "[upstream.here]")
			h := newHarness(t, toDefineIn(listen)+"[upstream.here]"+text)
			// Not in a folder of the relay, as /etc/postern is not.
			if elsewhere := t.TempDir(); !writable {
				if err := errors.Join(os.Chmod(elsewhere, 0o700), os.Symlink(elsewhere, h.dir+"/conf.d")); err != nil {
					t.Fatal(err)
				}
			}
			h.start()
			if !writable && !strings.Contains(h.log.String(), `"event":"confined"`) {
				t.Skip("this kernel has no Landlock, and nothing else keeps the relay of a test from writing")
			}
			v := visit(t, console)
			keep := func(kind string, form url.Values) (page string) {
				tried, draft := v.defined(kind, form)
				if strings.Contains(tried, "the test failed") || strings.Contains(tried, "the right one") {
					t.Fatal(tried)
				}
				if page = v.post(draft+"/save", nil); strings.Contains(page, "is in force, from") != writable {
					t.Fatal(page)
				}
				if !writable {
					m := regexp.MustCompile(`(?s)<pre[^>]*>(.*)postern reload.*</pre>`).FindStringSubmatch(page)
					if m == nil {
						t.Fatal(page)
					}
					if out, err := exec.Command("sh", "-c", html.UnescapeString(m[1])).CombinedOutput(); err != nil {
						t.Fatalf("%v %s", err, out)
					}
					h.must("reload")
				}
				return page
			}
			page := keep("upstream", url.Values{"name": {"office"}, "v.host": {"127.0.0.1"}, "v.port": {port}, "v.tls": {"off"}, "v.auth": {"plain"}, "v.username": {"billing"}, "s.password": {"the right one"}})
			page += keep("route", url.Values{"name": {"ours"}, "v.from": {"*@example.com"}, "v.upstream": {"office"}})
			send(t, listen, "a@example.com", "one")
			eventually(t, "the mail is there", func() bool { return len(asks.received()) == 1 })
			if log := h.log.String(); !strings.Contains(log, `"event":"definition-changed"`) || strings.Contains(log+page, "the right one") {
				t.Error("the log does not tell, or tells the password")
			}
			if left := h.left(); len(left) != 3 {
				t.Errorf("%q", left)
			}
		})
	}
}
