package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"postern/cmd/book"
	"postern/relay/addressbook"
)

func (a *app) bookShowCommand() *cobra.Command {
	var of string
	cmd := &cobra.Command{
		Use:   "show UID|ADDRESS|NAME",
		Short: "Print a card",
		Args:  one("a UID, an address or a name"),

		ValidArgsFunction: a.completeCard,
		RunE: func(cmd *cobra.Command, args []string) error {
			return bookFailure(a.bookShow(cmd.Context(), of, args[0]))
		},
	}
	cmd.Flags().StringVar(&of, "book", "", "the book `NAME` (default: the first that can be written, then all)")
	return a.withJSON(cmd)
}

// bookShow prints a card as it is in a folder or, of other books, what is known of
// somebody.
func (a *app) bookShow(ctx context.Context, of, who string) error {
	books, err := a.books()
	if err != nil {
		return err
	}
	if f := books.Own.Folder(of); f != nil {
		e, err := book.Find(f, who)
		switch {
		case permission(err): // the relay may, and tell
		case err != nil:
			return err
		case e != nil:
			return a.printCard(f, e)
		case of != "":
			_, err := book.Entry(f, who)
			return err
		}
	}
	e, err := books.Whole(ctx, who, of)
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, e)
	}
	return a.printEntry(e)
}

// printEntry prints what is known of somebody whose card isn't here.
func (a *app) printEntry(e *addressbook.Entry) error {
	line := func(what string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(a.stdout, "%-13s %s\n", what, safe(v))
			}
		}
	}
	line("book", e.Book)
	line("name", e.Name)
	line("nickname", e.Nicknames...)
	line("address", e.Addresses...)
	line("organisation", e.Organisation)
	line("group", e.Groups...)
	line("UID", e.UID)
	if e.Group {
		line("members", "postern book expand "+quoted("group:"+e.Book+"/"+e.Name)+" lists them")
	}
	return nil
}

func (a *app) printCard(f *addressbook.Folder, e *addressbook.Entry) error {
	s, err := f.Get(e)
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, s.Entry)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(s.Bytes()), "\n"), "\n") {
		fmt.Fprintln(a.stdout, safe(strings.TrimSuffix(line, "\r")))
	}
	return nil
}
