package step

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/relay/merge"
)

// fetches are pieces of HTML that make browsers connect to %[1]s.
var fetches = []string{
	`<link rel="preconnect" href="http://%[1]s/"><link rel="dns-prefetch" href="http://%[1]s/">`,
	`<link rel="stylesheet" href="http://%[1]s/s.css"><link rel="icon" href="http://%[1]s/i.ico"><link rel="prefetch" href="http://%[1]s/p">`,
	`<link rel="preload" as="image" href="http://%[1]s/pre.png"><link rel="modulepreload" href="http://%[1]s/m.js">`,
	`<meta http-equiv="refresh" content="0; url=http://%[1]s/refresh">`,
	`<noscript><link rel="preconnect" href="http://%[1]s/"></noscript>`,
	`<svg><style><!--</style><link rel="preconnect" href="http://%[1]s/"></svg>`,
	`<svg><image href="http://%[1]s/svg.png"/><use href="http://%[1]s/u.svg#a"/></svg>`,
	`<style>@import "http://%[1]s/a.css"; @font-face { font-family: f; src: url(http://%[1]s/f.woff) } p { background: url(http://%[1]s/b.png); font-family: f }</style>`,
	`<p style="background: url(http://%[1]s/c.png)">x</p><img src="http://%[1]s/x.png" srcset="http://%[1]s/y.png 2x"><table background="http://%[1]s/t.png"><tr><td>x</table>`,
	`<iframe src="http://%[1]s/frame"></iframe><object data="http://%[1]s/o"></object><embed src="http://%[1]s/e">`,
	`<video src="http://%[1]s/v" poster="http://%[1]s/v.png" autoplay></video><audio src="http://%[1]s/a" autoplay></audio>`,
	`<script>new Image().src = "http://%[1]s/js.png"</script><img src=x onerror="fetch('http://%[1]s/on')">`,
	`<base href="http://%[1]s/"><img src="relative.png"><input type="image" src="http://%[1]s/input.png">`,
}

// TestStill: what makes a browser connect is not there any more.
func TestStill(t *testing.T) {
	for _, f := range fetches {
		got := strings.ToLower(still("<p>a</p>" + fmt.Sprintf(f, "h.example") + "<p>b</p>"))
		if got == "" || !strings.Contains(got, "<p>a</p>") {
			t.Errorf("nothing is left of %s: %s", f, got)
		}
		for _, no := range []string{"<link", "<meta", "<script", "<iframe", "<object", "<embed", "<base"} {
			if strings.Contains(got, no) && !strings.Contains(got, "<!--</style") {
				t.Errorf("%s is there in %s", no, got)
			}
		}
	}
	if got := still(`<a href="https://x.example/?a=1&amp;b">y</a>`); !strings.Contains(got, `<a href="#" title="https://x.example/?a=1&amp;b">y</a>`) {
		t.Error(got)
	}
}

// TestPreviewFetchesNothing opens a preview in Chromium, and the same HTML as
// a page of its own, which shows that the test would notice.
func TestPreviewFetchesNothing(t *testing.T) {
	if os.Getenv("POSTERN_LONG") == "" {
		t.Skip("a browser takes seconds: POSTERN_LONG=1")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var connections atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			c.Close()
		}
	}()
	dir := t.TempDir()
	open := func(page string) int32 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		before := connections.Load()
		cmd := exec.CommandContext(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--user-data-dir="+filepath.Join(dir, "profile"),
			"--virtual-time-budget=3000", "--screenshot="+filepath.Join(dir, "p.png"), "--window-size=1000,9000", "file://"+page)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("chromium does not run here: %v: %.500s", err, out)
		}
		return connections.Load() - before
	}
	all := ""
	for _, f := range fetches {
		all += fmt.Sprintf(f, l.Addr())
	}
	bare := filepath.Join(dir, "bare.html")
	if err := os.WriteFile(bare, []byte(all), 0o600); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "page.html")
	// Every piece in a frame of its own, in one page.
	var out strings.Builder
	for i, f := range fetches {
		one := &merge.Step{From: "a@example.com", To: []string{"b@example.com"}, Subject: "s", HTML: merge.Content{Set: true, Text: fmt.Sprintf(f, l.Addr())}}
		p, err := merge.Prepare(t.Context(), one, merge.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := preview(t.Context(), p, &out); err != nil {
			t.Fatal(i, err)
		}
		p.Close()
	}
	if n := strings.Count(out.String(), "<iframe sandbox"); n != len(fetches) {
		t.Fatalf("%d frames", n)
	}
	if err := os.WriteFile(page, []byte(strings.ReplaceAll(out.String(), `loading="lazy"`, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := open(page); n != 0 {
		t.Errorf("%d connections", n)
	}
	if n := open(bare); n == 0 {
		t.Error("the HTML by itself connects nowhere, so that this proves nothing")
	}
}
