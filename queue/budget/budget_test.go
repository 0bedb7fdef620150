package budget

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/spool/statefile"
)

// failing is a test, also one of many random ones.
type failing interface {
	Helper()
	Fatal(...any)
}

func rates(t failing, texts ...string) []config.Rate {
	t.Helper()
	var all []config.Rate
	for _, text := range texts {
		r, err := config.ParseRate(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func stateIn(dir string) *statefile.State { return &statefile.State{Dir: dir} }

func open(t testing.TB, dir string, texts ...string) *Budget {
	t.Helper()
	b, err := Open(stateIn(dir), "office", rates(t, texts...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// send takes and spends as many messages to one recipient as go.
func send(t testing.TB, b *Budget, most int) int {
	t.Helper()
	for n := range most {
		if free, recipients := b.Free(); free == 0 || recipients == 0 {
			return n
		}
		if err := b.Reserve(1, 1); err != nil {
			t.Fatal(err)
		}
		if !b.Take(1, 1) {
			t.Fatal("what is free and reserved cannot be taken")
		}
		b.Spend(1, 1)
	}
	return most
}

// A window slides: it is not full again at once, and not only at its end.
func TestWindowSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), "10/1h")
		for _, step := range []struct {
			sleep time.Duration
			want  int
		}{
			{0, 4}, {30 * time.Minute, 6}, // 4 at 0:00, 6 at 0:30
			{29 * time.Minute, 0}, {time.Minute, 4}, // those of 0:00 leave at 1:00
			{29 * time.Minute, 0}, {time.Minute, 6},
			{30 * time.Minute, 4}, {30 * time.Minute, 6},
		} {
			time.Sleep(step.sleep)
			most := step.want
			if most == 0 {
				most = 1
			}
			if got := send(t, b, most); got != step.want {
				t.Errorf("%d went, want %d", got, step.want)
			}
		}
		if left := b.Left(); left[0].Left != 0 || time.Until(left[0].Next) != 30*time.Minute {
			t.Errorf("left %+v", left)
		}
	})
}

// Uses within a hundredth of the period are kept as one, and leave together
// with the last of them: later than they could, never earlier.
func TestRounding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), "10/1h")
		send(t, b, 5)
		time.Sleep(35 * time.Second)
		send(t, b, 5)
		for _, step := range []struct {
			sleep time.Duration
			left  int
		}{{time.Hour - 35*time.Second, 0}, {35 * time.Second, 10}} {
			time.Sleep(step.sleep)
			if l := b.Left()[0]; l.Left != step.left {
				t.Errorf("after %v %+v, want %d left", step.sleep, l, step.left)
			}
		}
		for range 10_000 {
			time.Sleep(time.Second)
			send(t, b, 1)
		}
		if n := len(b.windows[0].used); n > grains+1 {
			t.Errorf("%d entries", n)
		}
	})
}

// What is under way counts however long it takes, and for its period from its
// end; what was not sent never.
func TestUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), "2/1m", "5 recipients/1m")
		b.Reserve(2, 5)
		if !b.Take(1, 3) || b.Take(1, 3) || !b.Take(1, 2) {
			t.Fatal("3, not 3 more, but 2 are within 5")
		}
		time.Sleep(time.Hour)
		if m, r := b.Free(); m != 0 || r != 0 || !b.Next(time.Now()).IsZero() {
			t.Errorf("free %d, %d, next %v", m, r, b.Next(time.Now()))
		}
		b.Spend(1, 3)
		b.Return(1, 2)
		if m, r := b.Free(); m != 1 || r != 2 {
			t.Errorf("free %d, %d", m, r)
		}
		time.Sleep(time.Minute)
		if m, r := b.Free(); m != 2 || r != 5 {
			t.Errorf("free %d, %d", m, r)
		}
	})
}

func TestUnlimited(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	if m, r := b.Free(); m != Unlimited || r != Unlimited || !b.Take(1, 1e6) || b.Reserve(1000, 1000) != nil || b.Close() != nil {
		t.Error("a budget without rates limits")
	}
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Errorf("it wrote %v", list)
	}
}

// Other rates go on with what was counted.
func TestSetRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), "10/1h", "100/24h")
		send(t, b, 8)
		for _, step := range []struct {
			rates []string
			left  []int
		}{
			{[]string{"12/1h", "50/24h"}, []int{4, 42}},
			{[]string{"5/1h"}, []int{0}},
			{[]string{"20/2h", "20 recipients/1h"}, []int{12, 20}},
			{nil, nil},
		} {
			b.SetRates(rates(t, step.rates...))
			var left []int
			for _, l := range b.Left() {
				left = append(left, l.Left)
			}
			if !slices.Equal(left, step.left) {
				t.Errorf("%v: left %v, want %v", step.rates, left, step.left)
			}
		}
	})
}

