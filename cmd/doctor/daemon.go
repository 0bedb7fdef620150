package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/cmd/control"
	"postern/config"
)

// Daemon judges what the daemon says of itself; err is why it says nothing.
// cfg is the configuration as it was read here, nil where it cannot be used,
// and version that of this program.
func Daemon(st *control.Status, err error, cfg *config.Config, version string) []Finding {
	if st == nil {
		f := Finding{ID: DaemonRunning, Status: Failed, Text: err.Error(), Remedy: "`systemctl start postern`, or `postern serve`; its log says why it ends, where it does."}
		if errors.Is(err, fs.ErrPermission) {
			f.Status, f.Remedy = Skipped, "Run this command as a user of the group of the socket, or as root."
		}
		return []Finding{f}
	}
	out := []Finding{{ID: DaemonRunning, Status: OK, Text: fmt.Sprintf("process %d runs since %s", st.PID, st.Started.Local().Format(time.DateTime)),
		Facts: map[string]any{"pid": st.PID}}}
	v := Finding{ID: DaemonVersion, Status: OK, Text: "daemon and this program are both " + version}
	if st.Version != version {
		v.Status, v.Text = Warning, fmt.Sprintf("the daemon is %s, this program %s", st.Version, version)
		v.Remedy = "Restart the daemon after an update."
	}
	out = append(out, v)
	if cfg != nil {
		s := Finding{ID: DaemonSettings, Status: OK, Text: "the daemon uses the configuration as it stands in the file"}
		if st.Settings != cfg.Digest() {
			s.Status, s.Text = Warning, "the daemon uses other settings than the file has"
			s.Remedy = "`postern reload`, which also says what only changes at a restart."
		}
		out = append(out, s)
	}
	for _, problem := range st.Problems {
		out = append(out, Finding{ID: DaemonHealth, Status: Failed, Text: problem, Remedy: "See below, and `postern status`."})
	}
	if st.Healthy {
		out = append(out, Finding{ID: DaemonHealth, Status: OK, Text: "the daemon is healthy"})
	}
	if d := st.Descriptors; d != nil {
		out = append(out, judgeDescriptors(d))
	}
	return out
}

func judgeDescriptors(d *control.Descriptors) Finding {
	f := Finding{ID: DaemonFiles, Status: OK, Text: d.Text(), Facts: map[string]any{"limit": d.Limit, "needed": d.Needed}}
	if d.Scarce() {
		f.Status = Warning
		remedy := d.Remedy()
		f.Remedy = strings.ToUpper(remedy[:1]) + remedy[1:] + "."
	}
	return f
}

// lookAtUser tells who the daemon runs as, where the system says.
func lookAtUser(st *control.Status) []Finding {
	if st == nil {
		return nil
	}
	uid, ok := userOfProcess(st.PID)
	if !ok {
		return nil
	}
	return []Finding{judgeUser(uid)}
}

func judgeUser(uid int) Finding {
	if uid == 0 {
		return Finding{ID: DaemonUser, Status: Warning, Text: "the daemon runs as root",
			Remedy: "Run it as a user of its own (packaging/systemd has a unit): a port below 1024 needs no more than CAP_NET_BIND_SERVICE, or a socket of systemd."}
	}
	return Finding{ID: DaemonUser, Status: OK, Text: "the daemon runs as " + userName(uid)}
}

func sorted[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
