package doctor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"postern/config"
	"postern/spool/disk"
)

const (
	// maxPickup bounds how many files of the pickup folder are looked at.
	maxPickup = 20_000
	// lying is how long a file may lie in it; a daemon that is there takes it
	// within seconds.
	lying = 10 * time.Minute
)

// Pickup looks at the pickup folder: whether messages can be left in it and
// taken from it, how long they lie there, and what could not be taken. owner is
// who the daemon runs as, -1 where that is not known; running tells that it
// answers. Nothing where there is no such folder in the configuration.
func Pickup(cfg *config.Config, owner int, running bool) []Finding {
	dir := cfg.Pickup.Dir
	if dir == "" {
		return nil
	}
	folder := judgePickup(lookAtFolder(dir), owner, cfg.Path == "")
	out := []Finding{folder}
	if !isFolder(dir) {
		return out
	}
	now := time.Now()
	return append(out, judgeLying(dir, lookAtDrops(dir), cfg.Pickup.Settle, running, now)...)
}

// judgePickup judges the folder itself. made tells that a start makes it.
func judgePickup(p place, owner int, made bool) Finding {
	f := Finding{ID: PickupFolder, Status: Failed, Subject: p.Path}
	give := "postern"
	if owner >= 0 {
		give = userName(owner)
	}
	others, foreign := p.Mode.Perm()&0o022 != 0, owner > 0 && p.UID >= 0 && p.UID != owner
	switch {
	case made && errors.Is(p.Err, fs.ErrNotExist):
		f.Status, f.Text = OK, "it is not there yet: the first start makes it"
	case errors.Is(p.Err, fs.ErrNotExist):
		f.Text = "there is no such folder: nothing is taken from it, and sendmail has no place for messages while the daemon is away"
		f.Remedy = fmt.Sprintf("Make it: `install -d -o %s -g %s -m 3733 %s`", give, give, p.Path)
	case p.Err != nil:
		f.Status, f.Text, f.Remedy = Skipped, "it cannot be looked at: "+reason(p.Err), "Run this command as the user of the daemon, or as root."
	case !p.Mode.IsDir():
		f.Text, f.Remedy = "it is no folder", fmt.Sprintf("Move it away, and make a folder: `install -d -o %s -g %s -m 3733 %s`", give, give, p.Path)
	case p.UID < 0: // the system has no such modes
		f.Status, f.Text = OK, "it is there"
	case foreign && p.Mode&fs.ModeSticky != 0:
		f.Text = fmt.Sprintf("it is sticky and belongs to %s, so that the daemon, which runs as %s, could not remove the messages that it takes", userName(p.UID), give)
		f.Remedy = fmt.Sprintf("`chown %s %s`", give, p.Path)
	case p.UID == owner && p.Mode.Perm()&0o700 != 0o700:
		f.Text = fmt.Sprintf("its owner, the daemon, may not read and write it: mode %04o", p.Mode.Perm())
		f.Remedy = fmt.Sprintf("`chmod u+rwx %s`", p.Path)
	case others && p.Mode&fs.ModeSticky == 0:
		f.Status, f.Text = Warning, "others may write to it, and it is not sticky: they can remove and exchange each other's messages"
		f.Remedy = fmt.Sprintf("`chmod 3733 %s`", p.Path)
	case others && p.Mode&fs.ModeSetgid == 0 && owner != 0:
		f.Status, f.Text = Warning, "others may write to it, and its files don't get its group: the daemon cannot read what other users leave there"
		f.Remedy = fmt.Sprintf("`chmod 3733 %s`", p.Path)
	case p.Mode.Perm()&0o003 == 0o003 && p.Mode.Perm()&0o004 != 0:
		f.Status, f.Text = Warning, "everybody may list it, and so see who leaves messages there, and when"
		f.Remedy = fmt.Sprintf("`chmod 3733 %s`", p.Path)
	default:
		mode := uint32(p.Mode.Perm())
		if p.Mode&fs.ModeSticky != 0 {
			mode |= 0o1000
		}
		if p.Mode&fs.ModeSetgid != 0 {
			mode |= 0o2000
		}
		f.Status, f.Text = OK, fmt.Sprintf("it belongs to %s and has mode %04o", userName(p.UID), mode)
	}
	return f
}

// drops are the files of a pickup folder.
type drops struct {
	Files  int
	Oldest time.Time // zero: there is none
	Bad    int       // messages in bad
	Err    error
}

// lookAtDrops counts them. What is not named as a message is none.
func lookAtDrops(dir string) (d drops) {
	d.Err = eachEntry(dir, func(e fs.DirEntry) {
		if strings.HasPrefix(e.Name(), ".") || !strings.EqualFold(filepath.Ext(e.Name()), ".eml") || e.IsDir() {
			return
		}
		info, err := e.Info()
		if err != nil { // taken meanwhile
			return
		}
		d.Files++
		if at := info.ModTime(); d.Oldest.IsZero() || at.Before(d.Oldest) {
			d.Oldest = at
		}
	})
	err := eachEntry(filepath.Join(dir, "bad"), func(e fs.DirEntry) {
		if strings.EqualFold(filepath.Ext(e.Name()), ".eml") {
			d.Bad++
		}
	})
	if d.Err == nil && !errors.Is(err, fs.ErrNotExist) {
		d.Err = err
	}
	return d
}

// eachEntry calls do for the entries of a folder, up to maxPickup.
func eachEntry(dir string, do func(fs.DirEntry)) error {
	folder, err := disk.OpenFolder(dir) // others may write to the one above
	if err != nil {
		return err
	}
	defer folder.Close()
	f, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	for n := 0; n < maxPickup; {
		entries, err := f.ReadDir(1000)
		if n += len(entries); len(entries) == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		for _, e := range entries {
			do(e)
		}
	}
	return nil
}

// judgeLying judges what lies in the folder and in bad.
func judgeLying(dir string, d drops, settle time.Duration, running bool, now time.Time) []Finding {
	if d.Err != nil {
		return []Finding{{ID: PickupWaiting, Status: Skipped, Subject: dir, Text: "what lies there cannot be read: " + reason(d.Err),
			Remedy: "Run this command as the user of the daemon, or as root."}}
	}
	f := Finding{ID: PickupWaiting, Status: OK, Subject: dir, Text: "nothing lies there", Facts: map[string]any{"files": d.Files}}
	if d.Files > 0 {
		age := now.Sub(d.Oldest).Round(time.Second)
		f.Text = fmt.Sprintf("%s, the oldest for %s", count(d.Files, "message lies there", "messages lie there"), max(age, 0))
		f.Facts["oldest"] = d.Oldest.UTC()
		switch {
		case !running:
			f.Status, f.Remedy = Warning, "They are taken when the daemon is there: `systemctl start postern`, or `postern serve`."
		case age > lying+settle:
			f.Status, f.Remedy = Warning, "`postern status` says whether the folder can be used or the spool is full; `journalctl -u postern` names files that are left, and users over their rate."
		}
	}
	out := []Finding{f}
	if d.Bad > 0 {
		bad := filepath.Join(dir, "bad")
		out = append(out, Finding{ID: PickupBad, Status: Warning, Subject: bad, Facts: map[string]any{"files": d.Bad},
			Text:   count(d.Bad, "message could not be taken", "messages could not be taken"),
			Remedy: fmt.Sprintf("`head -n 1 %s/*.reason` says why. A message that is moved back to %s is tried again; remove what nobody needs.", bad, dir)})
	}
	return out
}
