package strict

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// inContainer is set in the process that TestVolumeOfAContainer starts, to the
// folder in which a/b/file is.
const inContainer = "POSTERN_TEST_IN_CONTAINER"

// TestVolumeOfAContainer: an emptyDir has mode 0777. In a container that is no
// danger where it is a volume; elsewhere in the container, or on a machine, it
// is.
func TestVolumeOfAContainer(t *testing.T) {
	if dir := os.Getenv(inContainer); dir != "" {
		judgeInContainer(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("this needs root, to mount a volume")
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestVolumeOfAContainer$", "-test.v")
	cmd.Env = append(os.Environ(), inContainer+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "SKIP") || err != nil && len(out) == 0 {
		t.Skipf("no namespaces or mounts here: %v, %s", err, out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func judgeInContainer(t *testing.T, dir string) {
	volume := filepath.Join(dir, "volume")
	if err := os.Mkdir(volume, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skip(err)
	}
	if err := syscall.Mount("tmpfs", volume, "tmpfs", 0, "mode=0777,size=64k"); err != nil {
		t.Skip(err)
	}
	spool := filepath.Join(volume, "queue")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Above(filepath.Join(spool, "file")); err != nil {
		t.Errorf("a volume: %v", err)
	}
	if err := File(volume); err == nil {
		t.Error("a volume that is itself what is asked for, and that everybody can write to, was taken")
	}
	if err := os.Chmod(spool, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Above(filepath.Join(spool, "file")); err == nil {
		t.Error("a folder in the volume that everybody can write to was taken")
	}
	if err := os.Chown(volume, stranger, -1); err != nil {
		t.Fatal(err)
	}
	if err := Above(filepath.Join(volume, "file")); err == nil {
		t.Error("a volume of another user was taken")
	}
}
