//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// ledger keeps the books' entries in a file that outlives the machine that
// makes them: a machine writes it to its host. A nil ledger keeps nothing.
type ledger struct {
	mu      sync.Mutex
	file    *os.File
	written int64
	synced  int64
	syncing sync.Mutex
}

func openLedger(path string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &ledger{file: f}, nil
}

// note writes an entry that may be forgotten.
func (l *ledger) note(words ...string) (int64, error) {
	if l == nil {
		return 0, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := fmt.Fprintln(l.file, strings.Join(words, " "))
	l.written += int64(n)
	return l.written, err
}

// settle writes an entry and returns when it can't be forgotten any more.
func (l *ledger) settle(words ...string) error {
	if l == nil {
		return nil
	}
	mine, err := l.note(words...)
	if err != nil {
		return err
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.synced >= mine {
		return nil
	}
	l.mu.Lock()
	upTo := l.written
	l.mu.Unlock()
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.synced = upTo
	return nil
}

// readLedger enters what a ledger holds into new books. A last line that was
// cut is no entry.
func readLedger(path string) (*books, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := newBooks()
	for s := bufio.NewScanner(f); s.Scan(); {
		switch w := strings.Fields(s.Text()); {
		case len(w) == 3 && w[0] == "sent" && len(w[2]) == 16:
			b.sent(w[1], w[2])
		case len(w) == 3 && w[0] == "promised":
			b.promised(w[1], w[2])
		case len(w) == 4 && w[0] == "received" && len(w[3]) == 16:
			b.received(w[1], w[2], w[3], time.Time{})
		}
	}
	return b, nil
}
