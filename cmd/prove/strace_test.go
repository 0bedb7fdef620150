//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"postern/spool"
)

// TestEverySyncComesBeforeIts250 watches the system calls of the real binary:
// when the 250 to a final dot is written, what was written about the message
// has been synced, and so have the folders that its files are new in.
func TestEverySyncComesBeforeIts250(t *testing.T) {
	t.Parallel()
	need(t, "strace")
	h := newHarness(t, "")
	h.edit(`min_free = "16MiB"`, "min_free = \"1MiB\"\nmax_size = \"4MiB\"") // small segments: many of them
	h.edit("[[listener]]", "[[listener]]\nmax_message_size = \"1MiB\"")
	trace := filepath.Join(h.dir, "trace")
	h.under = []string{"strace", "-D", "-f", "-y", "-xx", "-s", "600", "-o", trace,
		"-e", "trace=openat,write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync", "--seccomp-bpf"}
	h.up()
	var clients sync.WaitGroup
	for i := range 4 {
		k := h.dial(fmt.Sprintf("c%d", i))
		clients.Go(func() {
			for n := range 20 {
				size := 2000 + 25000*(n%3)
				if n%10 == i+1 {
					size = 300_000
				}
				if text := k.send(size); text != "" {
					t.Errorf("refused: %s", text)
				}
			}
		})
	}
	clients.Wait()
	h.settled()
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	calls := readTrace(t, trace, h.cmd.Process.Pid)
	acks := h.books.acked
	if len(acks) != 80 {
		t.Fatalf("%d promises", len(acks))
	}
	segments, bodies := 0, 0
	for _, c := range calls {
		switch {
		case c.creates() && strings.HasSuffix(c.path, ".seg"):
			segments++
		case c.creates() && strings.HasSuffix(c.path, ".eml"):
			bodies++
		}
	}
	if segments < 2 || bodies < 8 {
		t.Fatalf("%d segments and %d large bodies: too few to prove anything", segments, bodies)
	}
	for number, id := range acks {
		if err := syncedBefore250(calls, id); err != nil {
			t.Errorf("%s, %s: %v", number, id, err)
		}
	}
	t.Logf("%d promises, %d segments, %d large bodies, %d system calls", len(acks), segments, bodies, len(calls))

	// And would it be noticed?
	for _, kind := range []struct{ name, suffix string }{
		{"fdatasync", ".seg"}, {"fsync", "/spool"}, {"fdatasync", ".eml"}, {"fsync", "/big"},
	} {
		without := slices.DeleteFunc(slices.Clone(calls), func(c call) bool {
			return c.name == kind.name && strings.HasSuffix(c.path, kind.suffix)
		})
		found := 0
		for _, id := range acks {
			if syncedBefore250(without, id) != nil {
				found++
			}
		}
		if found == 0 {
			t.Errorf("without any %s of …%s nothing is noticed", kind.name, kind.suffix)
		}
	}
}

// call is one system call; begin and end are its places in the trace.
type call struct {
	name, path, text string
	begin, end       int
}

func (c *call) creates() bool { return c.name == "openat" && strings.Contains(c.text, "O_CREAT") }
func (c *call) writes() bool  { return strings.Contains(c.name, "write") }

var (
	traceLine  = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumed    = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	escaped    = regexp.MustCompile(`\\x[0-9a-f]{2}`)
	unfinished = "<unfinished ...>"
)

