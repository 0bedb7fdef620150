package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goroutines are those that the relay starts, by file and function, with what
// keeps a panic over foreign input within them. A panic that nobody recovers
// ends the process, and with it everybody else's mail.
var goroutines = map[string]string{
	"relay/pickup/pickup.go handIn": "watch.safely recovers for each file: TestPanic",
	// Guarded, and the test that injects a panic.
	"queue/session.go spawnLocked":          "Queue.deliver recovers: TestPanicIsAFaultOfItsSession, TestPanicWhileOpening, TestPanicInAnError",
	"relay/intake/admit.go admit":           "conn.finish recovers: TestDefect, TestDefectOfConnection, TestHandshakeDefect",
	"cmd/console/expiring.go add":           "forgets a draft, or the messages of a form, when their time is over",
	"cmd/console/walk.go beginWalk":         "Server.walkSafely recovers: TestPanicOnTheWay",
	"cmd/console/login.go beginLogin":       "Server.walkSafely recovers: TestPanicWhileLoggingIn",
	"relay/api/mail.go sendAll":             "request.guard recovers: TestPanicInABatch",
	"relay/api/server.go Use":               "request.guard recovers each request: TestPanic; the rest is its accept loop",
	"relay/oauth/idle.go KeepLogins":        "Tokens.guard, for each login: TestPanicWhileKeepingLogins",
	"relay/oauth/source.go join":            "Tokens.guard: TestPanicWhileRenewing, TestPanicKeepsTheTokenInUse",
	"relay/upstream/address.go race":        "Dialer.dialSafely recovers; the rest drains a race: TestPanicWhileDialling",
	"relay/upstream/examine.go reach":       "Dialer.dialSafely recovers: TestPanicWhileDialling",
	"relay/upstream/session.go idle":        "session.watch recovers: TestPanicWhileWatching",
	"cmd/daemon/start.go serveAdmin":        "net/http recovers each request: TestFaultsAreTold; the rest is its accept loop",
	"cmd/control/adopt.go Adopt":            "of the client: `postern adopt` only",
	"relay/merge/each.go Each":              "`postern send` only: a process of its own",
	"relay/merge/command.go start":          "waits for a program; `postern send` only",
	"relay/merge/rows.go readRows":          "closes a file; `postern send` only",
	"relay/capture/box.go remember":         "forgets what it holds",
	"relay/capture/pipe.go wait":            "wakes whoever waits",
	"relay/capture/server.go Start":         "go-smtp recovers each connection, all of which are this relay's own sessions",
	"relay/oauth/code.go openCallback":      "net/http recovers each request; `postern upstream login` only",
	"relay/oauth/code.go waitForAnswer":     "reads a terminal; `postern upstream login` only",
	"relay/intake/server.go start":          "accepts: what it is told of a peer comes from the kernel",
	"relay/upstream/open.go endWith":        "closes a socket",
	"relay/upstream/examine.go ExamineSeen": "closes a socket",
	"relay/signin/kdc.go send":              "closes a socket",
	"relay/addressbook/mirror.go current":   "mirror.askSafely recovers: TestMirrorDefect",
	"relay/addressbook/add.go putDown":      "writes texts that were looked at before into files",
	"relay/directory/session.go run":        "closes a socket",
	"relay/directory/server.go dial":        "closes a socket",
	"relay/directory/server.go keep":        "closes a socket",
	"queue/queue.go Start":                  "lanes and keeper see the store's records and the clock, and no peer",
	"queue/queue.go laneOf":                 "a lane, as above",
	"queue/queue.go Stop":                   "waits for other goroutines",
	"relay/api/server.go Shutdown":          "waits for other goroutines",
	"relay/pickup/pickup.go Start":          "names, sizes and times of files; what is in them is handIn's",
	"relay/pickup/pickup.go Shutdown":       "waits for other goroutines",
	"relay/intake/server.go Shutdown":       "waits for other goroutines",
	"relay/oauth/tokens.go Wait":            "waits for other goroutines",
	"cmd/alert/watch.go begin":              "send recovers: TestReceiversWaitForNobody",
	"cmd/alert/watch.go Try":                "send recovers: TestTry",
	"cmd/alert/service.go Serve":            "reads a figure of the runtime, in a process of its own",
	"cmd/alert/watch.go end":                "waits for other goroutines",
	"cmd/daemon/run.go Run":                 "Watch.safely recovers each look: TestPanicWhileLooking",
	"cmd/daemon/heap.go paceHeap":           "reads figures of the runtime",
	"cmd/daemon/notify.go notify":           "writes to the service manager's socket",
	"cmd/daemon/notify.go notified":         "waits for other goroutines",
	"cmd/daemon/notify.go watchdog":         "asks queue and store whether they live",
	"cmd/daemon/signals.go begin":           "the start: nothing is served without it",
	"cmd/daemon/signals.go serve":           "reads the administrator's configuration",
	"cmd/daemon/signals.go stop":            "the end: nothing is served any more",
	"cmd/daemon/run.go close":               "the end: nothing is served any more",
}

// Every goroutine of what serves mail is known, with its guard or with the reason
// why it needs none; and nothing is listed that is gone.
func TestGoroutinesAreGuarded(t *testing.T) {
	found, tests := map[string]bool{}, map[string]bool{}
	for _, root := range []string{"relay", "queue", "cmd/daemon", "cmd/control", "cmd/alert", "cmd/console"} {
		err := filepath.WalkDir(filepath.Join("../..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && (d.Name() == "upstreamtest" || d.Name() == "directorytest") {
				return filepath.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel("../..", path)
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				switch {
				case !ok:
				case strings.HasSuffix(path, "_test.go"):
					tests[f.Name.Name] = true
				case startsGoroutine(f):
					found[filepath.ToSlash(rel)+" "+f.Name.Name] = true
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range slices.Sorted(maps.Keys(found)) {
		if goroutines[at] == "" {
			t.Errorf("%s starts a goroutine: guard it, inject a panic, and list it here", at)
		}
	}
	for at, guard := range goroutines {
		if !found[at] {
			t.Errorf("%s starts no goroutine any more", at)
		}
		for _, name := range regexp.MustCompile(`Test\w+`).FindAllString(guard, -1) {
			if !tests[name] {
				t.Errorf("%s: there is no %s", at, name)
			}
		}
	}
}

// startsGoroutine looks for go statements, and for what starts goroutines by
// another name.
func startsGoroutine(f *ast.FuncDecl) (starts bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			starts = true
		case *ast.SelectorExpr:
			starts = starts || n.Sel.Name == "Go" || n.Sel.Name == "AfterFunc"
		}
		return true
	})
	return starts
}