// A restart gives back what was not used; a crash loses at most a block, and
// that once.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := open(t, dir, "100/24h")
		send(t, b, 12) // blocks of 5
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		b = open(t, dir, "100/24h")
		if l := b.Left(); l[0].Left != 88 {
			t.Errorf("left after a restart: %+v", l)
		}
		send(t, b, 6)
		time.Sleep(time.Hour)
		for range 3 { // crashes, the later ones without having sent anything
			b = open(t, dir, "100/24h")
			if l := b.Left(); l[0].Left != 78 {
				t.Errorf("left after a crash: %+v", l)
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(22*time.Hour - 3*time.Minute) // the first 12 are gone
		if l := b.Left(); l[0].Left != 90 {
			t.Errorf("left a day after: %+v", l)
		}
	})
}

// What began after somebody looked at what is free, and before he reserved it,
// counts once after a crash.
func TestReserveWhatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := open(t, dir, "9/1h", "18 recipients/1h")
		messages, recipients := b.Free()
		send(t, b, 4)
		if err := b.Reserve(1, 2); err != nil || !b.Take(1, 2) {
			t.Fatal(err)
		}
		if err := b.Reserve(messages, recipients); err != nil {
			t.Fatal(err)
		}
		b = open(t, dir, "12/1h", "20 recipients/1h")
		if l := b.Left(); l[0].Left != 3 || l[1].Left != 2 {
			t.Errorf("left after a crash, with three and two more allowed: %+v", l)
		}
	})
}

// shift makes the file what it would be had the clock been set by d since.
func shift(t failing, dir string, d time.Duration) {
	t.Helper()
	path := filepath.Join(dir, "budget", "office")
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var r record
	if err == nil {
		err = json.Unmarshal(content, &r)
	}
	for i := range r.Rates {
		for j := range r.Rates[i].Used {
			r.Rates[i].Used[j].First -= int64(d)
			r.Rates[i].Used[j].Last -= int64(d)
		}
	}
	if err == nil {
		content, err = json.Marshal(r)
	}
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A clock that was set back while nobody ran blocks for one period at most.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := open(t, dir, "10/1h")
		send(t, b, 10)
		b.Close()
		shift(t, dir, -1000*time.Hour)
		b = open(t, dir, "10/1h")
		if got := send(t, b, 1); got != 0 {
			t.Errorf("%d went", got)
		}
		time.Sleep(time.Hour)
		if got := send(t, b, 10); got != 10 {
			t.Errorf("%d went after an hour", got)
		}
	})
}

// Neither a file nor a folder that cannot be used stops mail; both are told,
// what was there is kept, and what is used from then on is on disk again.
func TestFaults(t *testing.T) {
	text := func(content string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
	}
	for name, c := range map[string]struct {
		spoil func(path string) error
		want  string
	}{
		"empty":        {text(""), "EOF"},
		"damaged":      {text(`{"version":1,"rates":[{"ra`), "unexpected EOF"},
		"zeros":        {text("\x00\x00\x00\x00"), "invalid character"},
		"more behind":  {text(`{"version":1,"rates":[]}{"version":1`), "more follows"},
		"later":        {text(`{"version":2,"rates":[]}`), "version 2"},
		"foreign":      {text(`{"version":1,"rates":[],"owner":"x"}`), "unknown field"},
		"nonsense":     {text(`{"version":1,"rates":[{"rate":"x"}]}`), `rate "x"`},
		"negative":     {text(`{"version":1,"rates":[{"rate":"5/1m","used":[{"n":-5}]}]}`), "-5 uses"},
		"overflow":     {text(`{"version":1,"rates":[{"rate":"5/1m","used":[{"n":9223372036854775807}]}]}`), "9223372036854775807 uses"},
		"far ahead":    {text(`{"version":1,"rates":[{"rate":"5/1m","ahead":9223372036854775807}]}`), "9223372036854775807 ahead"},
		"backwards":    {text(`{"version":1,"rates":[{"rate":"5/1m","used":[{"first":2,"last":1,"n":1}]}]}`), "from 2 to 1"},
		"huge":         {func(path string) error { return errors.Join(text("{}")(path), os.Truncate(path, 1<<40)) }, "too large"},
		"not a file":   {func(path string) error { return os.MkdirAll(filepath.Join(path, "sub"), 0o700) }, "is not a file of ours"},
		"not private":  {func(path string) error { return errors.Join(text("{}")(path), os.Chmod(path, 0o644)) }, "mode 0644"},
		"link":         {func(path string) error { return os.Symlink("elsewhere", path) }, "is not a file of ours"},
		"link to file": {func(path string) error { return errors.Join(text("{}")(path+".x"), os.Symlink("office.x", path)) }, "is not a file of ours"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "budget", "office")
			if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), c.spoil(path)); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			b, err := Open(stateIn(dir), "office", rates(t, "5/1h"))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "kept as "+path+".bad") {
				t.Errorf("opened with %v", err)
			}
			if kept, err := os.Lstat(path + ".bad"); err != nil || !os.SameFile(before, kept) {
				t.Errorf("what was there is not kept: %v", err)
			}
			if got := send(t, b, 5); got != 5 {
				t.Errorf("%d went", got)
			}
			if m, _ := open(t, dir, "5/1h").Free(); m != 0 {
				t.Errorf("%d free after a restart", m)
			}
		})
	}
}

