package console

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// axe is the source of axe-core, which finds what keeps people out.
func axe(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("POSTERN_AXE")
	source, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	if dir == "" || err != nil {
		without(t, "POSTERN_AXE has to name a folder in which `npm install axe-core@4.12.1` was run")
	}
	return string(source)
}

// judge says what is wrong with a page.
type judge struct {
	source string        // of axe-core
	said   func() string // what the browser has to complain of
	shots  string        // the folder of the pictures; empty: none
}

func newJudge(t *testing.T, said func() string) *judge {
	return &judge{axe(t), said, os.Getenv("POSTERN_SCREENSHOTS")}
}

// faults are those that axe-core finds at the page that is open.
func (j *judge) faults() chromedp.Action[string] {
	return chromedp.Evaluate[string](j.source+`; axe.run({resultTypes: ["violations"]}).then(r => r.violations.map(v => v.id + ": " + v.nodes.map(n => n.html + " " + n.failureSummary).join(" | ")).join("\n"))`, chromedp.EvalAwaitPromise)
}

// look takes the steps to a page, which has to come with a status: axe-core finds
// nothing at it, neither it nor, on a phone, a list of it is wider than the screen, and
// nothing was kept from it.
// name and as are for whoever reads what is wrong.
func (j *judge) look(t *testing.T, ctx context.Context, name, as string, status int, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	answer, err := chromedp.RunResponse(ctx, steps...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if int(answer.Status) != status {
		t.Errorf("%s, %s: status %v, want %d", name, as, answer.Status, status)
	}
	var broken string
	var wide int
	var sideways string
	err = chromedp.Do(ctx, into(&broken, j.faults()),
		into(&wide, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`)),
		into(&sideways, chromedp.Evaluate[string](`[...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth).map(e => e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")).join(", ")`)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if broken != "" {
		t.Errorf("%s, %s: %s", name, as, broken)
	}
	if wide > 0 {
		t.Errorf("%s, %s: it is %d pixels too wide", name, as, wide)
	}
	if as == "phone" && sideways != "" {
		t.Errorf("%s, %s: who reads it has to scroll sideways: %s", name, as, sideways)
	}
	for line := range strings.Lines(j.said()) { // which has the status of the page itself, too
		if status < 400 || !strings.Contains(line, fmt.Sprintf("with a status of %d ", status)) {
			t.Errorf("%s, %s: %s", name, as, line)
		}
	}
	if j.shots == "" {
		return
	}
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	file := strings.NewReplacer("/", "_", "?", "_", "%", "").Replace(name) + "-" + as + ".png"
	if err := os.WriteFile(filepath.Join(j.shots, file), picture, 0o600); err != nil {
		t.Fatal(err)
	}
}
