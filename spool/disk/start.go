package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
)

// Kinds of StartError; test with errors.Is.
var (
	ErrMissing      = errors.New("the spool folder does not exist")
	ErrNotFolder    = errors.New("the spool path is not a folder")
	ErrNotOurs      = errors.New("the spool folder belongs to another user")
	ErrOpenToOthers = errors.New("the spool folder can be entered by other users")
	ErrLocked       = errors.New("the spool is in use by another process")
	ErrDiskFull     = errors.New("the disk is full")
	ErrNotSpool     = errors.New("the folder is not a spool")
	ErrUnusable     = errors.New("the spool folder cannot be used")
)

// ErrLockHeld is what FS.Lock returns where another process has the lock.
var ErrLockHeld = errors.New("lock is held")

// StartError says why a spool can't be opened and what to do about it. Kind
// is one of the errors above.
type StartError struct {
	Dir   string
	Kind  error
	Owner int         // of ErrNotOurs: the user id of the owner
	Mode  fs.FileMode // of ErrOpenToOthers
	Found string      // of ErrNotSpool: what lies there; of ErrLocked: the process
	Cause error
}

func (e *StartError) Unwrap() []error { return []error{e.Kind, e.Cause} }

// WhoRuns is the user that this process runs as, for a command that gives
// something to it: the name, or the number where there is none.
func WhoRuns() string {
	uid := os.Geteuid()
	if uid < 0 { // Windows
		if u, err := user.Current(); err == nil {
			return u.Username
		}
		return "the user that runs postern"
	}
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// Error is a sentence for the administrator that ends in what to do.
func (e *StartError) Error() string {
	switch e.Kind {
	case ErrMissing:
		return fmt.Sprintf("spool folder %s does not exist and cannot be made: create it with `install -d -m 0700 -o %s %s`, or correct dir in [spool]", e.Dir, WhoRuns(), e.Dir)
	case ErrNotFolder:
		return fmt.Sprintf("spool path %s is not a folder: move that file away, or correct dir in [spool]", e.Dir)
	case ErrNotOurs:
		text := fmt.Sprintf("spool folder %s belongs to user %d: run postern as that user, or hand it over with `chown -R %s %s`", e.Dir, e.Owner, WhoRuns(), e.Dir)
		return text + e.inside(e.Owner == 0)
	case ErrOpenToOthers:
		return fmt.Sprintf("spool folder %s has mode %04o, so other users can read the mail in it: run `chmod 0700 %s`", e.Dir, e.Mode, e.Dir) +
			e.inside(e.Mode&0o002 != 0)
	case ErrLocked:
		who := "another process"
		if e.Found != "" {
			who = "process " + e.Found
		}
		return fmt.Sprintf("spool folder %s is in use by %s: stop that daemon first, or give this one another dir in [spool]", e.Dir, who)
	case ErrDiskFull:
		return fmt.Sprintf("the disk of spool folder %s is full: make room on it and start again; nothing in the spool was changed", e.Dir)
	case ErrNotSpool:
		return fmt.Sprintf("folder %s holds %s, which is not part of a spool: give [spool] an empty dir of its own", e.Dir, e.Found)
	}
	return fmt.Sprintf("spool folder %s cannot be used (%v): check its file system and permissions", e.Dir, e.Cause)
}

// inside is the way out where the folder is a volume whose owner and mode
// somebody else chooses.
func (e *StartError) inside(volume bool) string {
	if !volume {
		return ""
	}
	return fmt.Sprintf("; if it is a volume, name a folder in it that postern can make, such as dir = %q", e.Dir+"/queue")
}
