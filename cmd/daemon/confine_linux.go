package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"postern/config"
	"postern/spool/disk"
)

// confine takes from this process, and from every command that it runs, the
// right to write anywhere but in its own folders, by Landlock (since Linux
// 5.13). It returns those folders; nil: it is not wanted, or this kernel
// cannot.
func confine(cfg *config.Config) ([]string, error) {
	if cfg.Confine == "off" || cfg.Confine != "on" && runsCommands(cfg) && len(cfg.ConfineWritable) == 0 {
		return nil, nil
	}
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || version < 1 {
		if cfg.Confine == "on" {
			return nil, errors.New(`confine = "on", and this kernel has no Landlock`)
		}
		return nil, nil
	}
	if err := disk.MakeFolder(cfg.StateDir); err != nil && cfg.Path == "" {
		return nil, err
	}
	folders := []string{cfg.Spool.Dir, cfg.StateDir, cfg.CaptureDir(), filepath.Dir(cfg.Control.Socket)}
	if cfg.Control.ReadSocket != "" {
		folders = append(folders, filepath.Dir(cfg.Control.ReadSocket))
	}
	for _, l := range cfg.AllListeners() {
		if l.Network == "unix" {
			folders = append(folders, filepath.Dir(l.Target))
		}
	}
	if l := &cfg.Console.Listener; l.Network == "unix" {
		folders = append(folders, filepath.Dir(l.Target))
	}
	if cfg.Console.Listener.Address != "" { // which writes cards
		for i := range cfg.Books {
			if b := &cfg.Books[i]; b.Provider == config.BookVCards {
				folders = append(folders, b.Dir)
			}
		}
	}
	if dir := cfg.Submission.ArchiveDir; dir != "" {
		folders = append(folders, dir)
	}
	if cfg.Pickup.Dir != "" {
		folders = append(folders, cfg.Pickup.Dir)
	}
	folders = append(folders, cfg.ConfineWritable...)
	slices.Sort(folders)
	folders = slices.Compact(folders)
	folders = slices.DeleteFunc(folders, func(dir string) bool {
		info, err := os.Stat(dir)
		return err != nil || !info.IsDir()
	})
	own := landlock.RWDirs(folders...)
	if version >= 2 {
		own = own.WithRefer() // a rename from one folder to another inside of them
	}
	err := landlock.V5.BestEffort().RestrictPaths(
		landlock.RODirs("/"),
		own,
		landlock.RWFiles("/dev/null", "/dev/zero", "/dev/full", "/dev/tty").IgnoreIfMissing(),
	)
	return folders, err
}

// runsCommands says whether somebody else's program is run, which may write
// where nobody here knows of.
func runsCommands(cfg *config.Config) bool {
	for i := range cfg.Books {
		a := &cfg.Books[i].Directory.Account
		if a.Password.IsCommand() || a.OAuth != nil && (a.OAuth.ClientSecret.IsCommand() || a.OAuth.TokenKey.IsCommand()) {
			return true
		}
	}
	for _, up := range cfg.Upstreams {
		if up.Password.IsCommand() || up.OAuth != nil && (up.OAuth.ClientSecret.IsCommand() || up.OAuth.TokenKey.IsCommand()) {
			return true
		}
	}
	return slices.ContainsFunc(cfg.Alerts, func(a config.Alert) bool { return a.Command != nil || a.Password.IsCommand() || a.URL.IsCommand() })
}
