package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/cmd/book"
	"postern/relay/addressbook"
)

func (a *app) bookImportCommand() *cobra.Command {
	var of, format, charset string
	var named []string
	var dry bool
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Take in what another program has exported",
		Long: `Reads vCard, CSV (Outlook, Google, Thunderbird and others) or LDIF, and puts
what is new into the book. A card is known by its UID, else by its first
address, and one without any by its name. One with the same UID is replaced;
otherwise addresses, groups and what was missing are added, and nothing is taken
away.

--dry-run shows what was understood, and writes nothing.

The exit code is 0 where every card, row or record was taken in, also where an
address was passed over; 65 where one was left out, or nothing can be used. With
--dry-run it is the one that the import would have.`,
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
	r := &importReport{Format: c.Format, Charset: c.Charset, Columns: c.Guesses, Unused: append([]string{}, c.Unused...), Faults: append([]addressbook.Fault{}, c.Faults...), Lost: c.Lost, Dry: dry, file: file}
	var failed error
	r.Cards, failed = book.Import(f, c, dry)
	r.count = map[book.State]int{}
	for _, l := range r.Cards {
		r.count[l.State]++
	}
	r.Lost += r.count[book.Bad]
	if a.json {
		err = printJSON(a.stdout, r)
	} else {
		a.tellImport(r, failed == nil)
	}
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	}
	return r.verdict()
}

// importReport is what `book import` prints.
type importReport struct {
	Format  string              `json:"format"`
	Charset string              `json:"charset"`
	Columns []addressbook.Guess `json:"columns"`
	Unused  []string            `json:"unused"` // columns of which nothing is taken
	Cards   []book.Line         `json:"cards"`
	Faults  []addressbook.Fault `json:"faults"`
	Lost    int                 `json:"lost"` // cards, rows and records that are not taken in
	Dry     bool                `json:"dry_run"`

	file  string
	count map[book.State]int
}

// tellImport prints the report for people. whole: the folder took everything.
func (a *app) tellImport(r *importReport, whole bool) {
	fmt.Fprintf(a.stdout, "%s, %s\n", r.Format, safe(r.Charset))
	for _, g := range r.Columns {
		fmt.Fprintf(a.stdout, "  %s: %s\n", g.Field, safe(strings.Join(g.Columns, ", ")))
	}
	if len(r.Unused) > 0 {
		fmt.Fprintf(a.stdout, "  not taken: %s\n", safe(strings.Join(r.Unused, ", ")))
	}
	for _, l := range r.Cards {
		switch {
		case l.State == book.Bad:
			fmt.Fprintf(a.stderr, "line %d: %s\n", l.Line, safe(l.Text))
		case r.Dry:
			fmt.Fprintf(a.stdout, "line %d: %s: %s <%s>\n", l.Line, l.State, safe(l.Name), safe(l.Address))
		}
		for _, f := range l.Faults {
			fmt.Fprintf(a.stderr, "line %d: %s\n", l.Line, safe(f))
		}
	}
	for _, f := range r.Faults {
		fmt.Fprintln(a.stderr, safe(f.String()))
	}
	if !whole {
		return
	}
	what := ""
	if r.Dry {
		what = "; nothing was written"
	}
	fmt.Fprintf(a.stdout, "%d new, %d changed, %d the same, %s%s\n", r.count[book.New], r.count[book.Changed], r.count[book.Same], counted(r.faults(), "fault"), what)
}

// faults is how many are told.
func (r *importReport) faults() int {
	n := r.count[book.Bad] + len(r.Faults)
	for _, l := range r.Cards {
		n += len(l.Faults)
	}
	return n
}

// verdict is nil where all of the file was taken in, or would be. An address that
// was passed over loses nobody.
func (r *importReport) verdict() error {
	taken := len(r.Cards) - r.count[book.Bad]
	switch {
	case r.Lost == 0:
		return nil
	case taken == 0:
		return &failure{code: exitData, text: "nothing of " + r.file + " can be taken in", hint: "--format, --charset and --map say how a file is to be read."}
	case r.Dry:
		return &failure{code: exitData, text: fmt.Sprintf("%d of %s cannot be taken in, for the faults above", r.Lost, r.file)}
	}
	return &failure{code: exitData, text: fmt.Sprintf("%d of %s were not taken in, for the faults above; the others are in the book", r.Lost, r.file)}
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
