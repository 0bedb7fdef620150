package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/cmd/daemon"
	"postern/cmd/doctor"
	"postern/config"
	"postern/relay/merge"
	"postern/relay/passwd"
)

// badConfig is the failure of a configuration that cannot be used.
func badConfig(err error) error {
	var problems *config.Problems
	if !errors.As(err, &problems) {
		return &failure{code: exitConfig, text: err.Error(), err: err}
	}
	text := "the configuration cannot be used"
	if n := problems.Count(); n > 1 {
		text += fmt.Sprintf("; it has %d problems", n)
	}
	if len(problems.List) > 0 {
		text += "\n" + problems.Error()
	}
	return &failure{code: exitConfig, text: text, err: err}
}

// checked is what `postern check --json` prints.
type checked struct {
	Config   string           `json:"config"` // empty: the embedded default
	OK       bool             `json:"ok"`
	Problems []config.Problem `json:"problems"`
	Warnings []config.Problem `json:"warnings"`
	// Presets tells for each upstream with a provider what that fills in.
	Presets map[string]preset `json:"presets,omitempty"`
	// Effective is the configuration with every default filled in and every
	// secret left out; absent where there are problems.
	Effective map[string]any `json:"effective,omitempty"`
}

// preset is what the provider of an upstream has filled in.
type preset struct {
	Provider string         `json:"provider"`
	Filled   map[string]any `json:"filled"`
	Create   string         `json:"create"` // what to make in the provider's console
}

// presetsOf collects what providers have filled in.
func presetsOf(cfg *config.Config) map[string]preset {
	presets := map[string]preset{}
	effective, _ := cfg.Redacted()["upstream"].(map[string]any)
	for name, up := range cfg.Upstreams {
		if up.Preset.Create == "" {
			continue
		}
		values, _ := effective[name].(map[string]any)
		p := preset{Provider: up.Provider, Filled: map[string]any{}, Create: up.Preset.Create}
		for _, key := range up.Preset.Keys {
			p.Filled[key] = values[key]
		}
		presets[name] = p
	}
	return presets
}

// printPresets says it to a person.
func (a *app) printPresets(cfg *config.Config) error {
	presets := presetsOf(cfg)
	for _, name := range slices.Sorted(maps.Keys(presets)) {
		p := presets[name]
		filled := make([]string, 0, len(p.Filled))
		for _, key := range slices.Sorted(maps.Keys(p.Filled)) {
			filled = append(filled, key+" = "+shown(p.Filled[key]))
		}
		if _, err := fmt.Fprintf(a.stdout, "%s: %s fills in %s\n  %s\n",
			safe(name), p.Provider, safe(strings.Join(filled, ", ")), p.Create); err != nil {
			return err
		}
	}
	return nil
}

// shown writes the value of a key as the file would, but for quotes around
// words.
func shown(value any) string {
	list, ok := value.([]string)
	if !ok {
		return fmt.Sprint(value)
	}
	return `["` + strings.Join(list, `", "`) + `"]`
}

// findConfig loads the configuration and looks at what config itself cannot
// judge: the stored passwords of clients.
func findConfig(option string) (*config.Config, error) {
	cfg, err := config.Find(option)
	if err != nil {
		return nil, err
	}
	found := &config.Problems{}
	for i, l := range cfg.Listeners {
		for _, user := range slices.Sorted(maps.Keys(l.Users)) {
			if _, err := passwd.Parse(l.Users[user]); err != nil {
				key := fmt.Sprintf("listener[%d].users.%s", i, user)
				text, _, _ := strings.Cut(err.Error(), ";") // what to do is said once
				found.List = append(found.List, config.Problem{
					File: cfg.FileOf(key), Key: key,
					Text: text, Hint: "make it with `postern passwd`",
				})
			}
		}
	}
	for _, name := range cfg.HTTP.TokenNames() {
		hash := cfg.HTTP.Tokens[name].Hash
		if _, ok := passwd.ParseToken(hash); ok {
			continue
		}
		if _, err := passwd.Parse(hash); err != nil {
			found.List = append(found.List, config.Problem{
				File: cfg.FileOf("http.token." + name + ".hash"), Key: "http.token." + name + ".hash",
				Text: "is not the hash of a token", Hint: "make both with: postern passwd --token",
			})
		}
	}
	if len(found.List) > 0 {
		return nil, found
	}
	return cfg, nil
}

// findOwn is findConfig for commands that do what the file says, and may run
// what it names: nobody else may have a say in it.
func findOwn(option string) (*config.Config, error) {
	cfg, err := findConfig(option)
	if err == nil {
		err = cfg.CheckOwner()
	}
	if err != nil {
		return nil, err
	}
	return cfg, nil
}

