package pickup

import (
	"context"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"time"
)

const (
	suffix = ".eml"
	// ownPrefix begins the names of files that sendmail gives them when they are
	// whole; others have to stay the same for a while.
	ownPrefix = "postern-"
	// maxOwners, perOwner and maxWaiting bound what is held of one look at the
	// folder: whose files, how many of each, and how many that change.
	maxOwners  = 1000
	perOwner   = 2000
	maxFound   = 10_000
	maxWaiting = 10_000
	maxLeft    = 100_000
	maxNamed   = 10_000 // files that wait for an address book
	chunk      = 1000
)

// scan reads the folder, and finds what is to be handed in: of each owner the
// oldest that there is room for, the owners in turn.
func (w *watch) scan(ctx context.Context, now time.Time) {
	w.read, w.more, w.full, w.findings = now, false, false, nil
	maps.DeleteFunc(w.named, func(_ string, until time.Time) bool { return !now.Before(until) })
	dir, err := w.folder.root.Open(".")
	if err != nil {
		return
	}
	defer dir.Close()
	seen := map[string]look{}
	found, total := map[uint32][]finding{}, 0
	for ctx.Err() == nil {
		entries, err := dir.ReadDir(chunk)
		for _, e := range entries {
			f, ok := w.look(e, now, seen)
			if !ok {
				continue
			}
			own := found[f.owner]
			if len(own) >= perOwner || total >= maxFound || own == nil && len(found) >= maxOwners {
				w.more, w.full = true, true
				continue
			}
			found[f.owner] = append(own, f)
			total++
		}
		if err != nil {
			break
		}
	}
	w.seen = seen
	w.findings = inTurn(found, total)
}

// look looks at one entry of the folder. ok: it is to be handed in.
func (w *watch) look(e fs.DirEntry, now time.Time, seen map[string]look) (f finding, ok bool) {
	name := e.Name()
	if len(name) <= len(suffix) || name[0] == '.' || !strings.EqualFold(filepath.Ext(name), suffix) || e.IsDir() {
		return f, false
	}
	info, err := w.folder.root.Lstat(name)
	if err != nil {
		return f, false
	}
	is := identityOf(info)
	if old, left := w.left[name]; left {
		if old.identity == is {
			return f, false
		}
		delete(w.left, name)
	}
	if until, waits := w.named[name]; waits && now.Before(until) {
		w.more = true
		return f, false
	}
	f = finding{name, info, ownerOf(info)}
	if strings.HasPrefix(name, ownPrefix) || !info.Mode().IsRegular() {
		return f, true
	}
	old, known := w.seen[name]
	if !known || old.identity != is {
		old = look{is, now}
	}
	// Time that runs backwards makes it wait anew.
	if passed := now.Sub(old.at); passed < w.set.settle {
		if len(seen) < maxWaiting {
			seen[name] = old
		} else {
			w.more = true
		}
		return f, false
	}
	if len(seen) < maxWaiting { // for as long as it can't be taken, it has not to wait again
		seen[name] = old
	}
	return f, true
}

// inTurn takes one file of each owner after the other, of each the oldest
// first.
func inTurn(found map[uint32][]finding, total int) []finding {
	all := make([]finding, 0, total)
	var owners [][]finding
	for _, own := range found {
		byAge(own)
		owners = append(owners, own)
	}
	for i := 0; len(all) < total; i++ {
		for _, own := range owners {
			if i < len(own) {
				all = append(all, own[i])
			}
		}
	}
	return all
}
