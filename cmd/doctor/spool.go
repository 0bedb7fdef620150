package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/spool"
	"postern/spool/disk"
	"postern/spool/journal"
)

// lookAtSpool looks at the folder, its disk and what waits in it.
func lookAtSpool(ctx context.Context, cfg *config.Config, st *control.Status, client *control.Client, owner int) []Finding {
	if cfg.Spool.Shared() {
		return lookAtDatabase(ctx, cfg, st, client)
	}
	dir := cfg.Spool.Dir
	folder := judgeFolder(SpoolFolder, lookAtFolder(dir), owner, journal.Foresee(journal.Options{Dir: dir, Create: cfg.Path == ""}) == nil)
	out := []Finding{folder}
	if st == nil {
		if pid, held := disk.Holder(filepath.Join(dir, "lock")); held {
			out = append(out, Finding{ID: SpoolLock, Status: Failed, Subject: dir,
				Text:   fmt.Sprintf("process %d has the spool, and does not answer at %s", pid, cfg.Control.Socket),
				Remedy: "It is a daemon with another configuration, or one that starts, stops or hangs: look at that process."})
		}
	}
	if !isFolder(dir) {
		return out
	}
	d := lookAtDisk(dir)
	out = append(out, judgeFileSystem(dir, &d), judgeSync(dir, measureSync(ctx, dir)), judgeSpace(dir, &d, cfg.Spool.MinFree, st))
	if d.Inodes > 0 {
		out = append(out, judgeInodes(dir, &d))
	}
	w := lookAtQueue(ctx, dir, st, client)
	return append(out, judgeQueue(dir, &w, cfg.Retry.WarnAfter, time.Now())...)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// place is a file or folder as it was found.
type place struct {
	Path     string
	Err      error
	Mode     fs.FileMode
	UID, GID int  // -1: the system does not say
	Shared   bool // given to a group of this process: see disk.GroupIsOurs
}

func lookAtFolder(path string) place {
	p := place{Path: path, UID: -1, GID: -1}
	info, err := os.Stat(path)
	if err != nil {
		p.Err = err
		return p
	}
	p.Mode = info.Mode()
	p.UID, p.GID = ownersOf(info)
	p.Shared = disk.GroupIsOurs(info)
	return p
}

// judgeFolder judges a folder that is to be its owner's alone. owner is who
// the daemon runs as; -1: not known. made tells that a start makes it.
func judgeFolder(id ID, p place, owner int, made bool) Finding {
	f := Finding{ID: id, Status: Failed, Subject: p.Path}
	switch {
	case made && errors.Is(p.Err, fs.ErrNotExist):
		f.Status, f.Text = OK, "it is not there yet: the first start makes it"
	case errors.Is(p.Err, fs.ErrNotExist):
		f.Text = "there is no such folder"
		f.Remedy = fmt.Sprintf("Make it as the user who runs postern, by `install -d -m 0700 %s`; or mount the disk that it is on.", p.Path)
		if owner >= 0 {
			f.Remedy = fmt.Sprintf("`install -d -m 0700 -o %s %s`; or mount the disk that it is on.", userName(owner), p.Path)
		}
	case p.Err != nil:
		f.Text = "it cannot be looked at: " + reason(p.Err)
		f.Remedy = "Run this command as the user of the daemon, or as root."
	case !p.Mode.IsDir():
		f.Text = "it is not a folder"
		f.Remedy = "Move that file away, or correct the path."
	case runtime.GOOS == "windows":
		f.Status, f.Text = OK, "it is there; its access list is not looked at"
	case id == StateFolder && p.Mode.Perm()&0o022 == 0 && (owner < 0 || p.UID == owner):
		// What is kept in it is closed by itself; others may see names.
		f.Status, f.Text = OK, fmt.Sprintf("it belongs to %s and has mode %04o", userName(p.UID), p.Mode.Perm())
	case p.Shared && p.Mode.Perm()&0o007 == 0:
		f.Status, f.Text = OK, fmt.Sprintf("it has mode %04o and was given to the group of the daemon", p.Mode.Perm())
	case p.Mode.Perm()&0o077 != 0:
		f.Text = fmt.Sprintf("it has mode %04o: other users can get at what is in it", p.Mode.Perm())
		f.Remedy = "`chmod 0700 " + p.Path + "`"
	case owner >= 0 && p.UID >= 0 && p.UID != owner:
		f.Text = fmt.Sprintf("it belongs to %s, and the daemon runs as %s", userName(p.UID), userName(owner))
		f.Remedy = fmt.Sprintf("`chown -R %s %s`", userName(owner), p.Path)
	default:
		f.Status, f.Text = OK, fmt.Sprintf("it belongs to %s and has mode %04o", userName(p.UID), p.Mode.Perm())
	}
	return f
}

// reason is an error of a file without the path.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// maxListed bounds how many deliveries are looked at, the oldest first.
const maxListed = 10_000

// waiting is what waits in a spool.
type waiting struct {
	Messages int
	Oldest   time.Time       // since when it waits, also one that is to come; zero: nothing waits
	Later    map[string]bool // messages of the Listed that are not to go out yet
	InDoubt  int             // of the Listed
	Listed   int
	SetAside int
	Err      error
}

// lookAtQueue asks the daemon, or reads the spool that no daemon has.
func lookAtQueue(ctx context.Context, dir string, st *control.Status, client *control.Client) (w waiting) {
	if st != nil {
		w.Messages, w.SetAside = st.Spool.Messages, st.Spool.SetAside
		w.Err = client.List(ctx, control.Filter{Limit: maxListed}, func(e *control.Entry) error {
			begins := e.Accepted
			if e.NotBefore != nil {
				begins = *e.NotBefore
			}
			w.note(e.ID, begins, e.InDoubt)
			return nil
		})
		return w
	}
	r, err := journal.OpenReader(dir)
	if err != nil {
		w.Err = err
		return w
	}
	defer r.Close()
	w.read(ctx, r)
	return w
}

// read looks at a spool.
func (w *waiting) read(ctx context.Context, r spool.Reader) {
	u, err := r.Usage(ctx)
	if err != nil {
		w.Err = err
		return
	}
	w.Messages, w.SetAside = u.Messages, u.SetAside
	w.Err = r.Find(ctx, spool.Query{}, func(s spool.Summary) bool {
		w.note(s.ID.String(), s.Begins(), s.InDoubt)
		return w.Listed < maxListed
	})
}

// note counts a delivery of a message, which waits since begins; not at all
// until then.
func (w *waiting) note(id string, begins time.Time, inDoubt bool) {
	w.Listed++
	if begins.After(time.Now()) {
		if w.Later == nil {
			w.Later = map[string]bool{}
		}
		w.Later[id] = true
	}
	if w.Oldest.IsZero() || begins.Before(w.Oldest) {
		w.Oldest = begins
	}
	if inDoubt {
		w.InDoubt++
	}
}

// judgeQueue judges what waits; warnAfter is the retry.warn_after of the
// configuration, 0 where senders are never told.
func judgeQueue(dir string, w *waiting, warnAfter time.Duration, now time.Time) []Finding {
	if w.Err != nil {
		return []Finding{{ID: SpoolQueue, Status: Skipped, Subject: dir, Text: "what waits cannot be read: " + w.Err.Error(),
			Remedy: "Run this command as the user of the daemon, or as root."}}
	}
	if warnAfter <= 0 {
		warnAfter = 4 * time.Hour
	}
	q := Finding{ID: SpoolQueue, Status: OK, Subject: dir, Text: "nothing waits", Facts: map[string]any{"messages": w.Messages}}
	if w.Oldest.After(now) {
		q.Text = count(w.Messages, "message is", "messages are") + " to go out later: `postern queue list --scheduled`"
		q.Facts["scheduled"] = w.Messages
	} else if !w.Oldest.IsZero() {
		age := now.Sub(w.Oldest).Round(time.Second)
		later := len(w.Later)
		q.Text = fmt.Sprintf("%s, the oldest for %s", count(max(w.Messages-later, 1), "message waits", "messages wait"), age)
		if later > 0 {
			q.Text += "; besides, " + count(later, "is", "are") + " to go out later: `postern queue list --scheduled`"
			q.Facts["scheduled"] = later
		}
		q.Facts["oldest"] = w.Oldest.UTC()
		if age > warnAfter {
			q.Status, q.Remedy = Warning, "`postern queue list` shows what waits and for what, `postern queue show ID` why."
		}
	}
	out := []Finding{q}
	if w.SetAside > 0 {
		out = append(out, Finding{ID: SpoolAside, Status: Warning, Subject: filepath.Join(dir, "bad"), Facts: map[string]any{"files": w.SetAside},
			Text:   count(w.SetAside, "damaged record was set aside", "damaged records were set aside"),
			Remedy: "Look at the disk (smartctl, the kernel's log). The .txt beside each says which message it was; docs/spool-format.md says what to do with the rest. Move them away when that is done."})
	}
	if w.InDoubt > 0 {
		out = append(out, Finding{ID: SpoolDoubt, Status: Warning, Subject: dir, Facts: map[string]any{"deliveries": w.InDoubt},
			Text:   count(w.InDoubt, "delivery was", "deliveries were") + " cut off behind the final dot: nobody knows whether the upstream has it",
			Remedy: "`postern queue list` marks them. With retry.after_dot = \"hold\" they wait for `postern queue release` or `remove`; otherwise they are sent again, which can make a duplicate."})
	}
	return out
}
