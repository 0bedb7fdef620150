package peer

import "testing"

func TestOwnHost(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:2580": true, "[::1]:80": true, "localhost": true, "relay": true, "Mail.Example.com.": true, "a.svc": true,
		"evil.example": false, "evil.example:2580": false, "127.0.0.1.evil.example": false, "mail.example.com.evil.example": false,
	} {
		if got := OwnHost(HostName(host), "mail.example.com"); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}
