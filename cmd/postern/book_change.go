package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
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
			c := addressbook.NewCard()
			c.SetName(strings.TrimSpace(name))
			c.SetAddresses(emails)
			c.SetNicknames(nicknames)
			c.SetGroups(groups)
			if organisation != "" {
				c.SetOrganisation(organisation)
			}
			e, err := f.Add(c)
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
	card, err := addressbook.ParseCard(text)
	if err != nil {
		return kept("the card " + err.Error())
	}
	if faults := card.Faults(); len(faults) > 0 {
		return kept("the card has faults: " + strings.Join(faults, "; "))
	}
	if err := f.Replace(s, card); err != nil {
		return kept(err.Error())
	}
	os.Remove(temp.Name())
	e := card.Entry()
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

func (a *app) bookImportCommand() *cobra.Command {
	var of, format, charset string
	var named []string
	var dry bool
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Take in what another program has exported",
		Long: `Reads vCard, CSV (Outlook, Google, Thunderbird and others) or LDIF, and puts
what is new into the book. A card is known by its UID, else by its first
address. One with the same UID is replaced; otherwise addresses, groups and what
was missing are added, and nothing is taken away.

--dry-run shows what was understood, and writes nothing.`,
		Args: one("a file, or - for standard input"),
		RunE: func(_ *cobra.Command, args []string) error {
			s := addressbook.Source{Charset: charset, Columns: map[string]string{}}
			if format != "auto" {
				if !slices.Contains(addressbook.Formats, format) {
					return usage("--format %q is none of auto, %s", format, strings.Join(addressbook.Formats, ", "))
				}
				s.Format = format
			}
			for _, m := range named {
				field, column, ok := strings.Cut(m, "=")
				if !ok || !slices.Contains(addressbook.Fields, field) {
					return usage("--map %q is not FIELD=COLUMN, where FIELD is one of %s", m, strings.Join(addressbook.Fields, ", "))
				}
				s.Columns[field] = column
			}
			return bookFailure(a.bookImport(of, args[0], s, dry))
		},
	}
	cmd.Flags().StringVar(&format, "format", "auto", "what the file is: `auto|vcard|csv|ldif`")
	cmd.Flags().StringVar(&charset, "charset", "", "the `CHARSET`, where no byte order mark tells (default UTF-8, else Windows-1252)")
	cmd.Flags().StringSliceVar(&named, "map", nil, "take a field from a column, `FIELD=COLUMN`; may be repeated")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what was understood; write nothing")
	onBook(cmd, &of)
	return a.withJSON(cmd)
}

func (a *app) bookImport(of, file string, s addressbook.Source, dry bool) error {
	f, err := a.bookFolder(of)
	if err != nil {
		return err
	}
	in := io.NopCloser(a.stdin)
	if file != "-" {
		if in, err = os.Open(file); err != nil {
			return unreadableFile(err)
		}
	}
	defer in.Close()
	c, err := s.Read(in)
	if err != nil {
		return err
	}
	lines, failed := book.Import(f, c, dry)
	if c.Faults == nil {
		c.Faults = []addressbook.Fault{}
	}
	count := map[book.State]int{}
	for _, l := range lines {
		count[l.State]++
	}
	if a.json {
		err := printJSON(a.stdout, map[string]any{"format": c.Format, "charset": c.Charset, "columns": c.Guesses, "cards": lines, "faults": c.Faults, "dry_run": dry})
		if err != nil {
			return err
		}
		return failed
	}
	fmt.Fprintf(a.stdout, "%s, %s\n", c.Format, safe(c.Charset))
	for _, g := range c.Guesses {
		fmt.Fprintf(a.stdout, "  %s: %s\n", g.Field, safe(strings.Join(g.Columns, ", ")))
	}
	for _, l := range lines {
		switch {
		case l.State == book.Bad:
			fmt.Fprintf(a.stderr, "line %d: %s\n", l.Line, safe(l.Text))
		case dry:
			fmt.Fprintf(a.stdout, "line %d: %s: %s <%s>\n", l.Line, l.State, safe(l.Name), safe(l.Address))
		}
	}
	for _, p := range c.Faults {
		fmt.Fprintf(a.stderr, "%s: %s\n", p.Name, safe(p.Text))
	}
	if failed != nil {
		return failed
	}
	what := ""
	if dry {
		what = "; nothing was written"
	}
	fmt.Fprintf(a.stdout, "%d new, %d changed, %d the same, %s%s\n", count[book.New], count[book.Changed], count[book.Same], counted(count[book.Bad]+len(c.Faults), "fault"), what)
	return nil
}

func unreadableFile(err error) error {
	code := exitNoInput
	if permission(err) {
		code = exitNoPerm
	}
	return &failure{code: code, text: err.Error(), err: err}
}

func (a *app) bookExportCommand() *cobra.Command {
	var of, format, group string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print a book for another program",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			if !slices.Contains(book.Formats, format) {
				return usage("--format %q is none of %s", format, strings.Join(book.Formats, ", "))
			}
			return bookFailure(a.bookExport(of, format, group))
		},
	}
	cmd.Flags().StringVar(&format, "format", "vcard", "what is printed: `vcard|csv|ldif|mutt`")
	cmd.Flags().StringVar(&group, "group", "", "print those of the `GROUP` only")
	onBook(cmd, &of)
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

func (a *app) bookExport(of, format, group string) error {
	f, err := a.bookFolder(of)
	if err != nil {
		return err
	}
	x, err := f.Index()
	if err != nil {
		return err
	}
	a.tellFaults(x.Faults)
	entries := book.Sorted(x.Entries)
	if group != "" {
		if _, ok := x.Group(group); !ok {
			return &addressbook.Unknown{Text: "there is no group " + quoted(group) + " in " + f.Name}
		}
		e, err := x.Expand(group)
		if err != nil {
			return err
		}
		in := map[string]bool{}
		for _, m := range e.Members {
			in[strings.ToLower(m.Address)] = true
		}
		entries = slices.DeleteFunc(entries, func(e *addressbook.Entry) bool { return e.Group || !in[strings.ToLower(e.Address())] })
	}
	if a.json {
		return printJSON(a.stdout, entries)
	}
	return book.Export(a.stdout, format, entries, func(e *addressbook.Entry) *addressbook.Card {
		if s, err := f.Get(e); err == nil {
			return s.Card
		}
		return nil
	})
}
