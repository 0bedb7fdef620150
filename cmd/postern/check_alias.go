package main

import (
	"context"
	"errors"
	"strings"

	"postern/config"
	"postern/config/wire"
	"postern/relay/addressbook"
)

// maxAmiss is how many aliases are told of that lead nowhere.
const maxAmiss = 100

// checkAliases tells of aliases that lead to a book, a person or a group that is
// not there, as far as the books of this machine tell. A relay starts with them:
// books change while it runs.
func checkAliases(ctx context.Context, cfg *config.Config) (found []config.Problem) {
	books := addressbook.New(cfg.Books)
	for _, one := range cfg.Submission.AliasBooks() {
		err := books.Amiss(ctx, one.Name)
		if err == nil {
			continue
		}
		if len(found) == maxAmiss {
			return append(found, config.Problem{Key: one.At.Key, Text: "there are more aliases that lead to nobody"})
		}
		p := one.At
		p.Text, p.Hint = amiss(&one, err, books)
		found = append(found, p)
	}
	return found
}

func amiss(one *config.AliasBook, err error, books *addressbook.Books) (text, hint string) {
	var unknown *addressbook.Unknown
	known := errors.As(err, &unknown)
	switch {
	case !known && one.Line == "":
		return wire.Quote(one.Name) + " cannot be looked up: " + err.Error(), ""
	case !known:
		return wire.Exact(one.Line) + ": what this leads to cannot be looked up: " + err.Error(), ""
	case one.Line == "":
		return wire.Quote(one.Name) + " leads to nobody: " + unknown.Text, unknown.Hint
	case unknown.NoBook: // and none of its words, as with all that is told of such a file
		return wire.Exact(one.Line) + ": this names a book that is not there", "books are " + strings.Join(books.Names(), ", ")
	case unknown.Several:
		return wire.Exact(one.Line) + ": what this leads to may be more than one person", "write the address"
	}
	return wire.Exact(one.Line) + ": this leads to nobody that an address book knows", ""
}
