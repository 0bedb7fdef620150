package merge

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"

	"postern/config/wire"
	"postern/relay/addressbook"
	"postern/relay/compose"
)

// Book turns names into addresses. It may be called concurrently.
type Book interface {
	// Resolve takes "group:Ops", "book:team/Alice", or a bare name. The error
	// is an *Unknown where no book has the name or several persons have it;
	// any other means that a book does not answer now.
	Resolve(ctx context.Context, name string) ([]compose.Address, error)
}

// Unknown is the error of a Book for a name that leads to nobody, or to two.
type Unknown = addressbook.Unknown

// NoBook is the Book where none is configured: it knows nobody.
type NoBook struct{}

// Resolve knows nobody.
func (NoBook) Resolve(ctx context.Context, name string) ([]compose.Address, error) {
	return (&addressbook.Books{}).Resolve(ctx, name, 0)
}

// resolver asks a Book once for each name.
type resolver struct {
	book  Book
	mu    sync.Mutex
	known map[string]resolved
}

type resolved struct {
	list []compose.Address
	err  error
}

// maxNames bounds what a resolver remembers.
const maxNames = 10_000

func (r *resolver) resolve(ctx context.Context, name string) ([]compose.Address, error) {
	r.mu.Lock()
	found, ok := r.known[name]
	r.mu.Unlock()
	if ok {
		return found.list, found.err
	}
	list, err := r.book.Resolve(ctx, name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) < maxNames {
		r.known[name] = resolved{list, err}
	}
	return list, err
}

// piece is one entry of an address field, cut at the literal commas,
// semicolons and angle brackets of the message file before any value is in it.
type piece struct {
	name *field // nil: none
	addr *field // an address, a name that a book knows, or {{addresses …}}
}

// addressField is From, To, Cc, Bcc or Reply-To.
type addressField struct {
	key    string
	pieces []piece
}

func (c *compiler) addresses(key string, list []string) addressField {
	a := addressField{key: key}
	for i, source := range list {
		at := key
		if len(list) > 1 {
			at = index(key, i)
		}
		for _, part := range Split(source, ",;") {
			if strings.TrimSpace(part) != "" {
				a.add(c, at, part)
			}
		}
	}
	return a
}

// add compiles "Name <address>" or what stands alone.
func (a *addressField) add(c *compiler, key, part string) {
	cut := Split(part, "<")
	if len(cut) == 1 {
		if f := c.compile(key, strings.TrimSpace(part), asText, maxField); f != nil {
			a.pieces = append(a.pieces, piece{addr: f})
		}
		return
	}
	closed := Split(cut[1], ">")
	if len(cut) > 2 || len(closed) != 2 || strings.TrimSpace(closed[1]) != "" {
		c.found.add(c.step.problem(key, quoted(strings.TrimSpace(part))+" is not an address", "Name <name@example.com>, with a comma between two"))
		return
	}
	p := piece{addr: c.compile(key, strings.TrimSpace(closed[0]), asText, maxField)}
	if name := unquoted(strings.TrimSpace(cut[0])); name != "" {
		p.name = c.compile(key, name, asText, maxField)
		if p.name == nil {
			return
		}
	}
	if p.addr != nil {
		a.pieces = append(a.pieces, p)
	}
}

// Split cuts a template, s, at signs that stand outside of its actions and of
// double quotes.
func Split(s, signs string) []string {
	var parts []string
	start, inQuotes := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case strings.HasPrefix(s[i:], "{{"):
			i += actionLen(s[i:]) - 1
		case c == '\\' && inQuotes:
			i++
		case c == '"':
			inQuotes = !inQuotes
		case !inQuotes && strings.IndexByte(signs, c) >= 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// actionLen is how long the action at the front of s is, with its braces. What
// is never closed goes to the end.
func actionLen(s string) int {
	if rest := strings.TrimPrefix(strings.TrimPrefix(s[2:], "- "), " "); strings.HasPrefix(rest, "/*") {
		if end := strings.Index(s, "*/"); end >= 0 {
			if closed := strings.Index(s[end:], "}}"); closed >= 0 {
				return end + closed + 2
			}
		}
		return len(s)
	}
	for i := 2; i < len(s); i++ {
		switch c := s[i]; {
		case strings.HasPrefix(s[i:], "}}"):
			return i + 2
		case c == '`':
			end := strings.IndexByte(s[i+1:], '`')
			if end < 0 {
				return len(s)
			}
			i += end + 1
		case c == '"' || c == '\'':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		}
	}
	return len(s)
}

// unquoted is a name without the literal double quotes around it.
func unquoted(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s[1 : len(s)-1])
}

