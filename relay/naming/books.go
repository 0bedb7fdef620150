package naming

import (
	"context"
	"strings"

	"postern/config"
	"postern/config/alias"
	"postern/config/wire"
	"postern/relay/addressbook"
)

// Meaning is what a name stands for.
type Meaning struct {
	Addresses []string     // each once; those that nothing completes have no domain
	Over      bool         // there are more than the limit, and not all are listed
	Aliases   []alias.Step // in the order in which they were taken
	Books     []Called     // names that an address book has, in the order in which it was asked
}

// Called is a name and whom an address book means by it.
type Called struct {
	Name string
	*addressbook.Expansion
}

// Books are the address books of the configuration; never nil.
func (n *Names) Books() *addressbook.Books {
	if n == nil {
		return &addressbook.Books{}
	}
	return n.books
}

// Call is whom a name without a domain, or one such as "group:Sales" in quotes,
// means in the address books that may be asked. Nil: nobody, and the name may
// be completed. The error is one of addressbook.Books.Called.
func (n *Names) Call(ctx context.Context, name string, may func(*config.Book) bool, limit int) (*Meaning, error) {
	// RFC 5321 §4.5.1: whatever is in a book, and whether it can be asked.
	if n == nil || strings.EqualFold(name, "postmaster") {
		return nil, nil
	}
	books := n.books.Only(may)
	if len(books.Names()) == 0 {
		return nil, nil
	}
	m := &Meaning{}
	known, err := m.call(ctx, books, name, limit)
	if err != nil || !known {
		return nil, err
	}
	return m, nil
}

// call adds whom a name means; false: nobody.
func (m *Meaning) call(ctx context.Context, books *addressbook.Books, name string, limit int) (bool, error) {
	text := name
	if !alias.IsBook(name) {
		local, ok := unquoted(name)
		if !ok {
			return false, nil
		}
		text = local
	}
	x, err := books.Called(ctx, text, limit)
	if err != nil || x == nil {
		return false, err
	}
	m.Books = append(m.Books, Called{text, x})
	for _, one := range x.Members {
		m.add(one.Address, limit)
	}
	return true, nil
}

func (m *Meaning) add(address string, limit int) {
	if len(m.Addresses) >= limit {
		m.Over = true
		return
	}
	m.Addresses = append(m.Addresses, address)
}

// meaningOf completes what an alias stands for, and asks the books for names in
// it: all books, since it was the administrator who wrote them there.
func (n *Names) meaningOf(ctx context.Context, x *alias.Expansion, limit int) (*Meaning, error) {
	if len(x.Books) == 0 {
		for i, a := range x.Addresses {
			x.Addresses[i], _ = n.Complete(a)
		}
		return &Meaning{Addresses: x.Addresses, Over: x.Over, Aliases: x.Steps}, nil
	}
	m, seen := &Meaning{Over: x.Over, Aliases: x.Steps}, map[string]bool{}
	next := x.Books
	for i, name := range x.Addresses {
		before := len(m.Addresses)
		known := false
		if len(next) > 0 && next[0] == i {
			next = next[1:]
			if !strings.EqualFold(name, "postmaster") {
				var err error
				if known, err = m.call(ctx, n.books, name, limit); err != nil {
					return nil, err
				}
			}
		}
		if !known {
			address, _ := n.Complete(name)
			m.add(address, limit)
		}
		fresh := m.Addresses[before:]
		m.Addresses = m.Addresses[:before]
		for _, a := range fresh {
			local, domain := wire.SplitAddress(a)
			if key := local + "@" + strings.ToLower(domain); !seen[key] {
				seen[key] = true
				m.Addresses = append(m.Addresses, a)
			}
		}
	}
	return m, nil
}

// unquoted is a local part as people write a name; false: it is none. A name
// keeps its capitals, since books have them in their names.
func unquoted(local string) (string, bool) {
	if local == "" || local[0] != '"' {
		return local, local != "" && !strings.ContainsAny(local, `"\`)
	}
	if len(local) < 2 || local[len(local)-1] != '"' {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(local)-1; i++ {
		if local[i] == '\\' {
			i++
		}
		b.WriteByte(local[i])
	}
	return b.String(), true
}
