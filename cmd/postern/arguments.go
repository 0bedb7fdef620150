package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"postern/cmd/control"
	"postern/config"
)

// noArguments refuses what follows a command that takes nothing, or that is
// followed by another command.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasSubCommands():
		return usage("`%s` takes no %q", cmd.CommandPath(), args[0])
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	text := fmt.Sprintf("there is no command `%s %s`", cmd.CommandPath(), args[0])
	if near := config.Nearest(args[0], names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return usage("%s", text)
}

// one wants a single argument; what names it: "the ID of one message".
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usage("`%s` takes %s", cmd.CommandPath(), what)
		case len(args) > 1:
			return usage("`%s` takes %s: %q is too many", cmd.CommandPath(), what, args[1])
		}
		return nil
	}
}

// misread turns the parser's error about a command line into one for people.
// cmd is the command as far as it was understood.
func misread(cmd *cobra.Command, err error) error {
	text, _, _ := strings.Cut(err.Error(), ": strconv.")
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			text += "; did you mean --" + near + "?"
		}
	}
	hint := "`postern help` lists the commands."
	if cmd.HasParent() {
		hint = "`" + cmd.CommandPath() + " --help` says what it takes."
	}
	return &failure{code: exitUsage, text: text, hint: hint}
}

// upstreamOf finds an upstream of the configuration by its name.
func upstreamOf(cfg *config.Config, name string) (*config.Upstream, error) {
	up := cfg.Upstreams[name]
	if up == nil {
		known := slices.Sorted(maps.Keys(cfg.Upstreams))
		return nil, &failure{code: exitData, text: (&control.NoUpstream{Name: name, Known: known}).Error()}
	}
	return up, nil
}
