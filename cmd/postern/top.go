package main

import (
	"cmp"
	"context"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"postern/cmd/control"
)

func (a *app) topCommand() *cobra.Command {
	var once bool
	every := time.Second
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show upstreams, rates and what waits, live",
		Long: `Show upstreams, rates and what waits, live. Keys: arrows choose an upstream, p
pauses it and r resumes it (where you may), s sorts by another column, q ends.
Where standard output is no terminal, or a dumb one, it prints one table, as with
--once.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 200*time.Millisecond || every > time.Hour {
				return usage("--interval is from 200ms to 1h")
			}
			return a.top(cmd.Context(), every, once)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "print one table, of what happened within the interval, and end")
	cmd.Flags().DurationVar(&every, "interval", every, "how often it looks")
	return a.withJSON(cmd)
}

// sample is what a relay has told at a moment.
type sample struct {
	at       time.Time
	status   *control.Status
	counters *control.Counters
}

func (a *app) sample(ctx context.Context, client *control.Client) (s sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if s.status, err = client.Status(ctx); err != nil {
		return s, err
	}
	s.counters, err = client.Counters(ctx)
	s.at = time.Now()
	return s, err
}

func (a *app) top(ctx context.Context, every time.Duration, once bool) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	before, err := a.sample(ctx, client)
	if err != nil {
		return err
	}
	screen, ok := a.stdout.(*os.File)
	keys, typed := a.stdin.(*os.File)
	if once || a.json || os.Getenv("TERM") == "dumb" || !ok || !typed || !term.IsTerminal(int(screen.Fd())) || !term.IsTerminal(int(keys.Fd())) {
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return ctx.Err()
		}
		now, err := a.sample(ctx, client)
		if err != nil {
			return err
		}
		v := newTopView(before, now)
		if a.json {
			return printJSON(a.stdout, v)
		}
		_, err = io.WriteString(a.stdout, v.text(0, 0, ""))
		return err
	}
	return a.topLive(ctx, client, before, every, screen, keys)
}

// topLive is the screen. It gives the terminal back as it was, also when a signal
// ends it. Neither a terminal that takes nothing nor a relay that does not answer
// keeps a key from being obeyed.
func (a *app) topLive(ctx context.Context, client *control.Client, before sample, every time.Duration, screen, keys *os.File) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	was, err := term.MakeRaw(int(keys.Fd()))
	if err != nil {
		return err
	}
	defer term.Restore(int(keys.Fd()), was)
	drawn := newDrawing(screen)
	defer drawn.end()
	asked := &asking{relay: func(ctx context.Context) (sample, error) { return a.sample(ctx, client) }, answer: make(chan heard, 1)}
	defer asked.end()
	pressed := make(chan string)
	go readKeys(keys, pressed) // ends with the process
	v := newTopView(before, before)
	said := ""
	tick := time.NewTicker(every)
	defer tick.Stop()
	resized := time.NewTicker(resizeInterval) // no signal tells of it on every system
	defer resized.Stop()
	for {
		width, height := sizeOf(screen)
		drawn.show("\x1b[H" + strings.ReplaceAll(v.text(width, height, said), "\n", "\x1b[K\r\n") + "\x1b[J")
		select {
		case <-ctx.Done():
			return nil
		case <-resized.C: // it is drawn anew
		case key := <-pressed:
			switch v.press(key) {
			case topEnd:
				return nil
			case topPause:
				said = outcome(client.Pause(ctx, v.Lanes[v.chosen].Upstream))
			case topResume:
				said = outcome(client.Resume(ctx, v.Lanes[v.chosen].Upstream))
			}
		case <-tick.C:
			asked.ask(ctx)
		case now := <-asked.answer:
			asked.busy = false
			if said, v.stale = "", now.err != nil; v.stale {
				said = now.err.Error()
				continue
			}
			next := newTopView(before, now.sample)
			next.sorted, next.chosen = v.sorted, v.chosen
			next.sort()
			before, v = now.sample, next
		}
	}
}

// resizeInterval is how often it looks whether the window has another size.
const resizeInterval = 250 * time.Millisecond

// sizeOf is the size of a window, in columns and lines.
func sizeOf(screen *os.File) (width, height int) {
	width, height, err := term.GetSize(int(screen.Fd()))
	if err != nil || width < 1 || height < 1 { // a serial line says 0
		return 80, 24
	}
	return width, height
}

func outcome(note string, err error) string {
	if err != nil {
		return err.Error()
	}
	return cmp.Or(note, "done")
}

// keysOf are the keys of what was read at once: a key that is held down comes
// several times.
func keysOf(typed string) (keys []string) {
	for typed != "" {
		n := 1
		if strings.HasPrefix(typed, "\x1b[") {
			n = min(3, len(typed))
		}
		keys, typed = append(keys, typed[:n]), typed[n:]
	}
	return keys
}

// readKeys sends each key as its bytes: an arrow is three of them.
func readKeys(from io.Reader, to chan<- string) {
	b := make([]byte, 16)
	for {
		n, err := from.Read(b)
		if err != nil {
			to <- "q"
			return
		}
		for _, key := range keysOf(string(b[:n])) {
			to <- key
		}
	}
}
