// Package credential keeps secrets as encrypted credentials of a systemd
// service. It faces the programs systemd-creds and systemctl, owns the files
// credential-NAME.conf among the drop-ins of the service and the encrypted files
// that they name, and never writes a secret that is not encrypted, hands one to
// a program as an argument, or touches another drop-in.
package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"postern/config"
	"postern/spool/statefile"
)

// Service is the unit that a keeper has where no other is named.
const Service = "postern.service"

// Keeper keeps the secrets of one service. Its methods need the rights of root.
// It may be used by one goroutine at a time.
type Keeper struct {
	Unit    string // "postern.service"
	Store   string // the folder of encrypted credentials
	DropIns string // the folder that has UNIT.d
}

// New is the keeper of a unit of this machine. Its error says why there can be
// none.
func New(unit string) (*Keeper, error) {
	if !unitName.MatchString(unit) {
		return nil, fmt.Errorf("%q is not the name of a service, such as %s", unit, Service)
	}
	if strings.HasSuffix(unit, "@.service") {
		return nil, fmt.Errorf("%q is a template: name an instance of it, such as %s", unit, strings.Replace(unit, "@", "@relay", 1))
	}
	for _, program := range []string{"systemd-creds", "systemctl"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is not on this machine: encrypted credentials need systemd 250 or later", program)
		}
	}
	return &Keeper{Unit: unit, Store: store, DropIns: dropIns}, nil
}

// The places of systemd.
const (
	store   = "/etc/credstore.encrypted"
	dropIns = "/etc/systemd/system"
)

// Of is the keeper of a credential of this machine; nil: no service has one of
// that name that Keep has kept.
func Of(name string) *Keeper {
	folders, _ := os.ReadDir(dropIns) // where there is no systemd, there is none
	for _, f := range folders {
		if unit, ok := strings.CutSuffix(f.Name(), ".d"); ok && unitName.MatchString(unit) {
			if k := (&Keeper{Unit: unit, Store: store, DropIns: dropIns}); k.Has(name) {
				return k
			}
		}
	}
	return nil
}

// UnitOf is the system service that a process of this machine belongs to; empty:
// none that can be told.
func UnitOf(pid int) string {
	groups, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return ""
	}
	return unitIn(string(groups))
}

// unitIn is the service that the cgroups of a process name (cgroups(7)), one on each
// line: "0::/system.slice/system-postern.slice/postern@x.service". Services below
// user@1000.service are those of a user.
func unitIn(groups string) (unit string) {
	for line := range strings.Lines(groups) {
		id, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, path, _ := strings.Cut(path, ":")
		if id != "0" && controllers != "name=systemd" {
			continue
		}
		for name := range strings.SplitSeq(path, "/") {
			switch {
			case strings.HasPrefix(name, "user@"):
				return ""
			case unitName.MatchString(name):
				unit = name
			}
		}
	}
	return unit
}