// readTrace reads what strace -f -y -xx wrote about a process that has ended,
// in the order of the begins.
func readTrace(t *testing.T, path string, pid int) (calls []call) {
	t.Helper()
	eventually(t, "strace has seen the end", func() bool {
		trace, err := os.ReadFile(path)
		return err == nil && regexp.MustCompile(fmt.Sprintf(`(?m)^%d +\+\+\+ exited`, pid)).Match(trace)
	})
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	open := map[string]int{} // thread → index of the call that it is in
	s := bufio.NewScanner(f)
	s.Buffer(nil, 16<<20)
	for at := 0; s.Scan(); at++ {
		line := escaped.ReplaceAllStringFunc(s.Text(), func(e string) string {
			n, _ := strconv.ParseUint(e[2:], 16, 8)
			return string([]byte{byte(n)})
		})
		raw := s.Text()
		if m := resumed.FindStringSubmatch(raw); m != nil {
			if i, ok := open[m[1]]; ok {
				calls[i].end = at
				calls[i].text += line
				delete(open, m[1])
			}
			continue
		}
		m := traceLine.FindStringSubmatch(raw)
		if m == nil {
			continue
		}
		c := call{name: m[2], text: line, begin: at, end: at}
		// The file: behind the descriptor, or what openat returned.
		from := strings.IndexByte(line, '<')
		if c.name == "openat" {
			from = strings.LastIndexByte(line, '<')
		}
		if from >= 0 {
			if to := strings.IndexByte(line[from:], '>'); to > 0 {
				c.path = line[from+1 : from+to]
			}
		}
		if strings.HasSuffix(raw, unfinished) {
			c.end = 1 << 60
			open[m[1]] = len(calls)
		}
		calls = append(calls, c)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	// A call that was interrupted in the trace told its file at its end.
	for i := range calls {
		if c := &calls[i]; c.name == "openat" && !strings.HasPrefix(c.path, "/") {
			if from := strings.LastIndexByte(c.text, '<'); from >= 0 {
				c.path = strings.TrimSuffix(c.text[from+1:], ">")
			}
		}
	}
	return calls
}

// segmentMagic begins a segment. Its header may name the last ID that was
// given out, and is no record about it.
const segmentMagic = "PSTNSEG1"

// syncedBefore250 checks the order of the system calls for one message.
func syncedBefore250(calls []call, id string) error {
	n, err := spool.ParseID(id)
	if err != nil {
		return err
	}
	frame := string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	var record, reply *call
	for i := range calls {
		c := &calls[i]
		switch {
		case record == nil && c.writes() && strings.HasSuffix(c.path, ".seg") && strings.Contains(c.text, frame) &&
			!strings.Contains(c.text, segmentMagic):
			record = c
		case reply == nil && c.writes() && !strings.HasPrefix(c.path, "/") && strings.Contains(c.text, "250 ") && strings.Contains(c.text, id):
			reply = c
		}
	}
	if record == nil || reply == nil {
		return fmt.Errorf("record written: %t, reply written: %t", record != nil, reply != nil)
	}
	if !synced(calls, "fdatasync", record.path, record.end, reply.begin) {
		return fmt.Errorf("its record was not synced before the 250")
	}
	return entriesBefore250(calls, id, record, reply)
}

// entriesBefore250 checks the files that a message needs, and their folders.
func entriesBefore250(calls []call, id string, record, reply *call) error {
	for i := range calls {
		c := &calls[i]
		isBody := strings.HasSuffix(c.path, "/"+id+".eml")
		before := reply.begin
		switch {
		case !c.creates() || !isBody && c.path != record.path:
			continue
		case isBody:
			before = record.begin // the record names it
			last := c.end
			for j := range calls {
				if w := &calls[j]; w.writes() && w.path == c.path {
					last = max(last, w.end)
				}
			}
			if !synced(calls, "fdatasync", c.path, last, before) {
				return fmt.Errorf("its large body was not synced before the record that names it")
			}
		}
		if !synced(calls, "fsync", filepath.Dir(c.path), c.end, before) {
			return fmt.Errorf("the entry of %s was not synced in time", filepath.Base(c.path))
		}
	}
	return nil
}

// synced tells whether a sync of path took place between two points.
func synced(calls []call, name, path string, after, before int) bool {
	return slices.ContainsFunc(calls, func(c call) bool {
		return c.name == name && c.path == path && c.begin > after && c.end < before
	})
}
