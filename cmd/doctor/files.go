package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"postern/cmd/control"
	"postern/config"
	"postern/config/strict"
	"postern/spool/disk"
	"postern/spool/statefile"
)

// lookAtFiles looks at the state folder, secrets, keys and the socket.
func lookAtFiles(cfg *config.Config, st *control.Status, owner int) []Finding {
	var out []Finding
	state := lookAtFolder(cfg.StateDir)
	if state.Err == nil || needsState(cfg) {
		f := judgeFolder(StateFolder, state, owner, true)
		if f.Status == Failed && st != nil && st.Healthy {
			f.Status = Warning // the daemon works with it
		}
		out = append(out, f)
	}
	out = append(out, lookAtClaim(cfg, st)...)
	for _, name := range []string{"oauth", "tls", "budget", "pause", "carddav"} {
		if part := lookAtFolder(filepath.Join(cfg.StateDir, name)); part.Err == nil {
			out = append(out, judgeFolder(StateFolder, part, owner, false))
		}
	}
	if !cfg.Spool.Shared() {
		out = append(out, lookAbove(SpoolFolder, cfg.Spool.Dir, owner)...)
	}
	out = append(out, lookAbove(StateFolder, cfg.StateDir, owner)...)
	if runtime.GOOS == "windows" {
		return out
	}
	for _, s := range secretFiles(cfg) {
		out = append(out, judgeSecret(s.id, s.what, lookAtFolder(s.path), owner))
	}
	if st != nil {
		info, err := os.Lstat(cfg.Control.Socket)
		out = append(out, judgeSocket(cfg.Control.Socket, info, err, cfg.Control.Mode, "read and remove queued mail"))
		if path := cfg.Control.ReadSocket; path != "" {
			info, err := os.Lstat(path)
			out = append(out, judgeSocket(path, info, err, 0o660, "see who sends to whom"))
		}
	}
	return out
}

// lookAtClaim tells of another daemon that has the state folder: none can be
// started with it meanwhile. What has the spool as well is told of there.
func lookAtClaim(cfg *config.Config, st *control.Status) []Finding {
	pid, claimed := (&statefile.Folder{Dir: cfg.StateDir}).Claimant()
	if !claimed || st != nil && st.PID == pid {
		return nil
	}
	if other, held := disk.Holder(filepath.Join(cfg.Spool.Dir, "lock")); held && other == pid {
		return nil
	}
	return []Finding{{ID: StateLock, Status: Failed, Subject: cfg.StateDir,
		Text:   fmt.Sprintf("process %d, which is another daemon, has it: each would write over what the other has counted, so that none can start with it", pid),
		Remedy: "Give this relay a state_dir of its own, or stop that process."}}
}

// lookAbove looks at the folders above one of the relay's: whoever may write
// there can put another in its place.
func lookAbove(id ID, path string, owner int) []Finding {
	var unsafe *strict.Unsafe
	if err := strict.Above(path, max(owner, 0)); !errors.As(err, &unsafe) {
		return nil
	}
	return []Finding{{ID: id, Status: Failed, Subject: path, Text: "it can be exchanged: " + unsafe.Error(), Remedy: "`" + unsafe.Remedy + "`"}}
}

// needsState tells whether anything has to be kept in the state folder.
func needsState(cfg *config.Config) bool {
	for _, up := range cfg.Upstreams {
		if up.OAuth != nil {
			return true
		}
	}
	return cfg.NeedsCapture()
}

// secretFile is a file that nobody else may read.
type secretFile struct {
	id         ID
	what, path string
}

