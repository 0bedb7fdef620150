package wire

import (
	"bufio"
	"bytes"
	"io"
	"net/textproto"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// plainLines is what Lines does, told the slow and obvious way: the content,
// whether its end was found and how much of b was used by then, and whether a
// bare CR or LF stands in it.
func plainLines(b string, dots bool) (content string, ended bool, used int, bare bool) {
	var out strings.Builder
	start := true
	for i := 0; i < len(b); {
		if start && dots && b[i] == '.' {
			if strings.HasPrefix(b[i:], ".\r\n") {
				return out.String(), true, i + 3, bare
			}
			if i++; i == len(b) {
				break
			}
		}
		start = false
		switch {
		case strings.HasPrefix(b[i:], "\r\n"):
			out.WriteString("\r\n")
			i += 2
			start = true
			continue
		case b[i] == '\r' && i+1 == len(b):
			return out.String(), false, len(b), bare // not known yet
		case b[i] == '\r', b[i] == '\n':
			bare = true
			i++
			continue
		}
		out.WriteByte(b[i])
		i++
	}
	return out.String(), false, len(b), bare
}

// inPieces runs Lines over b, cut where cuts says.
func inPieces(b string, dots bool, cuts []byte) (content string, ended bool, used int, bare bool) {
	l := Lines{}
	if dots {
		l.Dots = RemoveDots
	}
	var out strings.Builder
	for used < len(b) {
		n := len(b) - used
		if len(cuts) > 0 {
			n, cuts = min(n, 1+int(cuts[0])%7), cuts[1:]
		}
		for piece := []byte(b[used : used+n]); len(piece) > 0; {
			o, u, why := l.Next(piece)
			out.Write(o)
			piece = piece[u:]
			used += u
			switch why {
			case End:
				return out.String(), true, used, bare
			case Bare:
				bare = true
			}
		}
	}
	return out.String(), false, used, bare
}

// FuzzLines: however the bytes arrive, the content, the end and the verdict
// are the same, and what is accepted holds no bare CR or LF.
func FuzzLines(f *testing.F) {
	for _, s := range []string{"", ".\r\n", "a\r\n.\r\n", "..\r\n.\r\nrest", "a\n.\n", "a\r.\r", ".\rX", "\r\r\n.\r\n", "a\r\n.", ".\r", "a\r\n..b\r\n.\r\n"} {
		f.Add(s, []byte{1}, true)
		f.Add(s, []byte{0, 0, 0, 0, 0, 0}, false)
	}
	f.Fuzz(func(t *testing.T, b string, cuts []byte, dots bool) {
		c1, e1, u1, b1 := plainLines(b, dots)
		c2, e2, u2, b2 := inPieces(b, dots, cuts)
		if b1 != b2 || e1 != e2 || u1 != u2 {
			t.Fatalf("%q %v: end %t at %d bare %t, in pieces end %t at %d bare %t", b, cuts, e1, u1, b1, e2, u2, b2)
		}
		if !b1 && c1 != c2 {
			t.Fatalf("%q %v: %q, in pieces %q", b, cuts, c1, c2)
		}
		if _, _, _, bare := plainLines(b, false); WholeLines([]byte(b)) == (bare || strings.HasSuffix(b, "\r")) {
			t.Fatalf("%q: whole lines: %t", b, !bare)
		}
		if sent, ok := sent([]byte(b), []int{1 + len(cuts), 3}); ok {
			back, ended, used, bare := plainLines(string(sent), true)
			if !ended || bare || used != len(sent) || back != b && back != b+"\r\n" {
				t.Fatalf("%q is sent as %q, which is %q", b, sent, back)
			}
		}
		if !b2 && strings.ContainsAny(strings.ReplaceAll(c2, "\r\n", ""), "\r\n") {
			t.Fatalf("%q %v: a bare CR or LF in %q", b, cuts, c2)
		}
	})
}

// sent is content as DATA sends it, in blocks of the given sizes, with the
// final dot.
func sent(content []byte, sizes []int) (out []byte, ok bool) {
	l := Lines{Dots: DoubleDots}
	for i := 0; len(content) > 0; i++ {
		n := len(content)
		if len(sizes) > 0 {
			n = min(n, sizes[i%len(sizes)])
		}
		for block := content[:n]; len(block) > 0; {
			piece, used, why := l.Next(block)
			if why == Bare {
				return nil, false
			}
			out = append(out, piece...)
			block = block[used:]
		}
		content = content[n:]
	}
	lacks, bare := l.Finish()
	if bare {
		return nil, false
	}
	return append(append(out, lacks...), ".\r\n"...), true
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
		text, ok := sent(content, sizes)
		if ok == bareNewline(content) {
			t.Fatalf("content %q in blocks of %v: sent %v", content, sizes, ok)
		}
		if !ok {
			return
		}
		r := bufio.NewReader(bytes.NewReader(text))
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

// A client whose commands end in LF may end its lines so, and says so with the
// first one.
func TestAllowLF(t *testing.T) {
	for in, want := range map[string]string{
		"a\n.\nrest": "a|.|", "a\n..b\n.\nrest": "a|.b|.|", "a\r\n.\n.\r\nrest": "a=|.=rest", ".\r\nrest": ".|", ".\nrest": ".|", "a\n.\r\nb\n.\n": "a|=b|.|",
	} {
		for cut := 1; cut <= len(in); cut++ {
			l := Lines{Dots: RemoveDots}
			l.AllowLF()
			var got strings.Builder
		read:
			for b := []byte(in); len(b) > 0; {
				out, used, why := l.Next(b[:min(cut, len(b))])
				got.WriteString(strings.ReplaceAll(string(out), "\r\n", "="))
				b = b[used:]
				switch why {
				case Bare:
					got.WriteString("|")
				case End:
					got.WriteString(".|")
					break read
				}
			}
			if got.String() != want {
				t.Errorf("%q in pieces of %d: %s, want %s", in, cut, &got, want)
			}
		}
	}
}

func TestSevenBit(t *testing.T) {
	long := strings.Repeat("x", 998)
	for s, want := range map[string]bool{
		"": true, "a": true, "a\tb\r\n": true, long + "\r\n" + long: true,
		long + "x": false, "a\n": false, "a\rb": false, "a\r\r\n": false, "é": false, "\x00": false, "\x7f": false, "a\r": false,
	} {
		if got := SevenBit([]byte(s)); got != want {
			t.Errorf("%.20q: %t", s, got)
		}
	}
}

func BenchmarkLines(b *testing.B) {
	for name, dots := range map[string]Dots{"received": RemoveDots, "sent": DoubleDots} {
		b.Run(name, func(b *testing.B) {
			content := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 64<<10/78))
			out := make([]byte, 0, 2*len(content))
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				l := Lines{Dots: dots}
				out = out[:0]
				for rest := content; len(rest) > 0; {
					piece, used, _ := l.Next(rest)
					out = append(out, piece...)
					rest = rest[used:]
				}
			}
		})
	}
}
