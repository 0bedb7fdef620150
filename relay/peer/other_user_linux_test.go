package peer

import (
	"net"
	"os"
	"os/exec"
	"os/user"
	"syscall"
	"testing"
)

// Another user's program is told from ours, over IPv4 and IPv6.
func TestLocalUserOfAnotherUsersClient(t *testing.T) {
	other, err := user.LookupId("65534")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs root, and a user with the number 65534")
	}
	for _, address := range []string{"127.0.0.1", "::1"} {
		ln, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			t.Skip(err)
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		cmd := exec.Command("bash", "-c", `exec 3<>/dev/tcp/$0/$1; read -r line <&3`, address, port)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if err := cmd.Start(); err != nil {
			t.Skip(err)
		}
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if name, err := LocalUser(nc); err != nil || name != other.Username {
			t.Errorf("%s: %q, %v, want %q", address, name, err, other.Username)
		}
		nc.Write([]byte("bye\n"))
		nc.Close()
		cmd.Wait()
	}
}
