package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// How long a password_command may take, and how long after its end it may
// keep its output open through a child.
const (
	commandTimeout = 30 * time.Second
	commandLinger  = time.Second
)

// runSecretCommand runs a command and returns what it printed. Its standard
// error is dropped, because it can hold a secret.
func runSecretCommand(ctx context.Context, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = commandLinger
	out := &cappedBuffer{}
	cmd.Stdout = out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case out.full:
		return "", errors.New("printed more than " + FormatSize(maxSecret))
	case ctx.Err() != nil:
		return "", fmt.Errorf("did not end in time: %w", ctx.Err())
	case errors.As(err, &exit):
		return "", fmt.Errorf("failed: %s; run it by hand to see why", exit.ProcessState)
	case errors.Is(err, exec.ErrWaitDelay):
		return "", errors.New("left a child behind that keeps its output open")
	case err != nil:
		return "", fmt.Errorf("cannot be run: %w", err)
	}
	return out.kept.String(), nil
}

// cappedBuffer keeps up to maxSecret bytes and then refuses.
type cappedBuffer struct {
	kept bytes.Buffer // a field, not embedded: its ReadFrom knows no cap
	full bool
}

func (b *cappedBuffer) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > maxSecret {
		b.full = true
		return 0, errors.New("too much output")
	}
	return b.kept.Write(p)
}
