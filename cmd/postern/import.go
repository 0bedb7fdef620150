package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/cmd/importer"
	"postern/config"
)

func (a *app) importCommand() *cobra.Command {
	var out, secrets string
	var force bool
	cmd := &cobra.Command{
		Use:   "import SOURCE PATH",
		Short: "Make a configuration of what another relay was told",
		Long: `Reads the settings of another relay and prints a configuration that does the
same. What could not be carried over stands in it as comments, with file and
line, what that means and what to do.

  postern import postfix /etc/postfix --out /etc/postern/postern.toml

SOURCE is one of ` + strings.Join(importer.Sources(), ", ") + `.

A password is never printed. With --secrets each is written to a file of mode
0600 in that folder; without it a comment says where it stands. No command of
the settings is run. A file that exists is not overwritten without --force, and
what it says of other things, such as groups of sockets, is kept.`,
		ValidArgs: importer.Sources(),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("`postern import` needs a source and a path, such as: postern import postfix /etc/postfix")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return a.importFrom(args[0], args[1], out, secrets, force)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write to `FILE` instead of standard output")
	cmd.Flags().StringVar(&secrets, "secrets", "", "write passwords to files in `DIR`")
	cmd.Flags().BoolVar(&force, "force", false, "replace files that exist")
	return cmd
}

func (a *app) importFrom(source, path, out, secrets string, force bool) error {
	if !slices.Contains(importer.Sources(), source) {
		return usage("there is no source %q; there are %s", source, strings.Join(importer.Sources(), ", "))
	}
	found, err := importer.Read(source, path)
	if err != nil {
		return unreadable(err)
	}
	if out != "" && !force {
		if _, err := os.Lstat(out); err == nil {
			return notSaved(&importer.Exists{Path: out})
		}
	}
	var kept []string
	if out != "" && force {
		if kept, err = found.Keep(out); err != nil {
			return notSaved(err)
		}
	}
	warnings, err := found.Verify(source, path, out)
	if err != nil {
		stays := ""
		if len(kept) > 0 {
			stays = "what is kept of " + out
		}
		if inFurther(err) {
			stays = "what stands in " + config.FurtherFolder(out)
		}
		if stays != "" {
			fmt.Fprintf(a.stderr, "%s does not go with what was imported: import to another file, and put them together by hand\n", safe(stays))
		}
		return badConfig(err)
	}
	var written map[*importer.Upstream]string
	if secrets != "" {
		if written, err = found.SaveSecrets(secrets, force); err != nil {
			return notSaved(err)
		}
	}
	text := found.TOML(source, path, written)
	if out == "" {
		if _, err := a.stdout.Write(text); err != nil {
			return err
		}
		out = "standard output"
	} else if err := importer.Save(out, text, 0o644, force); err != nil {
		return notSaved(err)
	}
	fmt.Fprintf(a.stderr, "%s: %s, %s; %s left to do, which its comments tell\n", safe(out),
		amount(len(found.Upstreams), "upstream"), amount(len(found.Routes), "route"), amount(found.Left(written), "thing"))
	if len(kept) > 0 {
		fmt.Fprintf(a.stderr, "kept of what was there: %s\n", safe(strings.Join(kept, ", ")))
	}
	for _, w := range warnings {
		fmt.Fprintf(a.stderr, "warning: %s\n", safeLines(w.String()))
	}
	if len(written) > 0 {
		fmt.Fprintf(a.stderr, "let the user of the daemon read the passwords, and nobody else: chown -R postern %s\n", safe(secrets))
	}
	return nil
}

// inFurther tells whether something is wrong in a file of conf.d: those of what is
// imported have no place.
func inFurther(err error) bool {
	var problems *config.Problems
	return errors.As(err, &problems) && slices.ContainsFunc(problems.List, func(p config.Problem) bool { return p.File != "" })
}

func amount(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// unreadable is the failure of settings that cannot be read.
func unreadable(err error) error {
	code := exitData
	hint := ""
	if errors.Is(err, fs.ErrPermission) {
		code, hint = exitNoPerm, "run it as a user who may, such as root"
	}
	return &failure{code: code, text: err.Error(), hint: hint, err: err}
}

// notSaved is the failure of a file that was not written.
func notSaved(err error) error {
	code, hint := exitCantCreate, ""
	var exists *importer.Exists
	switch {
	case errors.As(err, &exists):
		hint = "--force replaces it"
	case errors.Is(err, fs.ErrPermission):
		code = exitNoPerm
	}
	return &failure{code: code, text: err.Error(), hint: hint, err: err}
}
