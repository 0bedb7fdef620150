package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"postern/cmd/alert"
	"postern/cmd/credential"
	"postern/cmd/definition"
	"postern/cmd/doctor"
	"postern/config"
	"postern/relay/addressbook"
)

// define is one run of a command that adds or edits a definition.
type define struct {
	*app
	kind      definition.Kind
	cmd       *cobra.Command
	files     map[string]*string // by the key of a secret: where it is read from; "-": standard input
	unset     []string
	dryRun    bool
	noTest    bool
	force     bool
	before    string // the name of another one
	first     bool
	unit      string                // whose credentials new secrets are; empty: they are in files
	keeper    *credential.Keeper    // of them, or of those that the definition has; nil: there are none
	restarted bool                  // the service, for new credentials, which failed
	login     bool                  // the test failed for nothing but a login
	findings  []doctor.Finding      // of the test of an upstream
	checked   []addressbook.Checked // of that of a book
	tried     []alert.Tried         // of that of an alert
	asked     *bufio.Reader         // what the terminal answers
}

// defined is the answer of these commands as JSON.
type defined struct {
	File     string           `json:"file"`
	Text     string           `json:"text,omitempty"` // what it holds
	Written  bool             `json:"written"`        // or removed
	Running  bool             `json:"running"`        // a daemon has taken it
	Findings []doctor.Finding `json:"findings,omitempty"`
	// Checked is what the test of a book has told, Tried that of an alert.
	Checked  []addressbook.Checked `json:"checked,omitempty"`
	Tried    []alert.Tried         `json:"tried,omitempty"`
	Warnings []config.Problem      `json:"warnings,omitempty"`
	Login    bool                  `json:"login,omitempty"` // it needs `postern upstream login`, or that of a book
}

// verb is what a command about definitions of a kind is called. Those of a book
// are other ones: "add" and "remove" are for the entries of a book.
func verb(kind definition.Kind, does string) string {
	if kind != definition.Book {
		return does
	}
	return map[string]string{"add": "define", "edit": "redefine", "remove": "undefine"}[does]
}

// defineCommand adds definitions of a kind, or edits them.
func (a *app) defineCommand(kind definition.Kind, edit bool, short, long string) *cobra.Command {
	d := &define{app: a, kind: kind, files: map[string]*string{}}
	does := "add"
	if edit {
		does = "edit"
	}
	d.cmd = &cobra.Command{
		Use: verb(kind, does) + " NAME", Short: short, Long: long,
		Args: one("a name for one " + string(kind)),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd.Context(), args[0], edit) },
	}
	flags := d.cmd.Flags()
	for _, s := range definition.Keys(kind) {
		switch name := flagOf(s.Name); {
		case s.Secret:
			d.files[s.Name] = flags.String(name+"-file", "", wordsOf(s.Name)+" is the first line of this `FILE`, \"-\" for standard input; it is copied")
		case flags.Lookup(name) != nil: // the file of a secret
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
	if kind != definition.Route {
		flags.BoolVar(&d.noTest, "no-test", false, "do not test it before it is kept")
		flags.BoolVar(&d.force, "force", false, "keep it although the test failed")
		flags.StringVar(&d.unit, "systemd-credential", "", "keep secrets as encrypted credentials of the systemd service `UNIT`, which is started anew; without a name, that of the daemon that runs, or "+credential.Service)
		flags.Lookup("systemd-credential").NoOptDefVal = ofDaemon
	}
	return a.withJSON(d.cmd)
}

// wordsOf is the key of a secret in words, "the client secret".
func wordsOf(key string) string {
	words := strings.ReplaceAll(key[strings.LastIndexByte(key, '.')+1:], "_", " ")
	if words == "url" {
		words = "URL"
	}
	return "the " + words
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
	if err := d.keepers(ctx, &def, &how); err != nil {
		return err
	}
	if !d.noTest {
		d.test(&how, name)
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
		if _, secret := d.files[strings.TrimSuffix(s.Name, "_file")]; s.Secret || secret && strings.HasSuffix(s.Name, "_file") || f == nil || !f.Changed {
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
	if !edit {
		d.asked = bufio.NewReader(d.stdin)
		if err := d.ask(ctx, def); err != nil {
			return err
		}
	}
	return d.secrets(def, edit)
}

func (a *app) reloadAfter(ctx context.Context) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	_, err = client.Reload(ctx)
	return err
}
