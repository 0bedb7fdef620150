package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"postern/config/command"
	"postern/config/wire"
)

// maxStderr is how much of what a command says is repeated.
const maxStderr = 500

// printed is what a program prints; Close fails where the program does. Nothing
// that the program has started lives on behind its output, its end by ctx, or
// rows that are wrong.
type printed struct {
	pipe   *os.File
	kill   func() // whatever the program has started
	cancel context.CancelFunc
	stderr bytes.Buffer
	over   atomic.Bool   // the program has ended
	ended  chan struct{} // closed when it has; err is its end
	err    error
	held   bool // somebody else keeps the output open
}

var errHeld = errors.New("left a child behind that keeps its output open")

// start runs a program without a shell, in the folder of the message file.
func start(ctx context.Context, args []string, dir string) (*printed, error) {
	fail := func(err error) (*printed, error) { return nil, fmt.Errorf("%s cannot be started: %w", args[0], err) }
	pipe, theirs, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer theirs.Close()
	ctx, cancel := context.WithCancel(ctx)
	c := &printed{pipe: pipe, cancel: cancel, ended: make(chan struct{})}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, theirs, &limited{w: &c.stderr, left: maxStderr}
	cmd.WaitDelay = command.Linger // of standard error
	c.kill = command.Apart(cmd)
	if err := cmd.Start(); err != nil {
		cancel()
		pipe.Close()
		return fail(err)
	}
	go func() {
		defer close(c.ended)
		err := cmd.Wait()
		if c.err = err; errors.Is(err, exec.ErrWaitDelay) {
			c.err = nil // somebody holds standard error, which costs nobody anything
		}
		c.over.Store(true)
		_ = pipe.SetReadDeadline(time.Now().Add(command.Linger))
	}()
	return c, nil
}

// Read implements io.Reader. Once the program has ended nothing is waited for
// that a child of its own may still write.
func (c *printed) Read(p []byte) (int, error) {
	if c.held {
		return 0, errHeld
	}
	for late := 0; ; {
		over := c.over.Load()
		if over {
			_ = c.pipe.SetReadDeadline(time.Now().Add(command.Linger / 2))
		}
		n, err := c.pipe.Read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		// A deadline can pass between the two calls on a busy machine.
		if over {
			late++
		}
		if late > 1 {
			c.held = true
			c.kill()
			return 0, errHeld
		}
	}
}

// Close ends the program if it still writes, and waits for its end.
func (c *printed) Close() error {
	defer c.cancel()
	defer c.pipe.Close()
	// What it writes after the rows were enough nobody reads.
	_, _ = io.Copy(io.Discard, io.LimitReader(c, int64(maxRow)))
	if n, _ := c.Read(make([]byte, 1)); n > 0 {
		c.cancel()
	}
	<-c.ended
	return c.end()
}

// abandon ends the program, whose rows are of no use.
func (c *printed) abandon() {
	c.kill()
	c.cancel()
	c.pipe.Close()
	<-c.ended
}

// end is how the program ended.
func (c *printed) end() error {
	err := c.err
	switch {
	case err != nil:
	case c.held:
		return errHeld
	default:
		return nil
	}
	text := "ended with " + err.Error()
	if said := strings.TrimSpace(c.stderr.String()); said != "" {
		text += ": " + wire.Text(said, maxStderr)
	}
	return errors.New(text)
}

// limited drops what is beyond left, without an error.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	_, err := l.w.Write(p[:n])
	return len(p), err
}