// people are the addresses of a field for one message.
func (r *Renderer) people(ctx context.Context, a *addressField, data map[string]any) []compose.Address {
	var all []compose.Address
	for _, p := range a.pieces {
		all = append(all, r.person(ctx, a.key, p, data)...)
	}
	return all
}

// person is what one piece becomes: one address, or what it names.
func (r *Renderer) person(ctx context.Context, key string, p piece, data map[string]any) []compose.Address {
	text, err := r.fill(p.addr, data)
	if err != nil {
		r.wrong(key, err.Error(), "")
		return nil
	}
	listed := r.listed
	if p.name == nil && len(listed) > 0 {
		if rest := strings.Trim(text, " "); rest != strings.Join(stringsOf(listed), ", ") {
			r.wrong(key, "{{addresses …}} has to stand alone", "")
			return nil
		}
		for _, a := range listed {
			r.checkAddress(key, a, p)
		}
		return listed
	}
	text = strings.TrimSpace(text)
	switch {
	case text == "" && p.name == nil:
		return nil // a column that is empty names nobody
	case p.name == nil && needsBook(text):
		list := r.named(ctx, key, text, p.addr.constant())
		if len(list) > 1 && !p.addr.constant() && !strings.HasPrefix(p.addr.source, "group:") {
			r.wrong(key, quoted(text)+" is a group, and a value names one person at most", "write group:{{"+columnOfPiece(p)+"}} where a row chooses a group")
			return nil
		}
		return list
	}
	a := compose.Address{Addr: text}
	if p.name != nil {
		if a.Name, err = r.fill(p.name, data); err != nil {
			r.wrong(key, err.Error(), "")
			return nil
		}
		a.Name = strings.TrimSpace(a.Name)
	}
	if !r.checkAddress(key, a, p) {
		return nil
	}
	return []compose.Address{a}
}

func stringsOf(list []compose.Address) []string {
	all := make([]string, len(list))
	for i, a := range list {
		all[i] = a.String()
	}
	return all
}

// needsBook reports whether a book has to say who is meant.
func needsBook(text string) bool {
	return strings.HasPrefix(text, "group:") || strings.HasPrefix(text, "book:") || !strings.ContainsAny(text, "@\r\n\x00")
}

func (r *Renderer) named(ctx context.Context, key, name string, constant bool) []compose.Address {
	list, err := r.plan.resolver.resolve(ctx, name)
	if err == nil {
		return list
	}
	p := Problem{Kind: Away, Field: key, Text: name + ": " + err.Error()}
	var unknown *Unknown
	if errors.As(err, &unknown) {
		p.Kind, p.Hint = Name, unknown.Hint
	}
	p.Text = wire.Text(p.Text, 500)
	if constant {
		p.Field = r.plan.step.name(key)
		r.plan.once(p)
		r.failed = true
		return nil
	}
	r.problems = append(r.problems, r.at(p))
	return nil
}

// checkAddress holds a piece to the grammar of one address.
func (r *Renderer) checkAddress(key string, a compose.Address, of piece) bool {
	if !r.clean(key, a.Name) || !r.clean(key, a.Addr) {
		return false
	}
	if f := wire.CheckMailbox(a.Addr, true); f != wire.NoFault {
		hint := ""
		if strings.ContainsAny(a.Addr, `<,;["`) {
			hint = "a column with a name in it, or with several addresses, is written {{addresses " + columnOfPiece(of) + "}}"
		}
		r.wrong(key, quoted(a.Addr)+" is not an address", hint)
		return false
	}
	return true
}

var onlyColumn = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\{\{-?\s*(\.[\pL_][\pL\pN_]*)\s*-?\}\}$`)
})

// columnOfPiece is the column that an address is, as its template has it.
func columnOfPiece(p piece) string {
	if m := onlyColumn().FindStringSubmatch(p.addr.source); m != nil {
		return m[1]
	}
	return ".column"
}
