package capture_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"postern/relay/capture"
)

// The server is for this process alone: another user of the machine gets no
// greeting.
func TestAnotherUserIsSentAway(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if os.Getuid() != 0 || err != nil {
		t.Skip("needs root, to be another user, and bash")
	}
	server, _ := start(t, capture.Options{})
	for _, uid := range []uint32{0, 65534} {
		script := fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d; head -c 3 <&3", server.Addr().(*net.TCPAddr).Port)
		cmd := exec.Command(bash, "-c", script)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		got, _ := cmd.Output()
		if greeted := string(got) == "220"; greeted != (uid == 0) {
			t.Errorf("user %d read %q", uid, got)
		}
	}
}
