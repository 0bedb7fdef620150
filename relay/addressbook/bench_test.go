//go:build unix

package addressbook

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/relay/carddav"
)

// many makes a folder of n cards as programs write them, 20 of which are groups.
func many(b *testing.B, n int) *Folder {
	b.Helper()
	f := &Folder{Name: "team", Dir: b.TempDir()}
	for i := range n {
		text := fmt.Sprintf("BEGIN:VCARD\r\nVERSION:3.0\r\nPRODID:-//example//EN\r\nUID:%08d-aa2b-41bd-8b91-2774fdfce9e2\r\nFN:Given%d Family%d\r\nN:Family%d;Given%d;;;\r\n"+
			"EMAIL;TYPE=INTERNET;TYPE=WORK:given%d.family%d@example.com\r\nTEL;TYPE=WORK,VOICE:+49 30 %d\r\nORG:Company %d;Sales\r\nCATEGORIES:Group %d\r\n"+
			"REV:2026-01-01T00:00:00Z\r\nEND:VCARD\r\n", i, i, i%997, i%997, i, i, i%997, i, i%50, i%20)
		path, before := filepath.Join(f.Dir, fmt.Sprintf("%08d.vcf", i)), time.Now().Add(-time.Hour)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, before, before)); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

// sizes are those of docs/measurements; the last takes a minute to make.
var sizes = []int{1000, 10_000, 100_000}

func each(b *testing.B, run func(b *testing.B, n int)) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, n) })
	}
}

// cpu is the time that this process has used, which a busy machine does not
// lengthen as it does what a clock shows.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLoad reads a folder whole; held is what the index takes afterwards.
func BenchmarkLoad(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		dir := many(b, n).Dir
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var f *Folder
		begun := cpu()
		for b.Loop() {
			f = &Folder{Name: "team", Dir: dir}
			if x, err := f.Index(); err != nil || len(x.Entries) != n || len(x.Faults) > 0 {
				b.Fatalf("%v", err)
			}
		}
		b.ReportMetric(float64((cpu()-begun).Milliseconds())/float64(b.N), "cpu-ms/op")
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "held-B/card")
		runtime.KeepAlive(f)
	})
}

// BenchmarkLookAgain looks at a folder in which nothing has changed.
func BenchmarkLookAgain(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		f := many(b, n)
		if _, err := f.Index(); err != nil {
			b.Fatal(err)
		}
		begun := cpu()
		for b.Loop() {
			f.Refresh()
			if _, err := f.Index(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((cpu()-begun).Milliseconds())/float64(b.N), "cpu-ms/op")
	})
}

// BenchmarkLookAtFolder looks at a folder whose own time hasn't changed, and not
// at each card.
func BenchmarkLookAtFolder(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		f := many(b, n)
		before := time.Now().Add(-time.Hour)
		if err := os.Chtimes(f.Dir, before, before); err != nil {
			b.Fatal(err)
		}
		if _, err := f.Index(); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			f.looked, f.whole = time.Time{}, time.Now()
			if _, err := f.Index(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkAsk resolves a full name, completes one, and searches.
func BenchmarkAsk(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		f := many(b, n)
		x, err := f.Index()
		if err != nil {
			b.Fatal(err)
		}
		books := &Books{list: []named{{asker: held{fixed{x}}}}, without: func() bool { return false }}
		for name, text := range map[string]string{"exact": "given77 family77", "prefix": "Given777 Fam", "group": "group:Group 7", "unknown": "nobody of them", "unknown, alike": "gevin776 fomily776"} {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					if _, err := books.Resolve(b.Context(), text, n); (err != nil) != strings.HasPrefix(name, "unknown") {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run("find", func(b *testing.B) {
			for b.Loop() {
				if len(x.Search("given77 company", 50)) == 0 {
					b.Fatal("nobody")
				}
			}
		})
	})
}

// fixed is a book of one index.
type fixed struct{ x *Index }

func (f fixed) Index() (*Index, error) { return f.x, nil }

// BenchmarkMirror reads what was kept of a CardDAV server, as a process does that
// has just begun.
func BenchmarkMirror(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		set := cardDAV(b, "http://127.0.0.1:1")
		x, err := many(b, n).Index()
		if err != nil {
			b.Fatal(err)
		}
		h := &heard{Version: mirrorVersion, URL: set.URL, Username: "me", At: time.Now(), Cards: map[string]*mirrored{}}
		c := carddav.Collection{URL: set.URL, ETags: map[string]string{}}
		for _, e := range x.Entries {
			path := "/remote.php/dav/addressbooks/users/me/contacts/" + e.UID + ".vcf"
			h.Cards[path], c.ETags[path] = &mirrored{Entry: e}, `"9ae6d31d5a5aa5fb9a5e75f3c1f9a1c1"`
		}
		h.Collections = []carddav.Collection{c}
		newMirror(set).save(h)
		for b.Loop() {
			m := newMirror(set)
			if m.load(); m.index == nil || len(m.index.Entries) != n {
				b.Fatal("it was not read")
			}
		}
	})
}
