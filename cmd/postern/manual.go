package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/manual"
	"postern/config"
)

func (a *app) manualCommand() *cobra.Command {
	var date string
	cmd := &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of all commands and of the configuration into a folder",
		Args:  one("a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if date == "" {
				date = time.Now().UTC().Format(time.DateOnly)
			} else if _, err := time.Parse(time.DateOnly, date); err != nil {
				return usage("--date %q is no date such as 2006-01-02", date)
			}
			return a.manual(cmd.Root(), args[0], date)
		},
	}
	cmd.Flags().StringVar(&date, "date", "", "`DATE` of the pages instead of today's, as 2006-01-02")
	return cmd
}

// manual writes the pages into a folder, which is made if need be.
func (a *app) manual(root *cobra.Command, dir, date string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &failure{code: exitCantCreate, text: err.Error(), err: err}
	}
	book := &manual.Book{
		Root: root, Settings: config.Settings(), Exits: exits,
		Version: currentVersion(), Date: date, Config: config.DefaultPath(),
	}
	pages := book.Pages()
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(pages[name]), 0o644); err != nil {
			return &failure{code: exitCantCreate, text: err.Error(), err: err}
		}
	}
	return nil
}

// exits are the exit codes in words.
var exits = []manual.Exit{
	{Code: exitOK, Text: "done"},
	{Code: exitUsage, Text: "the command line is wrong"},
	{Code: exitData, Text: "what was given or asked for is wrong, or not there"},
	{Code: exitUnavailable, Text: "no daemon answers, an address is taken, or the relay is not healthy"},
	{Code: exitSoftware, Text: "a fault without a code of its own"},
	{Code: exitCantCreate, Text: "a directory, file or socket is missing or cannot be made"},
	{Code: exitTempFail, Text: "try again later: the spool is in use, or an order is not on disk yet"},
	{Code: exitNoPerm, Text: "not allowed"},
	{Code: exitConfig, Text: "the configuration is wrong"},
}