func (a *app) checkCommand() *cobra.Command {
	var as, seenAs string
	var fileOnly bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read the configuration and report everything that would keep a relay from starting",
		Long: `Reads the configuration and looks at what a start needs: files, folders,
sockets, ports, groups. Nothing is made and nothing is opened for clients. A
relay that runs already is not in the way.

As root, --as looks with the rights of the user who will run the relay; without
it, that is the owner of the spool. What a service manager adds (capabilities,
credentials, a closed file system) cannot be seen from here.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if as == "" && seenAs == "" && !fileOnly {
				as = a.serviceUser()
			}
			if as != "" {
				return a.checkAs(cmd.Context(), as)
			}
			cfg, err := findConfig(a.config)
			if err == nil && !fileOnly {
				cfg, err = foreseeStart(cmd.Context(), cfg, seenAs != "")
			}
			if a.json {
				return a.printChecked(cfg, err)
			}
			if err != nil {
				return badConfig(err)
			}
			printProblems(a.stderr, "warning: ", cfg.Warnings)
			by := ""
			if seenAs != "" {
				by = ", seen as " + seenAs
			}
			if _, err = fmt.Fprintf(a.stdout, "%s is good%s: %s, %s, %s\n", safe(configName(cfg.Path)+furtherFiles(cfg)), safe(by),
				count(len(cfg.Listeners), "listener"), count(len(cfg.Upstreams), "upstream"), count(len(cfg.Routes), "route")); err != nil {
				return err
			}
			return a.printPresets(cfg)
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "look with the rights of a `USER`, or of UID:GID; needs root")
	cmd.Flags().BoolVar(&fileOnly, "file-only", false, "look at the file and what it names, not at folders, sockets and ports of this machine")
	cmd.Flags().StringVar(&seenAs, "seen-as", "", "")
	_ = cmd.Flags().MarkHidden("seen-as") // what --as starts
	return a.withJSON(cmd)
}

// foreseeStart adds what this machine has against a start.
func foreseeStart(ctx context.Context, cfg *config.Config, service bool) (*config.Config, error) {
	problems, warnings := daemon.Foresee(ctx, cfg, service)
	if len(problems) > 0 {
		return nil, &config.Problems{List: problems}
	}
	cfg.Warnings = append(cfg.Warnings, warnings...)
	cfg.Warnings = append(cfg.Warnings, checkMessages(ctx, cfg)...)
	cfg.Warnings = append(cfg.Warnings, checkPickup(cfg)...)
	cfg.Warnings = append(cfg.Warnings, checkAliases(ctx, cfg)...)
	return cfg, nil
}

// checkPickup tells what is wrong with the pickup folder. A relay starts without
// it.
func checkPickup(cfg *config.Config) (found []config.Problem) {
	for _, f := range doctor.Pickup(cfg, os.Geteuid(), true) {
		if f.Status == doctor.Failed || f.Status == doctor.Warning {
			found = append(found, config.Problem{Key: "pickup.dir", Text: f.Subject + ": " + f.Text, Hint: f.Remedy})
		}
	}
	return found
}

// checkMessages tells what is wrong with the message files that requests by
// HTTP may name, and users of the console fill in.
func checkMessages(ctx context.Context, cfg *config.Config) (found []config.Problem) {
	var checked string
	if len(cfg.HTTP.Listeners()) > 0 {
		checked = cfg.MessagesDir()
		found = checkMessagesIn(ctx, cfg, "http.messages", checked)
	}
	if dir := cfg.ConsoleMessagesDir(); cfg.Console.Listener.Address != "" && dir != checked {
		found = append(found, checkMessagesIn(ctx, cfg, "console.messages", dir)...)
	}
	return found
}

func checkMessagesIn(ctx context.Context, cfg *config.Config, key, dir string) (found []config.Problem) {
	folder := merge.Folder{Dir: dir, Domain: cfg.Hostname, Words: true}
	names, err := folder.Names()
	if err != nil {
		found = append(found, config.Problem{Key: key, Text: "the folder cannot be read: " + merge.Reason(err)})
	}
	for _, name := range names {
		if err := folder.Check(ctx, name); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				found = append(found, config.Problem{Key: key, Text: line})
			}
		}
	}
	return found
}

func (a *app) printChecked(cfg *config.Config, err error) error {
	out := checked{Config: a.config, OK: err == nil, Problems: []config.Problem{}, Warnings: []config.Problem{}}
	if cfg != nil {
		out.Config = cfg.Path
		out.Warnings = append(out.Warnings, cfg.Warnings...)
		out.Presets, out.Effective = presetsOf(cfg), cfg.Redacted()
	}
	var problems *config.Problems
	switch {
	case errors.As(err, &problems):
		out.Problems = problems.List
	case err != nil:
		return badConfig(err)
	}
	if err := printJSON(a.stdout, out); err != nil {
		return err
	}
	if !out.OK {
		return errReported{exitConfig}
	}
	return nil
}

// furtherFiles counts those of conf.d.
func furtherFiles(cfg *config.Config) string {
	if n := len(cfg.Files) - 1; n > 0 {
		return " with " + count(n, "further file")
	}
	return ""
}

// configName names a configuration for a person.
func configName(path string) string {
	if path == "" {
		return "the embedded default"
	}
	return path
}
