package addressbook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/config/alias"
	"postern/config/wire"
)

// Called is whom a name means that stands where an address is wanted, in mail
// that no person looks at before it leaves. It is as with Resolve, but nothing
// is completed that begins so: a name of a program would become whoever comes
// near. Nil: nobody is called so, and no book need be there. limit bounds the
// addresses. The error is an *Unknown, a *TooMany, or tells of a book that can't
// be asked now.
func (b *Books) Called(ctx context.Context, name string, limit int) (*Expansion, error) {
	r, err := b.asWritten(ctx, name, false)
	if err != nil || r.nobody() {
		return nil, err
	}
	return r.called(ctx, limit)
}

// called are the addresses of who is meant.
func (r *resolved) called(ctx context.Context, limit int) (*Expansion, error) {
	switch {
	case r.group == "" && r.entry.Address() == "":
		return nil, withoutAddress(r.entry)
	case r.group == "":
		return alone(r.entry), nil
	}
	x, err := r.expand(ctx, limit)
	if err == nil && len(x.Members) == 0 {
		return nil, emptyGroup(r.group)
	}
	return x, err
}

func withoutAddress(e *Entry) error {
	return &Unknown{Text: wire.Line(e.Name) + " has no address in " + e.Book}
}

func emptyGroup(name string) error {
	return &Unknown{Text: "the group has no member with an address", Hint: "postern book expand " + wire.Quote("group:"+name) + " shows its members"}
}

// alone is one person as an expansion.
func alone(e *Entry) *Expansion {
	w := &expander{out: &Expansion{Name: e.Name, Book: e.Book, Members: []Member{}}, seen: map[string]bool{}}
	w.add(e)
	return w.out
}

// Expand tells all members of "group:NAME", or of a name that Resolve takes.
func (b *Books) Expand(ctx context.Context, name string, limit int) (*Expansion, error) {
	r, err := b.who(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case r.group == "":
		return alone(r.entry), nil
	}
	return r.expand(ctx, limit)
}

func (b *Books) who(ctx context.Context, name string) (resolved, error) {
	return b.asWritten(ctx, name, true)
}

// asWritten takes a name apart. guess: it may be the beginning of one, and is an
// error where it is nobody's; otherwise that is an error of "group:NAME" and
// "book:NAME" alone.
func (b *Books) asWritten(ctx context.Context, name string, guess bool) (resolved, error) {
	if b.without == nil || b.without() {
		if !guess && !alias.IsBook(name) {
			return resolved{}, nil
		}
		return resolved{}, noBook(name)
	}
	of, text, group := b.part(name)
	if text == "" {
		return resolved{}, &Unknown{Text: "names nobody"}
	}
	r, err := of.exact(ctx, text, group)
	if err != nil || !r.nobody() || !guess && text == name {
		return r, err
	}
	if guess && !group && len(text) >= minPrefix {
		if r, err := of.byPrefix(ctx, text); err != nil || !r.nobody() {
			return r, err
		}
	}
	return resolved{}, b.unknown(name)
}

// part takes the words off a name that are no part of it: the book that it is of,
// or else all of them, its text, and whether it is that of a group.
func (b *Books) part(name string) (of *Books, text string, group bool) {
	text, of = name, b
	if rest, ok := strings.CutPrefix(name, "group:"); ok {
		text, group = rest, true
	} else if rest, ok := strings.CutPrefix(name, "book:"); ok {
		text = rest
	}
	if text != name {
		if book, rest, ok := strings.Cut(text, "/"); ok {
			if one, known := b.Named(book); known {
				of, text = one, rest
			}
		}
	}
	return of, strings.TrimSpace(text), group
}

func noBook(name string) error {
	hint := "write addresses, such as name@example.com"
	if alias.IsBook(name) {
		hint = "write the addresses themselves"
	}
	return &Unknown{Text: "no address book is configured", Hint: hint}
}

// exact asks the books one after the other. The zero value is nobody's name: all
// books were asked.
func (b *Books) exact(ctx context.Context, text string, group bool) (resolved, error) {
	var away error
	for _, n := range b.list {
		r, err := n.exact(ctx, text, group)
		var unknown *Unknown
		switch {
		case errors.As(err, &unknown):
			return r, err
		case err != nil:
			// One before those that have the name might have meant somebody else.
			away = both(away, err)
		case !r.nobody() && away != nil:
			return resolved{}, away
		case !r.nobody():
			return r, nil
		}
	}
	return resolved{}, away
}

// both is one error of two, in one line; either may be nil.
func both(a, b error) error {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	return fmt.Errorf("%w; %w", a, b)
}
