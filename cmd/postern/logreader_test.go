//go:build unix

package main

import (
	"bufio"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A relay whose log nobody reads any more goes on taking mail.
func TestLogReaderGoesAway(t *testing.T) {
	listen := freeAddr(t)
	h := newHarness(t, ordinary(listen, freeAddr(t)))
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h.cmd = h.command(t.Context(), "serve")
	h.cmd.Stdout, h.cmd.Stderr = writer, writer
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	for lines := bufio.NewScanner(reader); lines.Scan() && !strings.Contains(lines.Text(), `"event":"ready"`); {
	}
	reader.Close()

	send(t, listen, "a@example.com", "unheard")
	if list := h.queued(); len(list) != 1 {
		t.Errorf("queued: %+v", list)
	}
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := h.cmd.Wait(); err != nil {
		t.Errorf("it ended by itself, or badly: %v", err)
	}
}