var (
	// unitName is one as systemd has it, with the escapes of instances, "\x2d".
	unitName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:@\\-]{0,200}\.service$`)
	// plainName is a name that means nothing else in a unit, where % does.
	plainName = regexp.MustCompile(`^[A-Za-z0-9_.=-]{1,200}$`)
)

const (
	dropInLead = "credential-"
	dropInTail = ".conf"
)

func (k *Keeper) folder() string { return filepath.Join(k.DropIns, k.Unit+".d") }

func (k *Keeper) dropIn(name string) string {
	return filepath.Join(k.folder(), dropInLead+name+dropInTail)
}

// Keep encrypts a secret for this machine, under a name that was never used, and
// has the service get it at its next start. A crash in between leaves an
// encrypted file that nothing names.
func (k *Keeper) Keep(ctx context.Context, name string, secret []byte) error {
	if !plainName.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a credential", name)
	}
	sealed, err := k.run(ctx, secret, "systemd-creds", "encrypt", "--name="+name, "-", "-")
	if err != nil {
		return err
	}
	path := filepath.Join(k.Store, name)
	if err := place(path, 0o700, sealed, 0o600); err != nil {
		return err
	}
	text := "# Written by `postern`, which removes it with the definition that names it.\n[Service]\nLoadCredentialEncrypted=" + name + ":" + path + "\n"
	return place(k.dropIn(name), 0o755, []byte(text), 0o644)
}

// place writes a file in a folder, which is made with its mode where there is none.
func place(path string, folder fs.FileMode, content []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), folder); err != nil {
		return err
	}
	r, err := statefile.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := r.OpenFile(filepath.Base(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(mode); err != nil { // whatever the umask
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Has tells whether a credential is one that Keep has kept.
func (k *Keeper) Has(name string) bool {
	if !plainName.MatchString(name) {
		return false
	}
	_, err := os.Stat(k.dropIn(name))
	return err == nil
}

// Read decrypts one.
func (k *Keeper) Read(ctx context.Context, name string) (string, error) {
	if !k.Has(name) {
		return "", fs.ErrNotExist
	}
	plain, err := k.run(ctx, nil, "systemd-creds", "decrypt", "--name="+name, filepath.Join(k.Store, name), "-")
	return strings.TrimSuffix(string(plain), "\n"), err
}

// Forget removes those whose names begin with prefix, but for those that keep
// tells. The drop-in goes first: a service whose credential is missing does not
// start.
func (k *Keeper) Forget(ctx context.Context, prefix string, keep func(name string) bool) error {
	entries, err := os.ReadDir(k.folder())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var all []error
	changed := false
	for _, e := range entries {
		name, ours := strings.CutPrefix(strings.TrimSuffix(e.Name(), dropInTail), dropInLead)
		if !ours || !plainName.MatchString(name) || !strings.HasPrefix(name, prefix) || keep(name) {
			continue
		}
		if err := os.Remove(k.dropIn(name)); err != nil {
			all = append(all, err)
			continue
		}
		changed = true
		if err := os.Remove(filepath.Join(k.Store, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = append(all, err)
		}
	}
	if changed {
		_, err := k.run(ctx, nil, "systemctl", "daemon-reload")
		all = append(all, err)
	}
	return errors.Join(append(all, err)...)
}

// Active tells whether the service runs.
func (k *Keeper) Active(ctx context.Context) bool {
	_, err := k.run(ctx, nil, "systemctl", "--quiet", "is-active", k.Unit)
	return err == nil
}

// Restart has the service take its credentials, which only a start does. tried is
// false where it did not run, and was not started; failed tells that it ran, and
// does not since the last Restart.
func (k *Keeper) Restart(ctx context.Context, failed bool) (tried bool, err error) {
	if _, err := k.run(ctx, nil, "systemctl", "daemon-reload"); err != nil {
		return failed, err
	}
	if !failed && !k.Active(ctx) {
		return false, nil
	}
	_, _ = k.run(ctx, nil, "systemctl", "reset-failed", k.Unit) // several in a row are too many otherwise
	_, err = k.run(ctx, nil, "systemctl", "restart", k.Unit)
	return true, err
}

// runTimeout bounds one of these programs: a start waits until the relay is ready.
const runTimeout = 2 * time.Minute

// maxSaid is how much of what a program says goes into an error, in bytes.
const maxSaid = 1000

// run runs a program. What it says on its standard error is in the error, which
// holds no secret: these programs do not repeat their input.
func (k *Keeper) run(ctx context.Context, stdin []byte, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		text := strings.TrimSpace(said.String())
		return nil, fmt.Errorf("%s %s: %w: %s", program, args[0], err, text[:min(len(text), maxSaid)])
	}
	return out.Bytes(), nil
}

// Supply gives the accounts of a configuration the credentials that this process
// does not have, since they are the service's.
func (k *Keeper) Supply(ctx context.Context, accounts ...*config.Account) error {
	for _, a := range accounts {
		secrets := []*config.Secret{&a.Password}
		if a.OAuth != nil {
			secrets = append(secrets, &a.OAuth.ClientSecret)
		}
		for _, s := range secrets {
			name := s.Credential()
			if !k.Has(name) {
				continue
			}
			value, err := k.Read(ctx, name)
			if err != nil {
				return err
			}
			*s = config.NewSecret(value)
		}
	}
	return nil
}
