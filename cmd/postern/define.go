package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/cmd/definition"
	"postern/cmd/doctor"
	"postern/config"
)

// define is one run of a command that adds or edits a definition.
type define struct {
	*app
	kind         definition.Kind
	cmd          *cobra.Command
	passwordFile string // "-": standard input; empty: none
	unset        []string
	dryRun       bool
	noTest       bool
	force        bool
	before       string // the name of another one
	first        bool
	login        bool             // the test failed for nothing but a login
	findings     []doctor.Finding // of the test
	asked        *bufio.Reader    // what the terminal answers
}

// defined is the answer of these commands as JSON.
type defined struct {
	File     string           `json:"file"`
	Text     string           `json:"text,omitempty"` // what it holds
	Written  bool             `json:"written"`        // or removed
	Running  bool             `json:"running"`        // a daemon has taken it
	Findings []doctor.Finding `json:"findings,omitempty"`
	Warnings []config.Problem `json:"warnings,omitempty"`
	Login    bool             `json:"login,omitempty"` // it needs `postern upstream login`
}

// defineCommand adds definitions of a kind, or edits them.
func (a *app) defineCommand(kind definition.Kind, edit bool, short, long string) *cobra.Command {
	d := &define{app: a, kind: kind}
	verb := "add"
	if edit {
		verb = "edit"
	}
	d.cmd = &cobra.Command{
		Use: verb + " NAME", Short: short, Long: long,
		Args: one("a name for one " + string(kind)),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd.Context(), args[0], edit) },
	}
	flags := d.cmd.Flags()
	for _, s := range definition.Keys(kind) {
		switch name := flagOf(s.Name); {
		case s.Secret || s.Name == "password_file":
		case definition.IsList(s.Kind):
			flags.StringArray(name, nil, s.Help+" Give it once for each")
		case s.Kind == "boolean":
			flags.String(name, "", s.Help)
			flags.Lookup(name).NoOptDefVal = "true"
		default:
			flags.String(name, "", s.Help)
		}
	}
	flags.BoolVar(&d.dryRun, "dry-run", false, "show the file and what is wrong with it, and write nothing")
	if edit {
		flags.StringArrayVar(&d.unset, "unset", nil, "leave this `KEY` to its default; give it once for each")
	}
	if kind == definition.Route && !edit {
		flags.StringVar(&d.before, "before", "", "ask it before the route of this `NAME` in conf.d")
		flags.BoolVar(&d.first, "first", false, "ask it before all routes that were added")
		d.cmd.MarkFlagsMutuallyExclusive("before", "first")
	}
	if kind == definition.Upstream {
		flags.StringVar(&d.passwordFile, "password-file", "", "the password is the first line of this `FILE`, \"-\" for standard input; it is copied")
		flags.BoolVar(&d.noTest, "no-test", false, "do not test it before it is kept")
		flags.BoolVar(&d.force, "force", false, "keep it although the test failed")
	}
	return a.withJSON(d.cmd)
}

// order is where the definition is to stand; 0: nowhere in particular.
func (d *define) order(store *definition.Store) (int, error) {
	if d.before == "" && !d.first {
		return 0, nil
	}
	order, err := store.Before(d.kind, d.before)
	if err != nil && d.before != "" {
		return 0, d.notOurs(err, d.before)
	}
	return order, err
}

func flagOf(key string) string { return strings.NewReplacer("_", "-", ".", "-").Replace(key) }

func (d *define) run(ctx context.Context, name string, edit bool) error {
	store, err := definition.Open(d.config)
	if err != nil {
		return &failure{code: exitConfig, text: err.Error(), err: err}
	}
	def := definition.Definition{Kind: d.kind, Name: name, Values: map[string]any{}, Secrets: map[string]string{}}
	how := definition.Change{DryRun: d.dryRun, Reload: d.reloadAfter}
	if edit {
		there, err := store.Read(d.kind, name)
		if err != nil {
			return d.notOurs(err, name)
		}
		def.Values, how.Seen = there.Values, there.Digest
	}
	if err := d.collect(ctx, &def, edit); err != nil {
		return err
	}
	if d.kind == definition.Upstream && !d.noTest {
		how.Try = func(ctx context.Context, cfg *config.Config) error { return d.try(ctx, cfg, name) }
	}
	if how.Order, err = d.order(store); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop() // so that nothing is left behind
	done, err := store.Put(ctx, def, how)
	return d.tell(done, !d.dryRun, err)
}

