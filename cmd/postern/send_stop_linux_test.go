package main

import (
	"strings"
	"testing"
)

// TestSendStopsAtTheQuestion: Ctrl-C at the question whether to send ends the command.
func TestSendStopsAtTheQuestion(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1))
	h.start()
	send := []string{"send", "--from", "a@example.com", "--to", "b@example.org", "--subject", "s"}
	code, screen := h.converse(append(send, "--body", "x", "--yes", "0"), [2]string{"Send 1 message", interrupt})
	if code != exitTempFail || !strings.Contains(screen, "stopped") {
		t.Errorf("exit code %d: %s", code, screen)
	}
	if n := len(h.queued()); n > 0 {
		t.Errorf("%d messages were sent", n)
	}
}
