package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"postern/cmd/book"
	"postern/config/wire"
	"postern/relay/addressbook"
)

func (a *app) bookAddCommand() *cobra.Command {
	var of, name, organisation string
	var emails, groups, nicknames []string
	cmd := &cobra.Command{
		Use:   "add --name NAME --email ADDRESS",
		Short: "Add somebody",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			p := &book.Person{Name: name, Addresses: emails, Nicknames: nicknames, Organisation: organisation, Groups: groups}
			if strings.TrimSpace(name) == "" {
				return usage("--name is missing")
			}
			for _, e := range emails {
				if wire.CheckMailbox(e, true) != wire.NoFault {
					return usage("--email %q is not an address", e)
				}
			}
			f, err := a.bookFolder(of)
			if err != nil {
				return err
			}
			e, err := book.Add(f, p)
			switch {
			case err != nil:
				return bookFailure(err)
			case a.json:
				return printJSON(a.stdout, e)
			}
			fmt.Fprintln(a.stdout, safe(e.UID))
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the full `NAME`")
	cmd.Flags().StringArrayVar(&emails, "email", nil, "an `ADDRESS`; may be repeated, the first is preferred")
	cmd.Flags().StringArrayVar(&groups, "group", nil, "a `GROUP` that they are in; may be repeated")
	cmd.Flags().StringArrayVar(&nicknames, "nickname", nil, "a `NICKNAME`; may be repeated")
	cmd.Flags().StringVar(&organisation, "organisation", "", "the `ORGANISATION`")
	onBook(cmd, &of)
	return a.withJSON(cmd)
}

func (a *app) bookRemoveCommand() *cobra.Command {
	var of string
	cmd := &cobra.Command{
		Use:   "remove UID|ADDRESS|NAME",
		Short: "Remove a card",
		Args:  one("a UID, an address or a name"),

		ValidArgsFunction: a.completeCard,
		RunE: func(_ *cobra.Command, args []string) error {
			s, f, err := a.stored(of, args[0])
			if err != nil {
				return bookFailure(err)
			}
			if err := f.Remove(s); err != nil {
				return bookFailure(err)
			}
			if a.json {
				return printJSON(a.stdout, s.Entry)
			}
			fmt.Fprintf(a.stdout, "%s removed (%s)\n", safe(s.Entry.Name), safe(s.Entry.UID))
			return nil
		},
	}
	onBook(cmd, &of)
	return a.withJSON(cmd)
}

func (a *app) stored(of, who string) (*addressbook.Stored, *addressbook.Folder, error) {
	f, err := a.bookFolder(of)
	if err != nil {
		return nil, nil, err
	}
	e, err := book.Entry(f, who)
	if err != nil {
		return nil, nil, err
	}
	s, err := f.Get(e)
	return s, f, err
}

func (a *app) bookEditCommand() *cobra.Command {
	var of string
	cmd := &cobra.Command{
		Use:   "edit UID|ADDRESS|NAME",
		Short: "Edit a card with $VISUAL or $EDITOR; it is checked before it replaces the old one",
		Args:  one("a UID, an address or a name"),

		ValidArgsFunction: a.completeCard,
		RunE: func(_ *cobra.Command, args []string) error {
			return bookFailure(a.bookEdit(of, args[0]))
		},
	}
	onBook(cmd, &of)
	return a.withJSON(cmd)
}

func (a *app) bookEdit(of, who string) error {
	s, f, err := a.stored(of, who)
	if err != nil {
		return err
	}
	editor := strings.Fields(os.Getenv("VISUAL"))
	if len(editor) == 0 {
		editor = strings.Fields(os.Getenv("EDITOR"))
	}
	if len(editor) == 0 {
		editor = []string{"vi"}
	}
	temp, err := os.CreateTemp("", "card-*.vcf")
	if err != nil {
		return err
	}
	if _, err = temp.Write(s.Bytes()); err == nil {
		err = temp.Close()
	}
	if err != nil {
		os.Remove(temp.Name())
		return err
	}
	run := exec.Command(editor[0], append(editor[1:], temp.Name())...)
	run.Stdin, run.Stdout, run.Stderr = a.stdin, a.stdout, a.stderr
	if err := run.Run(); err != nil {
		os.Remove(temp.Name())
		return &failure{code: exitData, text: editor[0] + ": " + err.Error() + "; the card was not changed"}
	}
	kept := func(text string) error { // an edit is somebody's work
		return &failure{code: exitData, text: text, hint: "The card was not changed; what was edited is in " + temp.Name()}
	}
	text, err := os.ReadFile(temp.Name())
	if err != nil {
		return err
	}
	e, err := book.Rewrite(f, s, text)
	if err != nil {
		return kept(err.Error())
	}
	os.Remove(temp.Name())
	if a.json {
		return printJSON(a.stdout, e)
	}
	fmt.Fprintf(a.stdout, "%s saved\n", safe(e.Name))
	return nil
}

func (a *app) bookGroupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List groups, show them, and say who is in them",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var of string
	list := &cobra.Command{
		Use: "list", Short: "Print the groups of a book with the number of their addresses", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.bookGroups(cmd.Context(), of) },
	}
	show := a.bookExpandCommand()
	show.Use, show.Short = "show NAME", "Print every address of a group, and how it came into it"
	expand := show.RunE
	show.RunE = func(cmd *cobra.Command, args []string) error {
		return expand(cmd, []string{"group:" + strings.TrimPrefix(args[0], "group:")})
	}
	several := func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return usage("`%s` takes the name of a group, and UIDs, addresses or names", cmd.CommandPath())
		}
		return nil
	}
	add := &cobra.Command{
		Use: "add GROUP UID|ADDRESS|NAME…", Short: "Put people, or plain addresses, into a group", Args: several,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.changeGroup(of, args, "added", book.AddToGroup)
		},
	}
	remove := &cobra.Command{
		Use: "remove GROUP UID|ADDRESS|NAME…", Short: "Take people, or plain addresses, out of a group", Args: several,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.changeGroup(of, args, "removed", func(f *addressbook.Folder, name, who string) (bool, error) {
				return true, book.RemoveFromGroup(f, name, who)
			})
		},
	}
	for _, c := range []*cobra.Command{list, add, remove} {
		onBook(c, &of)
		a.withJSON(c)
	}
	cmd.AddCommand(list, show, add, remove)
	return cmd
}

