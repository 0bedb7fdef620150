package upstream

import (
	"bufio"
	"bytes"
	"io"
	"net/textproto"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// stuff runs content through a stuffer in blocks of the given sizes.
func stuff(content []byte, sizes []int) ([]byte, bool) {
	var s stuffer
	var out []byte
	ok := true
	for i := 0; len(content) > 0; i++ {
		n := len(content)
		if len(sizes) > 0 {
			n = min(n, sizes[i%len(sizes)])
		}
		if out, ok = s.append(out, content[:n]); !ok {
			return nil, false
		}
		content = content[n:]
	}
	if out, ok = s.end(out); !ok {
		return nil, false
	}
	return append(out, ".\r\n"...), true
}

// bareNewline is the rule itself: CR and LF stand together or not at all.
func bareNewline(content []byte) bool {
	rest := bytes.ReplaceAll(content, []byte("\r\n"), nil)
	return bytes.ContainsAny(rest, "\r\n") || strings.Contains(strings.ReplaceAll(string(content), "\r\n", "x"), "\r")
}

// Whatever the content and however it is cut into blocks: either it holds a
// bare CR or LF and is not sent, or its receiver gets it back byte by byte,
// and nothing of it behind the final dot.
func TestStuffing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SampledFrom([]string{".", "\r\n", "\r", "\n", "a", "..", "\r\n.", "text", "\x00", "é"}), 0, 30).Draw(t, "pieces")
		if rapid.Bool().Draw(t, "clean") {
			for i, p := range pieces {
				if p == "\r" || p == "\n" {
					pieces[i] = "\r\n"
				}
			}
		}
		content := []byte(strings.Join(pieces, ""))
		sizes := rapid.SliceOfN(rapid.IntRange(1, 9), 0, 5).Draw(t, "sizes")
		wire, ok := stuff(content, sizes)
		if ok == bareNewline(content) {
			t.Fatalf("content %q in blocks of %v: sent %v", content, sizes, ok)
		}
		if !ok {
			return
		}
		r := bufio.NewReader(bytes.NewReader(wire))
		got, err := io.ReadAll(textproto.NewReader(r).DotReader())
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(string(content), "\r\n", "\n") // as DotReader has it
		if len(want) > 0 && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if string(got) != want {
			t.Fatalf("content %q arrives as %q", content, got)
		}
		if rest, _ := io.ReadAll(r); len(rest) > 0 {
			t.Fatalf("content %q leaves %q behind its dot", content, rest)
		}
	})
}

func BenchmarkStuffing(b *testing.B) {
	content := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", blockSize/78))
	out := make([]byte, 0, 2*blockSize)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		var s stuffer
		out, _ = s.append(out[:0], content)
	}
}
