package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func write(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{})
	r.Read(b)
	return b
}

func TestFilePart(t *testing.T) {
	dir := t.TempDir()
	data := noise(100_000)
	p, err := FilePart(write(t, dir, "a.pdf", data), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "a.pdf" || p.sentType() != "application/pdf" || p.Size != int64(len(data)) {
		t.Errorf("%q %q %d", p.Name, p.sentType(), p.Size)
	}
	m := good()
	m.Attached = []Part{p}
	got, err := read(compose(t, m))
	if err != nil || got.Files[0].Sum != sum(data) {
		t.Error("the file is not what it was", err)
	}
	if p, err = FilePart(filepath.Join(dir, "a.pdf"), "b.x", "image/png"); err != nil || p.Name != "b.x" || p.sentType() != "image/png" {
		t.Error(p.Name, p.sentType(), err)
	}
	if _, err = FilePart(filepath.Join(dir, "missing.pdf"), "", ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err = FilePart(dir, "", ""); err == nil || !strings.HasSuffix(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
}

// TestPipe: what can be read once is read at once, so that it is there whenever
// the message is written.
func TestPipe(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no /dev/fd")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.WriteString("rows")
	w.Close()
	p, err := FilePart(fmt.Sprintf("/dev/fd/%d", r.Fd()), "rows.csv", "")
	if err != nil {
		t.Fatal(err)
	}
	m := good()
	m.Attached = []Part{p}
	for range 2 {
		if got, err := read(compose(t, m)); err != nil || got.Files[0].Sum != sum([]byte("rows")) {
			t.Error("not what came through the pipe", err)
		}
	}
	if _, err := FilePart("/dev/zero", "", ""); err == nil || !strings.Contains(err.Error(), "more than 32 MiB") {
		t.Errorf("what has no end: %v", err)
	}
}

// TestSizes: what is written is as long as Size says, for sizes around the ends
// of lines and buffers, from files and from memory, with any pieces that a
// reader gives.
func TestSizes(t *testing.T) {
	buffer := len(new(buffers).in)
	dir := t.TempDir()
	for _, n := range []int{0, 1, 2, 3, 56, 57, 58, 113, 114, 115, buffer - 1, buffer, buffer + 1, 2 * buffer, 3*buffer + 58} {
		data := noise(n)
		f, err := FilePart(write(t, dir, "f.bin", data), "", "")
		if err != nil {
			t.Fatal(err)
		}
		slow := f
		slow.Open = func() (io.ReadCloser, error) { return io.NopCloser(&oneByOne{data: data}), nil }
		m := good()
		m.Attached = []Part{f, BytesPart("m.bin", "", data), slow, {Name: "z", Gzip: true, Size: int64(n), Open: f.Open}}
		msg := compose(t, m)
		if got, err := read(msg); err != nil || fmt.Sprint(sums(got)) != fmt.Sprint([]string{sum(data), sum(data), sum(data), sum(data)}) {
			t.Errorf("%d octets: %v", n, err)
		}
		wellFormed(t, msg)
		if s := m.Size(); s < int64(len(msg)) || s > int64(len(msg))+200+int64(n/500) {
			t.Errorf("%d octets: Size is %d, and %d are written", n, s, len(msg))
		}
		m.Attached = m.Attached[:3]
		if s, msg := m.Size(), compose(t, m); s != int64(len(msg)) {
			t.Errorf("%d octets: Size is %d, and %d are written", n, s, len(msg))
		}
	}
}

func sums(r reading) (all []string) {
	for _, f := range r.Files {
		all = append(all, f.Sum)
	}
	return all
}

type oneByOne struct{ data []byte }

func (o *oneByOne) Read(p []byte) (int, error) {
	if len(o.data) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), 1+len(o.data)%7, len(o.data))
	copy(p, o.data[:n])
	o.data = o.data[n:]
	return n, nil
}

// TestChanged: a part that isn't as it was told is an error, in every form.
func TestChanged(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.txt", "a.eml"} {
		path := write(t, dir, name, bytes.Repeat([]byte("line\n"), 20))
		for _, zipped := range []bool{false, true} {
			p, err := FilePart(path, "", "")
			if err != nil {
				t.Fatal(err)
			}
			p.Gzip = zipped
			m := good()
			m.Attached = []Part{BytesPart("first", "", nil), p}
			for size, want := range map[int64]string{
				99: fmt.Sprintf(`attach[1].file: %q has changed while it was sent: 100 octets instead of 99`, name), 101: fmt.Sprintf(`attach[1].file: %q has changed while it was sent: 100 octets instead of 101`, name), -1: "", 100: "",
			} {
				m.Attached[1].Size = size
				n, err := m.WriteTo(io.Discard)
				if got := fmt.Sprint(err); err == nil && want != "" || err != nil && got != want {
					t.Errorf("%s, %d octets: %v", name, size, err)
				}
				if whole := m.Size(); size == -1 && whole != -1 || size == 100 && whole < n {
					t.Errorf("Size is %d, and %d were written", whole, n)
				}
			}
			os.Rename(path, path+".away")
			if _, err := m.WriteTo(io.Discard); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "attach[1].file: ") {
				t.Errorf("a file that is gone: %v", err)
			}
			os.Rename(path+".away", path)
		}
	}
}

