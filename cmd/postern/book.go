package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/book"
	"postern/cmd/step"
	"postern/config"
	"postern/relay/addressbook"
	"postern/relay/directory"
)

func (a *app) bookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "book",
		Short: "Find, keep and exchange the addresses of people and groups, and define books of them",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.bookFindCommand(), a.bookShowCommand(), a.bookAddCommand(), a.bookEditCommand(), a.bookRemoveCommand(), a.bookGroupCommand(),
		a.bookImportCommand(), a.bookExportCommand(), a.bookExpandCommand(), a.bookTestCommand(), a.bookLoginCommand(),
	)
	cmd.AddCommand(a.bookDefineCommands()...)
	return cmd
}

// books are those of the configuration, behind the relay where one answers.
func (a *app) books() (*step.Books, error) {
	place, err := config.Locate(a.config)
	if err != nil {
		if a.config == "" && mayNotRead(config.DefaultPath()) {
			return step.NewBooks(config.DefaultSubmitSocket(), &addressbook.Books{}), nil
		}
		return nil, badConfig(err)
	}
	if place.BookErr != nil {
		return nil, badConfig(place.BookErr)
	}
	own := addressbook.New(place.Books)
	own.UseTokens(a.bookTokens(place.Shared, place.StateDir))
	return step.NewBooks(place.SubmitSocket, own), nil
}

// bookFolder is the folder that is written to, by the name of its book; empty:
// the first.
func (a *app) bookFolder(name string) (*addressbook.Folder, error) {
	books, err := a.books()
	if err != nil {
		return nil, err
	}
	if f := books.Own.Folder(name); f != nil {
		return f, nil
	}
	if name == "" {
		return nil, &failure{code: exitConfig, text: "the configuration has no book that can be written", hint: `add [book.team] with provider = "vcards", or its name to send.books`}
	}
	return nil, &failure{code: exitData, text: "there is no book " + quoted(name) + " that can be written", hint: "books with provider = \"vcards\" can"}
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

// onBook is the flag that chooses a folder.
func onBook(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "book", "", "the book `NAME` (default: the first that can be written)")
}

// bookFailure gives the errors of books their exit codes.
func bookFailure(err error) error {
	var unknown *addressbook.Unknown
	var nobody *book.Nobody
	var unreadable *addressbook.Unreadable
	var many *addressbook.TooMany
	var away *directory.Away
	var f *failure
	var said errReported
	switch {
	case err == nil || errors.As(err, &f) || errors.As(err, &said):
		return err
	case errors.As(err, &unknown):
		return &failure{code: exitNoUser, text: unknown.Text, hint: unknown.Hint}
	case errors.As(err, &nobody):
		return &failure{code: exitNoUser, text: nobody.Text, hint: nobody.Hint}
	case errors.As(err, &away):
		return &failure{code: exitTempFail, text: err.Error(), hint: away.Hint}
	case errors.As(err, &unreadable), errors.As(err, &many), errors.Is(err, addressbook.ErrThere):
		return &failure{code: exitData, text: err.Error()}
	case errors.Is(err, addressbook.ErrGone):
		return &failure{code: exitNoUser, text: err.Error()}
	case errors.Is(err, addressbook.ErrChanged), errors.Is(err, addressbook.ErrBusy):
		return &failure{code: exitTempFail, text: err.Error(), hint: "Run the same command again."}
	case permission(err):
		return &failure{code: exitNoPerm, text: err.Error(), hint: "The rights of its folder decide who may read and write a book."}
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return &failure{code: exitCantCreate, text: err.Error()}
	}
	return &failure{code: exitTempFail, text: err.Error()}
}

func (a *app) tellFaults(faults []addressbook.Fault) {
	for _, f := range faults {
		fmt.Fprintf(a.stderr, "warning: %s\n", safe(f.String()))
	}
}

func (a *app) bookFindCommand() *cobra.Command {
	var format, of string
	var limit int
	cmd := &cobra.Command{
		Use:   "find TEXT…",
		Short: "Find people and groups by words of their names, addresses, organisations and groups",
		Long: `Prints the entries that hold every word. The relay is asked, which may know
books that this user may not read; without one, this user's rights count.

For mutt:  set query_command = "postern book find --format mutt -- %s"`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case format != "table" && format != "mutt" && format != "abook":
				return usage("--format %q is none of table, mutt, abook", format)
			case limit < 1 || limit > 1000:
				return usage("--limit %d is not from 1 to 1000", limit)
			}
			return bookFailure(a.bookFind(cmd.Context(), strings.Join(args, " "), of, format, limit))
		},
	}
	cmd.Flags().StringVar(&format, "format", "table", "how it is printed: `table|mutt|abook`")
	cmd.Flags().StringVar(&of, "book", "", "search the book `NAME` only")
	cmd.Flags().IntVar(&limit, "limit", 50, "print `N` entries at most")
	return a.withJSON(cmd)
}

