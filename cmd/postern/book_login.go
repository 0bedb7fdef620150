package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"postern/config"
)

func (a *app) bookLoginCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "login BOOK",
		Short: "Log in with the provider of a book that wants OAuth 2.0 tokens",
		Long: `Walks the flow that [book.NAME.oauth] names, in a terminal without a browser,
and keeps what comes of it in the state directory, or, with spool.token_key_file,
in the database that relays share; a running daemon finds it there. Where nobody has to log in, it only asks for a token, which shows whether the
configuration works.

Run it as the user of the daemon, or as root.`,
		Args: one("the name of one book"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := findOwn(a.config)
			if err != nil {
				return badConfig(err)
			}
			at := slices.IndexFunc(cfg.Books, func(b config.Book) bool { return b.Name == args[0] })
			if at < 0 {
				return &failure{code: exitData, text: "there is no book " + quoted(args[0])}
			}
			account := &cfg.Books[at].Directory.Account
			if account.OAuth == nil {
				return &failure{code: exitData, text: "the book " + quoted(args[0]) + " needs no login", hint: "A [book.NAME.oauth] table makes a book of CardDAV or of Microsoft 365 use tokens."}
			}
			tokens, closed, err := tokensOf(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer closed()
			st, err := tokens.Login(cmd.Context(), account, &person{a.stdin, a.stdout})
			tokens.Wait(cmd.Context())
			if err != nil {
				return loginFailure(err)
			}
			until := "until the server refuses it"
			if !st.Expires.IsZero() {
				until = "until " + st.Expires.Local().Format(time.DateTime)
			}
			fmt.Fprintf(a.stdout, "There is a token: it is good %s, and renewed by itself.\n", until)
			return nil
		},
	}
}
