package main

import (
	"context"
	"os"
	"slices"
	"strings"

	"postern/cmd/control"
	"postern/cmd/credential"
	"postern/cmd/definition"
	"postern/config"
)

// keepers has a change keep new secrets as credentials of a service where the
// flag says so, and forget those that the definition has had.
func (d *define) keepers(ctx context.Context, def *definition.Definition, how *definition.Change) error {
	if d.unit == "" {
		d.keeper = keeperOf(def)
		if d.keeper != nil {
			how.Forget = d.keeper
		}
		return nil
	}
	st, unreached := d.status(ctx)
	runs := "" // the service of the daemon; empty: there is none, or nobody can tell
	if unreached == nil {
		runs = credential.UnitOf(st.PID)
	}
	if d.unit == ofDaemon {
		if d.unit = runs; runs == "" {
			d.unit = credential.Service
		}
	}
	keeper, err := credential.New(d.unit)
	switch {
	case err != nil:
		return &failure{code: exitUnavailable, text: err.Error(), hint: "without --systemd-credential the secret is kept in a file of mode 0600"}
	case os.Geteuid() != 0:
		return &failure{code: exitNoPerm, text: "credentials of a service are root's", hint: "run it as root"}
	case len(def.Secrets) == 0:
		return &failure{code: exitData, text: "there is no secret that could be kept as a credential", hint: "give it by one of the flags for files, such as --password-file FILE"}
	}
	if old := keeperOf(def); old != nil && old.Unit != d.unit {
		return &failure{code: exitData, text: "a secret of it is a credential of " + old.Unit + ", and " + d.unit + " would not have that", hint: "name that service, or remove the definition and add it anew"}
	}
	if runs != "" && runs != d.unit {
		return &failure{code: exitData, text: "the daemon that runs is not " + d.unit, hint: "it is " + runs}
	}
	if unreached == nil && runs == "" && !keeper.Active(ctx) {
		return &failure{code: exitData, text: "the daemon that runs is not " + d.unit, hint: "--systemd-credential=UNIT names its service"}
	}
	d.keeper = keeper
	how.Keeper, how.Forget = keeper, keeper
	how.Reload = d.restartAfter
	return nil
}

// ofDaemon stands for the service of the daemon that runs.
const ofDaemon = "auto"

// keeperOf is the keeper of a credential that a definition names; nil: it names
// none that we have kept.
func keeperOf(def *definition.Definition) *credential.Keeper {
	for key, v := range def.Values {
		if name, ok := v.(string); ok && strings.HasSuffix(key, "_credential") {
			if keeper := credential.Of(name); keeper != nil {
				return keeper
			}
		}
	}
	return nil
}

// restartAfter is what stands for a reload where the service has new
// credentials, which it gets at its start alone.
func (d *define) restartAfter(ctx context.Context) error {
	running, err := d.keeper.Restart(ctx, d.restarted)
	d.restarted = running // after a start that failed it has to run again
	if err != nil || running {
		return err
	}
	return &control.NoDaemon{}
}

// supply gives a test the credentials that only the service has.
func (d *define) supply(ctx context.Context, a *config.Account) error {
	if d.keeper == nil {
		return nil
	}
	return d.keeper.Supply(ctx, a)
}

// withoutKept leaves out warnings about credentials that we keep: this process
// does not have them, and the service has.
func (d *define) withoutKept(list []config.Problem) []config.Problem {
	if d.keeper == nil {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(p config.Problem) bool {
		return strings.HasSuffix(p.Key, "_credential") && strings.HasPrefix(p.Text, "this process was not started by systemd")
	})
}