func (a *app) bookFind(ctx context.Context, text, of, format string, limit int) error {
	books, err := a.books()
	if err != nil {
		return err
	}
	found, err := books.Find(ctx, text, of, limit)
	switch {
	case err != nil:
		return err
	case a.json:
		return printJSON(a.stdout, found)
	}
	a.tellFaults(found.Faults)
	a.tellFaults(found.Away)
	if format != "table" {
		if err := book.Query(a.stdout, found.Entries, format == "abook"); err != nil {
			return err
		}
	} else if len(found.Entries) > 0 {
		t := newTable(a.stdout, "name", "address", "book", "groups")
		for _, e := range found.Entries {
			t.row(e.Name, shownAddress(e), e.Book, strings.Join(e.Groups, ", "))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if found.More {
		fmt.Fprintf(a.stderr, "there are more than %d; --limit N shows more\n", limit)
	}
	switch {
	case len(found.Away) > 0:
		return errReported{exitTempFail} // whoever is missing may be there
	case len(found.Entries) == 0: // as grep, and mutt, have it
		return &failure{code: exitNoUser, text: "nobody was found"}
	}
	return nil
}

func shownAddress(e *addressbook.Entry) string {
	switch n := len(e.Addresses); {
	case e.Group && n == 0 && len(e.Members) == 0:
		return "group"
	case e.Group && n == 0:
		return fmt.Sprintf("group of %d", len(e.Members))
	case n == 0:
		return "-"
	case n > 1:
		return fmt.Sprintf("%s (+%d)", e.Addresses[0], n-1)
	default:
		return e.Addresses[0]
	}
}

func (a *app) bookExpandCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "expand group:NAME",
		Short: "Print every address of a group, and how it came into it",
		Args:  one("group:NAME, or a name as send takes it"),

		ValidArgsFunction: a.completeRecipient,
		RunE: func(cmd *cobra.Command, args []string) error {
			books, err := a.books()
			if err != nil {
				return err
			}
			x, err := books.Expand(cmd.Context(), args[0])
			switch {
			case err != nil:
				return bookFailure(err)
			case a.json:
				return printJSON(a.stdout, x)
			}
			t := newTable(a.stdout, "address", "name", "by")
			for _, m := range x.Members {
				t.row(m.Address, m.Name, strings.Join(m.Path, " > "))
			}
			if err := t.flush(); err != nil {
				return err
			}
			if x.Age != "" {
				fmt.Fprintf(a.stderr, "warning: the book %s can't be asked now: this is what it said %s\n", safe(x.Book), safe(x.Age))
			}
			for _, l := range x.Loops {
				fmt.Fprintf(a.stderr, "warning: a group holds itself: %s\n", safe(l))
			}
			for _, m := range x.Missing {
				fmt.Fprintf(a.stderr, "warning: %s\n", safe(m))
			}
			return nil
		},
	}
	return a.withJSON(cmd)
}

func (a *app) bookTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test [BOOK]",
		Short: "Read the books as this user, and tell what cannot be used of them",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("`%s` takes one book: %q is too many", cmd.CommandPath(), args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			books, err := a.books()
			if err != nil {
				return err
			}
			own := books.Own
			if len(args) == 1 {
				var known bool
				if own, known = own.Named(args[0]); !known {
					return &failure{code: exitData, text: "there is no book " + quoted(args[0]), hint: "there are " + strings.Join(books.Own.Names(), ", ")}
				}
			}
			return a.bookTest(own.Check(cmd.Context()))
		},
	}
	return a.withJSON(cmd)
}

func (a *app) bookTest(checked []addressbook.Checked) error {
	away := false
	for _, c := range checked {
		away = away || c.Error != ""
	}
	if a.json {
		if err := printJSON(a.stdout, checked); err != nil {
			return err
		}
	} else {
		t := newTable(a.stdout, "book", "provider", "entries", "groups", "faults", "place")
		for _, c := range checked {
			t.row(c.Book, c.Provider, fmt.Sprint(c.Entries), fmt.Sprint(c.Groups), fmt.Sprint(len(c.Faults)), c.Place)
		}
		if err := t.flush(); err != nil {
			return err
		}
		for _, c := range checked {
			if err := a.tellServers(c.Servers); err != nil {
				return err
			}
			if err := a.tellSteps(&c); err != nil {
				return err
			}
			a.tellFaults(c.Faults)
			if c.Error != "" {
				fmt.Fprintf(a.stderr, "postern: %s\n", safe(c.Error))
			}
			if c.Hint != "" {
				fmt.Fprintf(a.stderr, "  %s\n", safe(c.Hint))
			}
		}
	}
	if away {
		return errReported{exitTempFail}
	}
	return nil
}

// tellSteps prints what a CardDAV server was asked, and its address books.
func (a *app) tellSteps(c *addressbook.Checked) error {
	if len(c.Steps) == 0 {
		return nil
	}
	t := newTable(a.stdout, "asked for", "request", "answer", "took")
	for _, s := range c.Steps {
		t.row(s.What, s.Asked, s.Answer, s.Took.Round(time.Millisecond).String())
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, b := range c.Collections {
		fmt.Fprintf(a.stdout, "%d cards in %s\n", b.Cards, safe(cmp.Or(b.Name, b.URL)))
	}
	fmt.Fprintln(a.stdout)
	return nil
}

// tellServers prints what each server of a directory said.
func (a *app) tellServers(servers []directory.Tested) error {
	if len(servers) == 0 {
		return nil
	}
	t := newTable(a.stdout, "server", "tls", "as", "schema", "base", "people", "groups", "took")
	for _, s := range servers {
		if s.Error != "" {
			t.row(s.URL, "failed")
			continue
		}
		t.row(s.URL, cmp.Or(s.TLS, "none"), cmp.Or(s.As, "nobody"), string(s.Schema), s.Base, fmt.Sprint(s.People), fmt.Sprint(s.Groups), s.Took.Round(time.Millisecond).String())
	}
	fmt.Fprintln(a.stdout)
	return t.flush()
}
