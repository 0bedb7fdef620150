package submission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/relay/addressbook"
	"postern/relay/naming"
)

// maxLookUp bounds how long the address books are asked for all names of one
// message.
const maxLookUp = 20 * time.Second

// Books are the address books in force.
func (a *Agent) Books() *addressbook.Books {
	if p := a.policy.Load(); p != nil {
		return p.names.Books()
	}
	return &addressbook.Books{}
}

// MayAsk reports whether a client may ask an address book, or have names looked
// up in it: users of this machine, and tokens. To others on the network a book is
// closed, as it would tell them who is in it.
func (c *Client) MayAsk(b *config.Book) bool {
	switch {
	case c.Token:
		return b.Allows(c.User, "")
	case c.UnixUser != "", c.Addr.IsLoopback():
		return b.Allows("", c.UnixUser)
	}
	return false
}

// called is whom a name without a domain means in the address books; nil:
// nobody.
func (m *Message) called(name string) (*naming.Meaning, *Refusal) {
	x, err := ask(m, func(ctx context.Context) (*naming.Meaning, error) {
		return m.policy.names.Call(ctx, name, m.client.MayAsk, m.client.Settings.MaxRecipients)
	})
	return x, Nameless(err, m.client.Settings.MaxRecipients)
}

// expand is what a recipient stands for by its alias; nil: it has none.
func (m *Message) expand(address string, limit int) (*naming.Meaning, *Refusal) {
	x, err := ask(m, func(ctx context.Context) (*naming.Meaning, error) {
		return m.agent.expand(ctx, m.policy, address, limit)
	})
	if err != nil {
		return nil, NamelessAlias(err, m.client.Settings.MaxRecipients, m.policy.names.Books(), m.client.MayAsk)
	}
	return x, nil
}

// ask does a look-up within the time that the message has left for them.
func ask(m *Message, look func(context.Context) (*naming.Meaning, error)) (*naming.Meaning, error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), maxLookUp-time.Duration(m.looked)*time.Millisecond)
	defer cancel()
	x, err := look(ctx)
	m.looked += int32(time.Since(begun) / time.Millisecond)
	return x, err
}

// expand is what an address stands for; nil: it has no alias. It tells of
// aliases that have changed.
func (a *Agent) expand(ctx context.Context, p *Policy, address string, limit int) (*naming.Meaning, error) {
	x, changed, err := p.names.Expand(ctx, address, limit)
	switch {
	case changed == nil:
	case changed.Err != nil:
		a.events(&AliasesKept{File: changed.File, Names: changed.Names, Err: changed.Err})
	default:
		a.events(&AliasesRead{File: changed.File, Names: changed.Names})
	}
	return x, err
}

// Nameless is the refusal of a name that leads to nobody, to several, or to more
// than the most recipients that a message may have, or whose book can't be asked.
// It is nil for nil.
func Nameless(err error, most int) *Refusal {
	var unknown *addressbook.Unknown
	var many *addressbook.TooMany
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		text := unknown.Text
		if unknown.Hint != "" {
			text += "; " + unknown.Hint
		}
		text = wire.Text(text, 400)
		if unknown.Several {
			return refuse(553, 1, 4, text) // X.1.4 ambiguous address (RFC 3463 §3.2)
		}
		return refuse(550, 1, 1, text)
	case errors.As(err, &many):
		return refuse(554, 5, 3, fmt.Sprintf("the group has more than the %d recipients that a message may have here (max_recipients)", most))
	}
	r := refuse(451, 4, 3, "an address book cannot be asked now, try again later; `postern book test` tells why") // X.4.3 directory server failure
	r.Cause = err
	return r
}

// NamelessAlias is Nameless of what an alias leads to. An alias may use every
// book: to a client that may not, the sentence says nothing of who is in one.
func NamelessAlias(err error, most int, books *addressbook.Books, may func(*config.Book) bool) *Refusal {
	r := Nameless(err, most)
	var unknown *addressbook.Unknown
	if errors.As(err, &unknown) && len(books.Only(may).Names()) < len(books.Names()) {
		r.Sentence, r.Cause = "an alias leads to a name that no address book has, or that more than one person has; the log of the relay says which", err
	}
	return r
}
