//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// runProgram sends all rows of the job by `postern send`, and returns nil where
// that ends with 0. When ctx ends, the program is killed. Every second job hands
// in at the socket, the others by SMTP.
func (j *job) runProgram(ctx context.Context, d *daemon) error {
	rows := filepath.Join(d.dir, j.name+".ndjson")
	if err := j.writeRows(rows); err != nil {
		return err
	}
	args := []string{"send", "--config", d.config(), "--json", "--rows", rows, "--key", "{{.number}}", "--body", "{{.body}}",
		"--from", j.name + "@client.example", "--to", "to@sink.example", "--subject", "proof", "--header", "X-Number: {{.number}}"}
	if j.n%2 == 0 {
		args = append(args, "--smtp", d.addr)
	}
	cmd := exec.CommandContext(ctx, d.binary, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+d.dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// What it has printed is a promise, whatever becomes of it then.
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var one struct {
			N          int
			ID, Status string
		}
		if json.Unmarshal(lines.Bytes(), &one) != nil {
			continue // cut off
		}
		switch one.Status {
		case "repeated":
			j.before.Add(1)
			fallthrough
		case "queued":
			j.books.promised(j.number(one.N-1), one.ID)
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode() != 75 {
		return fmt.Errorf("%w: %w: %s", errBroken, err, said.Bytes())
	}
	return err
}

// errBroken is that of a program that ends with a code that no kill explains.
var errBroken = errors.New("postern send is broken")

// writeRows writes the rows once: the second run has the same.
func (j *job) writeRows(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	for row, body := range j.bodies {
		j.books.sent(j.number(row), digest(body))
		if err := out.Encode(map[string]string{"number": j.number(row), "body": string(body)}); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}