// TestReadFails: an error of a part is told with its place.
func TestReadFails(t *testing.T) {
	broken := errors.New("broken disk")
	m := good()
	m.Attached = []Part{{Name: "a", Size: 10, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("12345"), errorReader{broken})), nil
	}}}
	if _, err := m.WriteTo(io.Discard); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "attach[0].file: ") {
		t.Error(err)
	}
}

type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }

func TestAttachedMessage(t *testing.T) {
	for content, want := range map[string]string{
		"a\nb\r\nc\rd\n\r\n\r\r": "a\r\nb\r\nc\r\nd\r\n\r\n\r\n\r\n", "": "", "a": "a", strings.Repeat("x", 998): strings.Repeat("x", 998),
		"a\x00": "attach[0].file: the attached message holds a NUL", strings.Repeat("x", 999): "attach[0].file: the attached message has a line of more than 998 octets",
	} {
		m := completed(good())
		m.Attached = []Part{BytesPart("a.EML", "", []byte(content))}
		m.Attached[0].Open = func() (io.ReadCloser, error) { return io.NopCloser(&oneByOne{data: []byte(content)}), nil }
		var b bytes.Buffer
		_, err := m.WriteTo(&b)
		got := fmt.Sprint(err)
		if err == nil {
			_, got, _ = strings.Cut(b.String(), "Content-Transfer-Encoding: 8bit\r\nContent-Disposition: attachment; filename=\"a.EML\"\r\n\r\n")
			got = strings.TrimSuffix(got, "\r\n--=_1golden--\r\n")
		}
		if got != want {
			t.Errorf("%.20q becomes %.80q", content, got)
		}
	}
}

// TestMemory: 50 MiB go by in a few.
func TestMemory(t *testing.T) {
	const size = 50 << 20
	for _, p := range []Part{
		{Name: "big.bin", Size: size, Open: func() (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(zeros{}, size)), nil }},
		{Name: "big.log", Size: size, Gzip: true, Open: func() (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(zeros{}, size)), nil }},
	} {
		m := good()
		m.Attached = []Part{p}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		n, err := m.WriteTo(io.Discard)
		runtime.ReadMemStats(&after)
		if err != nil || n < 1<<16 {
			t.Fatal(n, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%s: %d KiB were allocated", p.Name, used>>10)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestShared(t *testing.T) {
	dir := t.TempDir()
	s := NewShared(100_000)
	data := noise(50_000)
	path := write(t, dir, "a.pdf", data)
	send := func(want []byte, zipped bool) *sharedFile {
		t.Helper()
		p, err := s.FilePart(path, "", "")
		if err != nil {
			t.Fatal(err)
		}
		p.Gzip = zipped
		m := good()
		m.Attached = []Part{p}
		got, err := read(compose(t, m))
		if err != nil || got.Files[0].Sum != sum(want) {
			t.Error("the file is not what it was", err)
		}
		return p.shared
	}
	first := send(data, false)
	if first.content[asBase64] != nil {
		t.Error("it is kept before it is known to be shared")
	}
	send(data, false)
	if len(first.content[asBase64]) != int(base64Size(50_000)) || s.kept != base64Size(50_000) {
		t.Errorf("%d octets are kept, counted as %d", len(first.content[asBase64]), s.kept)
	}
	if allocated := testing.AllocsPerRun(10, func() { send(data, false) }); allocated > 500 {
		t.Errorf("%v allocations", allocated)
	}
	data = noise(40_000) // another size, then another time
	write(t, dir, "a.pdf", data)
	if send(data, false) == first || s.kept != 0 {
		t.Error("the old file is still there")
	}
	send(data, true)
	send(data, true)
	if s.kept > s.limit {
		t.Errorf("%d octets are kept", s.kept)
	}
	data[0]++
	write(t, dir, "a.pdf", data)
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	send(data, false)
}

// TestSharedBounds: neither many files nor large ones take more than the limit.
func TestSharedBounds(t *testing.T) {
	dir := t.TempDir()
	s := NewShared(30_000)
	for i := range maxSharedFiles + 100 {
		path := write(t, dir, fmt.Sprint(i), noise(1000))
		for range 2 {
			p, err := s.FilePart(path, "", "")
			if err != nil {
				t.Fatal(err)
			}
			if err := p.write(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	}
	var kept int64
	for e := s.order.Front(); e != nil; e = e.Next() {
		for _, b := range e.Value.(*sharedFile).content {
			kept += int64(len(b))
		}
	}
	if kept != s.kept || kept > s.limit || kept < s.limit-2000 || len(s.files) > maxSharedFiles || len(s.files) != s.order.Len() {
		t.Errorf("%d octets, counted as %d, of %d files", kept, s.kept, len(s.files))
	}
	big, err := s.FilePart(write(t, dir, "big", make([]byte, maxShared+1)), "", "")
	if err != nil || big.shared != nil {
		t.Error("a large file is kept", err)
	}
}

// TestSharedByMany: goroutines that send the same file, which changes.
func TestSharedByMany(t *testing.T) {
	dir := t.TempDir()
	s := NewShared(0)
	path := write(t, dir, "a.bin", noise(1000))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				p, err := s.FilePart(path, "", "")
				if err != nil {
					t.Error(err)
					return
				}
				m := good()
				m.Attached = []Part{p}
				compose(t, m)
			}
		})
	}
	wg.Wait()
	if s.kept != base64Size(1000) {
		t.Errorf("%d octets are kept", s.kept)
	}
}
