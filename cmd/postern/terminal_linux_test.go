package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"postern/config/wire"
)

// terminal is a pseudo-terminal with what a program has drawn on it. It knows
// the sequences that ours print, and wraps and scrolls as terminals do.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File

	reading sync.Mutex // who holds it keeps the terminal from taking anything

	mu            sync.Mutex
	width, height int
	screen        [][]rune
	row, col      int
	scrolled      int // lines that went out at the top
	wraps         bool
	all           string // what was not drawn yet
	raw           []byte // every byte
	modes         []string
}

func newTerminal(t *testing.T, width, height int) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here:", err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	v := &terminal{t: t, master: master, slave: slave, wraps: true}
	v.resize(width, height)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			v.reading.Lock()
			n, err := master.Read(b)
			v.reading.Unlock()
			if err != nil { // EIO once the last program has closed it
				return
			}
			v.mu.Lock()
			v.all += string(b[:n])
			v.raw = append(v.raw, b[:n]...)
			v.draw()
			v.mu.Unlock()
		}
	}()
	t.Cleanup(func() { slave.Close(); <-done; master.Close() })
	return v
}

// resize gives it another size, an empty screen, and tells the programs on it.
func (v *terminal) resize(width, height int) {
	v.t.Helper()
	v.mu.Lock()
	v.width, v.height, v.row, v.col, v.scrolled = width, height, 0, 0, 0
	v.clear()
	v.mu.Unlock()
	if err := unix.IoctlSetWinsize(int(v.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(height), Col: uint16(width)}); err != nil {
		v.t.Fatal(err)
	}
}

func (v *terminal) clear() {
	v.screen = make([][]rune, v.height)
	for i := range v.screen {
		v.screen[i] = []rune(strings.Repeat(" ", v.width))
	}
}

// draw takes what was printed as far as it is whole; all keeps the rest.
func (v *terminal) draw() {
	for v.all != "" {
		if v.all[0] == 0x1b {
			end := strings.IndexFunc(v.all[1:], func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
			if end < 0 {
				return
			}
			v.obey(v.all[1 : end+2])
			v.all = v.all[end+2:]
			continue
		}
		if !utf8.FullRuneInString(v.all) {
			return
		}
		r, n := utf8.DecodeRuneInString(v.all)
		v.all = v.all[n:]
		switch r {
		case '\r':
			v.col = 0
		case '\n':
			v.down()
		default:
			wide := wire.Columns(string(r)) == 2
			if !v.wraps && (v.col == v.width || wide && v.col == v.width-1) {
				v.col = v.width - 1 // the last one is written over
				wide = false
			}
			if v.col == v.width || wide && v.col == v.width-1 { // only what comes next wraps
				v.col = 0
				v.down()
			}
			v.screen[v.row][v.col] = r
			v.col++
			if wide {
				v.screen[v.row][v.col] = ' '
				v.col++
			}
		}
	}
}

func (v *terminal) down() {
	if v.row++; v.row == v.height {
		v.row--
		v.scrolled++
		v.screen = append(v.screen[1:], []rune(strings.Repeat(" ", v.width)))
	}
}

func (v *terminal) obey(sequence string) {
	blank := func(row, from int) {
		for i := from; i < v.width; i++ {
			v.screen[row][i] = ' '
		}
	}
	switch sequence {
	case "[H":
		v.row, v.col = 0, 0
	case "[K":
		blank(v.row, v.col)
	case "[J":
		blank(v.row, v.col)
		for i := v.row + 1; i < v.height; i++ {
			blank(i, 0)
		}
	case "[7m", "[0m":
	default:
		if sequence == "[?7l" || sequence == "[?7h" {
			v.wraps = sequence == "[?7h"
		}
		v.modes = append(v.modes, sequence)
	}
}

// look is the screen, and how many lines have scrolled out of it.
func (v *terminal) look() (lines []string, scrolled int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.screen {
		lines = append(lines, strings.TrimRight(string(l), " "))
	}
	return lines, v.scrolled
}

// text is the screen as one text.
func (v *terminal) text() string {
	lines, _ := v.look()
	return strings.Join(lines, "\n")
}

func (v *terminal) typeIn(keys string) {
	v.t.Helper()
	if _, err := v.master.WriteString(keys); err != nil {
		v.t.Fatal(err)
	}
}

// run starts a command of a harness on it, as its own terminal.
func (v *terminal) run(cmd *exec.Cmd) (wait func() int) {
	v.t.Helper()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = v.slave, v.slave, v.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	return func() int {
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode()
	}
}