// collect takes the values of the flags, and asks on a terminal for what is
// missing.
func (d *define) collect(ctx context.Context, def *definition.Definition, edit bool) error {
	for _, s := range definition.Keys(d.kind) {
		f := d.cmd.Flags().Lookup(flagOf(s.Name))
		if s.Secret || s.Name == "password_file" || f == nil || !f.Changed {
			continue
		}
		switch {
		case definition.IsList(s.Kind):
			def.Values[s.Name], _ = d.cmd.Flags().GetStringArray(f.Name)
		case s.Kind == "path":
			// The file counts from its own folder, whoever types from theirs.
			path, err := filepath.Abs(f.Value.String())
			if err != nil {
				return err
			}
			def.Values[s.Name] = path
		default:
			def.Values[s.Name] = f.Value.String()
		}
	}
	for _, key := range d.unset {
		if _, set := def.Values[key]; !set {
			return &failure{code: exitData, text: fmt.Sprintf("%s %q does not set %q", d.kind, def.Name, key)}
		}
		delete(def.Values, key)
	}
	if d.kind != definition.Upstream {
		return nil
	}
	if !edit {
		d.asked = bufio.NewReader(d.stdin)
		if err := d.ask(ctx, def); err != nil {
			return err
		}
	}
	return d.password(def, edit)
}

// try walks the way to the upstream as the configuration would have it.
func (d *define) try(ctx context.Context, cfg *config.Config, name string) error {
	up, err := upstreamOf(cfg, name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	bench, err := doctor.NewBench(cfg, nil)
	if err != nil {
		return badConfig(err)
	}
	d.findings = bench.Upstream(ctx, up, "", "")
	if err := ctx.Err(); err != nil {
		return err
	}
	code := doctor.Exit(d.findings)
	// Somebody can log in only to an upstream that is there.
	d.login = up.OAuth != nil && up.OAuth.NeedsPerson() && code != exitOK && !slices.ContainsFunc(d.findings, func(f doctor.Finding) bool {
		return f.Status == doctor.Failed && f.ID != doctor.UpstreamToken
	})
	if code != exitOK && !d.force && !d.login {
		return errReported{code}
	}
	return nil
}

func (a *app) reloadAfter(ctx context.Context) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	_, err = client.Reload(ctx)
	return err
}

// notOurs says why a definition cannot be edited or removed.
func (d *define) notOurs(err error, name string) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return &failure{code: exitData, text: err.Error(), err: err}
	}
	text := fmt.Sprintf("postern has written no %s %q", d.kind, name)
	if cfg, err := config.Find(d.config); err == nil && cfg.Upstreams[name] != nil && d.kind == definition.Upstream {
		key := "upstream." + name
		file := cfg.FileOf(key)
		if content, err := config.ReadFile(file); err == nil {
			line, _ := config.Lines(string(content))
			text = fmt.Sprintf("the upstream %q stands in %s on line %d: change it by hand", name, file, line(key))
		}
	}
	return &failure{code: exitData, text: text}
}

// tell prints what was done, or why not.
func (d *define) tell(done *definition.Result, write bool, err error) error {
	var said errReported
	var refused *control.Refused
	var problems *config.Problems
	answer := defined{Findings: d.findings, Login: d.login}
	if done != nil {
		answer.File, answer.Text, answer.Warnings = done.File, done.Text, done.Warnings
		answer.Running, answer.Written = done.Running, write && err == nil
	}
	if d.json && (err == nil || errors.As(err, &said)) {
		if printErr := printJSON(d.stdout, answer); printErr != nil {
			return printErr
		}
		return err
	}
	switch {
	case errors.As(err, &said):
		if printErr := d.tabulate(d.findings, false); printErr != nil {
			return printErr
		}
		fmt.Fprintln(d.stderr, "postern: nothing was changed; --force keeps it all the same")
		return err
	case errors.As(err, &problems):
		return badConfig(err)
	case errors.As(err, &refused) && refused.Rejected != nil:
		return d.printRejected(refused)
	case errors.As(err, new(*definition.Foreign)), errors.Is(err, definition.ErrChanged):
		return &failure{code: exitData, text: err.Error(), err: err}
	case permission(err):
		return &failure{code: exitNoPerm, text: err.Error(), hint: "run it as root, or as the owner of the configuration", err: err}
	case err != nil:
		return err
	}
	printProblems(d.stderr, "warning: ", done.Warnings)
	return d.printDone(&answer)
}

func (d *define) printDone(answer *defined) error {
	var err error
	switch {
	case !answer.Written:
		_, err = fmt.Fprintf(d.stdout, "%s would hold:\n\n%s", safe(answer.File), answer.Text)
	case answer.Text == "" && answer.Running:
		_, err = fmt.Fprintf(d.stdout, "%s was removed, and the daemon goes on without it\n", safe(answer.File))
	case answer.Text == "":
		_, err = fmt.Fprintf(d.stdout, "%s was removed; no daemon runs\n", safe(answer.File))
	case answer.Running:
		_, err = fmt.Fprintf(d.stdout, "%s was written, and the daemon has taken it\n", safe(answer.File))
	default:
		_, err = fmt.Fprintf(d.stdout, "%s was written; no daemon runs that could take it\n", safe(answer.File))
	}
	if d.login && err == nil {
		_, err = fmt.Fprintf(d.stdout, "Now log in: `postern upstream login %s`\n", safe(d.cmd.Flags().Arg(0)))
	}
	return err
}
