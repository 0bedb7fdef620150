package api

import (
	"os"
	"os/exec"
	"testing"
)

func TestSDKs(t *testing.T) {
	r := newRig(t, "")
	cmd := exec.Command("node", "testdata/sdk.mjs", r.url, secret)
	cmd.Env = append(os.Environ(), "NODE_PATH_BASE="+os.Getenv("POSTERN_SDKS"))
	out, err := cmd.CombinedOutput()
	t.Logf("%v\n%s", err, out)
}
