package console

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"testing"
)

// listening is another server, which notes whoever connects to it.
func listening(t *testing.T) (address string, asked func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var lines []string
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			lines = append(lines, "a connection")
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				line, _ := bufio.NewReader(c).ReadString('\n')
				mu.Lock()
				defer mu.Unlock()
				lines = append(lines, line)
			})
		}
	})
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(lines, ", ")
	}
}