// Where the folder itself is not to be trusted nothing in it is read, moved or
// written.
func TestFolderIsALink(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	precious := filepath.Join(elsewhere, "office")
	if err := errors.Join(os.WriteFile(precious, []byte("precious"), 0o600), os.Symlink(elsewhere, filepath.Join(dir, "budget"))); err != nil {
		t.Fatal(err)
	}
	b, err := Open(stateIn(dir), "office", rates(t, "5/1h"))
	if err == nil || !strings.Contains(err.Error(), "no link to one is followed") {
		t.Error(err)
	}
	if err := b.Reserve(1, 1); err == nil || !b.Take(1, 1) {
		t.Errorf("%v, and mail has to go on", err)
	}
	left, _ := os.ReadDir(elsewhere)
	if content, err := os.ReadFile(precious); string(content) != "precious" || len(left) != 1 {
		t.Errorf("%q, %v, %v", content, err, left)
	}
}

// Where a step of writing fails, the rates hold for as long as the process
// lives, and the next block is written again.
func TestDiskFails(t *testing.T) {
	for _, step := range []string{"create", "write", "sync", "rename", "sync folder"} {
		t.Run(step, func(t *testing.T) {
			state, broken := stateIn(t.TempDir()), true
			state.Step = func(operation string) error {
				if broken && operation == step {
					return errors.New("input/output error")
				}
				return nil
			}
			b, err := Open(state, "office", rates(t, "40/24h"))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 40 {
				broken = i < 20
				if err := b.Reserve(1, 1); (err != nil) != (broken && i%2 == 0) { // blocks of 2
					t.Errorf("message %d: %v", i, err)
				}
				if !b.Take(1, 1) {
					t.Fatalf("message %d does not go", i)
				}
				b.Spend(1, 1)
			}
			if b.Take(1, 1) {
				t.Error("41 went")
			}
			b, err = Open(state, "office", rates(t, "40/24h"))
			if m, _ := b.Free(); err != nil || m != 0 {
				t.Errorf("%d free after a crash, %v", m, err)
			}
		})
	}
}

// FuzzFile: whatever is taken blocks nothing for longer than its period, lets
// no more through than its rate, and is written down again as it was
// understood.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"rates":[{"rate":"5/1m","ahead":2,"used":[{"first":1700000000000000000,"last":1700000001000000000,"n":2}]}]}`))
	f.Add([]byte(`{"version":1,"rates":[{"rate":"40 recipients/1d","ahead":0,"used":[{"first":-9223372036854775808,"last":9223372036854775807,"n":1073741824}]},{"rate":"3/1s","ahead":1073741824,"used":[]}]}`))
	f.Add([]byte(`{"version":1,"rates":[]}`))
	f.Add([]byte(`{"version":2,"rates":null}`))
	now := time.Unix(1_700_000_030, 0)
	f.Fuzz(func(t *testing.T, content []byte) {
		windows, crashed, err := decode(content, now)
		if err != nil {
			return
		}
		for _, w := range windows {
			if free := w.free(now); free > w.rate.Count {
				t.Fatalf("%d free of %v", free, w.rate)
			}
			if next := w.next(now, now); next.Sub(now) > w.rate.Per {
				t.Fatalf("%v is blocked until %v", w.rate, next)
			}
		}
		b := &Budget{windows: windows}
		written, err := json.Marshal(b.snapshotLocked(now, make([]int, len(windows))))
		if err != nil {
			t.Fatal(err)
		}
		again, crashedAgain, err := decode(written, now)
		if err != nil || crashedAgain || len(again) != len(windows) {
			t.Fatalf("%s: %v", written, err)
		}
		for i, w := range again {
			if w.free(now) != windows[i].free(now) || !w.next(now, now).Equal(windows[i].next(now, now)) {
				t.Fatalf("%s: %d free until %v, and %d until %v; crashed %t", written, windows[i].free(now), windows[i].next(now, now), w.free(now), w.next(now, now), crashed)
			}
			if w.free(now.Add(w.rate.Per)) != w.rate.Count {
				t.Fatalf("%s: %v is not free again after its period", written, w.rate)
			}
		}
	})
}
