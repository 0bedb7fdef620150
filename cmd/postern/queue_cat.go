package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"postern/cmd/control"
	"postern/spool"
)

func (a *app) queueCatCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cat ID",
		Short: "Print the content of one message, also of a spool that no daemon has open",
		Args:  one("the ID of one message"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			out := a.stdout
			if isTerminal(out) {
				shown := &terminalWriter{w: bufio.NewWriter(out)}
				defer shown.w.Flush() // a terminal that is gone is nobody's fault
				out = shown
			}
			return noMessage(args[0], a.cat(cmd.Context(), id, out))
		},
	}
}

func (a *app) cat(ctx context.Context, id spool.ID, out io.Writer) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	err = client.Content(ctx, id, out)
	if !stopped(err) {
		return err
	}
	src, err := a.openStopped(err)
	if err != nil {
		return err
	}
	defer src.Close()
	c, err := src.Content(ctx, id)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.Copy(out, io.NewSectionReader(c, 0, c.Size()))
	return err
}

// noMessage turns "not found" into a sentence about the message.
func noMessage(name string, err error) error {
	var refused *control.Refused
	if errors.Is(err, spool.ErrNotFound) || errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return &failure{
			code: exitData,
			text: fmt.Sprintf("no message %s is queued", name),
			hint: "It was delivered, bounced or removed, or never was: the log has a line for each.",
			err:  err,
		}
	}
	if errors.Is(err, spool.ErrDamaged) || errors.As(err, &refused) && refused.Status == http.StatusGone {
		return &failure{
			code: exitData,
			text: fmt.Sprintf("message %s cannot be read", name),
			hint: "Where it is still queued, `postern queue remove` ends it; the log has what was known of it.",
			err:  err,
		}
	}
	return err
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWriter shows the content of a message on a terminal: control bytes
// could do to it what they like, so they and all that is not ASCII text
// become "?". Redirected to a file, the content stays as it is.
type terminalWriter struct{ w *bufio.Writer }

func (t *terminalWriter) Write(p []byte) (int, error) {
	for i, c := range p {
		switch {
		case c == '\r':
			continue
		case c != '\n' && c != '\t' && (c < ' ' || c > '~'):
			c = '?'
		}
		if err := t.w.WriteByte(c); err != nil {
			return i, err
		}
	}
	return len(p), nil
}