// secretFiles are all those that the configuration names, each once.
func secretFiles(cfg *config.Config) (list []secretFile) {
	seen := map[string]bool{"": true}
	add := func(id ID, what, path string) {
		if !seen[path] {
			seen[path] = true
			list = append(list, secretFile{id, what, path})
		}
	}
	for _, l := range cfg.AllListeners() {
		add(FileKey, "the key of the listener "+l.Name, l.KeyFile)
	}
	for _, name := range sorted(cfg.DKIM) {
		for _, k := range cfg.DKIM[name].Keys {
			add(FileKey, "the DKIM key "+k.Selector+" of "+name, k.KeyFile)
		}
	}
	for _, name := range sorted(cfg.Upstreams) {
		up := cfg.Upstreams[name]
		add(FileKey, "the key of the upstream "+name, up.KeyFile)
		add(FileSecret, "the password of the upstream "+name, up.Password.File())
		add(FileSecret, "the keytab of the upstream "+name, up.Kerberos.Keytab)
		add(FileSecret, "the tickets of the upstream "+name, up.Kerberos.CCache)
		if o := up.OAuth; o != nil {
			add(FileSecret, "the client secret of the upstream "+name, o.ClientSecret.File())
			add(FileSecret, "the token key of the upstream "+name, o.TokenKey.File())
			add(FileSecret, "the service account of the upstream "+name, o.ServiceAccountFile)
			add(FileKey, "the client key of the upstream "+name, o.KeyFile)
		}
	}
	add(FileSecret, "the URL of the database", cfg.Spool.URL.File())
	add(FileSecret, "the key of tokens in the database", cfg.Spool.TokenKey.File())
	for i := range cfg.Books {
		b := &cfg.Books[i]
		add(FileSecret, "the password of the book "+b.Name, b.Directory.Account.Password.File())
		add(FileSecret, "the keytab of the book "+b.Name, b.Directory.Account.Kerberos.Keytab)
		add(FileSecret, "the tickets of the book "+b.Name, b.Directory.Account.Kerberos.CCache)
		if o := b.Directory.Account.OAuth; o != nil {
			add(FileSecret, "the client secret of the book "+b.Name, o.ClientSecret.File())
			add(FileSecret, "the token key of the book "+b.Name, o.TokenKey.File())
			add(FileSecret, "the service account of the book "+b.Name, o.ServiceAccountFile)
			add(FileKey, "the client key of the book "+b.Name, o.KeyFile)
		}
	}
	return list
}

// judgeSecret judges a file that the daemon alone is to read.
func judgeSecret(id ID, what string, p place, owner int) Finding {
	f := Finding{ID: id, Status: Failed, Subject: p.Path}
	switch {
	case p.Err != nil:
		f.Text = what + " cannot be looked at: " + reason(p.Err)
		f.Remedy = "Correct the path, or run this command as the user of the daemon or as root."
	case p.Mode.Perm()&0o007 != 0:
		f.Text = fmt.Sprintf("%s has mode %04o: everybody on this machine can get at it", what, p.Mode.Perm())
		f.Remedy = "`chmod o= " + p.Path + "`, and then change what it holds: somebody may have read it."
	case owner >= 0 && p.UID >= 0 && !mayRead(p, owner):
		f.Text = fmt.Sprintf("%s belongs to %s with mode %04o: %s, who runs the daemon, cannot read it", what, userName(p.UID), p.Mode.Perm(), userName(owner))
		f.Remedy = fmt.Sprintf("`chown %s %s`", userName(owner), p.Path)
	default:
		f.Status, f.Text = OK, fmt.Sprintf("%s belongs to %s and has mode %04o", what, userName(p.UID), p.Mode.Perm())
	}
	return f
}

// mayRead tells whether a user may read a file, by its owner, groups and mode.
func mayRead(p place, uid int) bool {
	switch {
	case uid == 0:
		return true
	case p.UID == uid:
		return p.Mode.Perm()&0o400 != 0
	case inGroup(uid, p.GID):
		return p.Mode.Perm()&0o040 != 0
	}
	return p.Mode.Perm()&0o004 != 0
}

// judgeSocket judges a control socket of a daemon that answers there; can is
// what whoever connects can do.
func judgeSocket(path string, info fs.FileInfo, err error, want fs.FileMode, can string) Finding {
	f := Finding{ID: ControlSocket, Status: OK, Subject: path}
	switch {
	case err != nil:
		f.Status, f.Text = Warning, "it cannot be looked at: "+reason(err)
	case info.Mode()&fs.ModeSocket == 0:
		f.Status, f.Text = Warning, "it is no socket: another file has taken its place"
		f.Remedy = "Restart the daemon, once that file is gone."
	case info.Mode().Perm() != want.Perm():
		f.Status, f.Text = Warning, fmt.Sprintf("it has mode %04o, and the configuration says %04o", info.Mode().Perm(), want.Perm())
		f.Remedy = "Restart the daemon, which sets it."
	case info.Mode().Perm()&0o002 != 0:
		f.Status, f.Text = Warning, fmt.Sprintf("it has mode %04o: everybody on this machine can %s", info.Mode().Perm(), can)
		f.Remedy = "Set control.mode to \"0660\" and control.group to those who may."
	default:
		f.Text = fmt.Sprintf("it has mode %04o", info.Mode().Perm())
	}
	return f
}