// changeGroup changes one after the other. What was done before an error stays.
func (a *app) changeGroup(of string, args []string, done string, change func(f *addressbook.Folder, name, who string) (bool, error)) error {
	f, err := a.bookFolder(of)
	if err != nil {
		return err
	}
	n := 0
	for _, who := range args[1:] {
		changed, err := change(f, args[0], who)
		if err != nil {
			return bookFailure(err)
		}
		if changed {
			n++
		}
	}
	if a.json {
		return printJSON(a.stdout, map[string]any{"group": args[0], done: n})
	}
	fmt.Fprintf(a.stdout, "%d %s\n", n, done)
	return nil
}

// bookGroups counts the members of groups that are at hand; those of a directory
// are named alone.
func (a *app) bookGroups(ctx context.Context, of string) error {
	if all, err := a.books(); err == nil && of != "" && all.Own.Folder(of) == nil {
		if one, known := all.Own.Named(of); known {
			return a.bookGroupNames(ctx, one)
		}
	}
	f, err := a.bookFolder(of)
	if err != nil {
		return err
	}
	x, err := f.Index()
	if err != nil {
		return bookFailure(err)
	}
	type row struct {
		Name      string `json:"name"`
		Addresses int    `json:"addresses"`
	}
	rows := []row{}
	for _, name := range x.Groups() {
		e, err := x.Expand(name)
		if err != nil {
			return bookFailure(err)
		}
		rows = append(rows, row{name, len(e.Members)})
	}
	if a.json {
		return printJSON(a.stdout, rows)
	}
	t := newTable(a.stdout, "group", "addresses")
	for _, r := range rows {
		t.row(r.Name, fmt.Sprint(r.Addresses))
	}
	return t.flush()
}

func (a *app) bookGroupNames(ctx context.Context, books *addressbook.Books) error {
	names, err := books.Groups(ctx)
	if err != nil {
		return bookFailure(err)
	}
	if a.json {
		type row struct {
			Name string `json:"name"`
		}
		rows := []row{}
		for _, n := range names {
			rows = append(rows, row{n})
		}
		return printJSON(a.stdout, rows)
	}
	t := newTable(a.stdout, "group")
	for _, n := range names {
		t.row(n)
	}
	return t.flush()
}
