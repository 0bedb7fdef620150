package config

import (
	"fmt"
	"slices"
	"strconv"

	"postern/config/alias"
	"postern/config/wire"
)

// maxArchive bounds a list of addresses that get copies.
const maxArchive = 20

// readArchive reads whom a copy goes to: an address, or a name that is completed
// or has an alias as those of clients.
func readArchive(f field, s string) (string, bool) {
	t, err := alias.ParseTarget(s)
	if err != nil || t.Final {
		return "", f.problem(strconv.QuoteToASCII(s)+" is not an address", "such as archive@example.com")
	}
	return t.Address, true
}

// checkArchive looks at who gets copies, and at the folder for them.
func (d *document) checkArchive(cfg *Config) {
	d.checkCopies(cfg, "submission.archive", cfg.Submission.Archive)
	for i := range cfg.Routes {
		d.checkCopies(cfg, joinIndex("route", i)+".archive", cfg.Routes[i].Archive)
	}
	if dir := cfg.Submission.ArchiveDir; dir != "" {
		d.checkArchiveFolder(cfg, resolved(dir))
	}
}

func (d *document) checkCopies(cfg *Config, key string, list []string) {
	if len(list) > maxArchive {
		d.problem(key, fmt.Sprintf("has %d addresses, and there can be %d", len(list), maxArchive), "an alias may stand for more")
	}
	for i, to := range list {
		if _, domain := wire.SplitAddress(to); domain == "" && cfg.Submission.Domain == "" {
			d.problem(joinIndex(key, i), strconv.QuoteToASCII(to)+" has no domain, and nothing completes it", "write the whole address, or set domain in [submission]")
		}
		if slices.Contains(list[:i], to) {
			d.warn(joinIndex(key, i), strconv.QuoteToASCII(to)+" is in the list twice", "each gets one copy")
		}
	}
}

// checkArchiveFolder keeps the folder away from those in which files mean
// something else: the pickup folder would send each copy again.
func (d *document) checkArchiveFolder(cfg *Config, dir string) {
	for _, other := range []struct{ key, dir string }{
		{"spool.dir", cfg.Spool.folder()}, {"pickup.dir", cfg.Pickup.Dir}, {"the Maildir of the capture server", cfg.CaptureDir()},
	} {
		if other.dir == "" {
			continue
		}
		if at := resolved(other.dir); within(dir, at) || within(at, dir) {
			d.problem("submission.archive_dir", strconv.Quote(cfg.Submission.ArchiveDir)+" and "+other.key+" are in each other's way", "give the archive a folder of its own")
		}
	}
	if within(resolved(cfg.StateDir), dir) {
		d.problem("submission.archive_dir", strconv.Quote(cfg.Submission.ArchiveDir)+" has state_dir in it", "give the archive a folder of its own, which may be in state_dir")
	}
}
