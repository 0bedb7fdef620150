package addressbook

import (
	"context"
	"strings"

	"postern/config/wire"
)

// Amiss is what is wrong with "group:NAME" or "book:NAME", as far as it can be
// told without asking another machine; nil: nothing, or that can't be told. The
// error is as with Called.
func (b *Books) Amiss(ctx context.Context, name string) error {
	of, text, group := b.part(name)
	here := &Books{without: b.without}
	for _, n := range of.list {
		if _, ok := n.asker.(held); !ok {
			break
		}
		here.list = append(here.list, n)
	}
	if len(here.list) == len(of.list) {
		_, err := b.Called(ctx, name, maxExpanded)
		return err
	}
	// Who is in one of these is meant, whatever the others know.
	r, err := here.exact(ctx, text, group)
	switch {
	case err != nil:
		return err
	case !r.nobody():
		_, err = r.called(ctx, maxExpanded)
		return err
	}
	if book, ok := b.noSuch(name); ok {
		elsewhere := strings.Join(b.Names()[len(here.list):], ", ")
		return &Unknown{Text: "no book " + wire.Quote(wire.Line(book)) + ", so that " + elsewhere + " is asked for " + wire.Quote(wire.Line(text)), NoBook: true, Hint: b.nearBook(name)}
	}
	return nil
}
