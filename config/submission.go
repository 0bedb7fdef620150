package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"postern/config/alias"
	"postern/config/wire"
)

// Submission configures what is done with every message, however it comes in.
type Submission struct {
	// Idempotency is how long the key of a message is remembered; 0: never.
	Idempotency time.Duration
	// Domain completes names without one; empty: they are refused.
	Domain string
	// Alias is what names stand for, by name; "*" takes those that have none.
	Alias map[string][]string
	// Aliases is a file in the syntax of aliases(5), behind Alias; empty: none.
	Aliases string
	// LocalDomains are the domains whose names have aliases, beside names
	// without a domain; empty: "localhost".
	LocalDomains []string
	// Archive are the addresses, or names, of whoever gets a copy of each message.
	Archive []string
	// ArchiveDir is a folder that gets a copy of each message; empty: none.
	ArchiveDir string
	// Postmaster is told of a bounce that cannot be delivered; empty: nobody is.
	Postmaster string
	// FromOf are patterns of the addresses that users of this machine may send
	// as, by their names; who is not here may send as anybody.
	FromOf map[string][]string

	led []AliasBook
}

// AliasBook is a name of the address books that an alias leads to.
type AliasBook struct {
	Name string // "group:Sales"
	// Line is that of a file, "/etc/aliases:3"; empty: it stands in the
	// configuration. Nothing of a file is repeated to others.
	Line string
	At   Problem // where the configuration has it, or the name of the file
}

// localDomain is one of this machine, wherever it is.
const localDomain = "localhost"

func (s *Submission) check(t *table) {
	if len(s.LocalDomains) > 0 && !s.HasAliases() {
		t.problem("local_domains", "has no effect without aliases", `set alias = { root = ["a@example.com"] }, or aliases`)
	}
	if !s.HasAliases() || t.doc.unset[t.key("aliases")] {
		return
	}
	table, err := s.ReadAliases(ownAliases(t.doc.file, t.doc.spool()))
	if table != nil {
		s.led = aliasBooks(t, table.Books)
	}
	for _, p := range aliasProblems(err) {
		key := "aliases"
		if p.File == "" {
			key = "alias"
		}
		text := p
		text.Hint = ""
		t.problem(key, text.String(), p.Hint)
	}
}

func aliasBooks(t *table, led []alias.Led) []AliasBook {
	var list []AliasBook
	for _, one := range led {
		b := AliasBook{Name: one.Book}
		key := joinIndex(joinKey(t.key("alias"), one.Alias), one.Index)
		if one.File != "" {
			key, b.Line = t.key("aliases"), fmt.Sprintf("%s:%d", one.File, one.Line)
		}
		b.At = t.doc.found(key, "", "")
		list = append(list, b)
	}
	return list
}

// AliasBooks are the names of the address books that aliases led to when the
// configuration was read.
func (s *Submission) AliasBooks() []AliasBook { return s.led }

func aliasProblems(err error) alias.Problems {
	problems, _ := err.(alias.Problems) // which is all that Load returns
	return problems
}

// HasAliases reports whether any name can have an alias.
func (s *Submission) HasAliases() bool { return len(s.Alias) > 0 || s.Aliases != "" }

// ReadAliases reads the aliases of the configuration and of the file. read reads
// a file. The error is an alias.Problems.
func (s *Submission) ReadAliases(read func(path string) ([]byte, error)) (*alias.Table, error) {
	locals := s.LocalDomains
	if len(locals) == 0 {
		locals = []string{localDomain}
	}
	return alias.Load(alias.Source{Inline: s.Alias, File: s.Aliases, Domain: s.Domain, Locals: locals, Read: read})
}

// ReadAliasFile reads an aliases file, or one that it includes, as ReadFile
// does. It may be changed by root, by the user of this process and by whoever
// owns the configuration or the spool, and by nobody else.
func (c *Config) ReadAliasFile(path string) ([]byte, error) {
	return ownAliases(c.Path, c.Spool.Dir)(path)
}

func ownAliases(ours ...string) func(path string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		text, err := ReadFile(path)
		if err != nil {
			return nil, err
		}
		if err := checkSecretOwner(path, ours...); err != nil {
			return nil, fmt.Errorf("%s %w", path, err)
		}
		return text, nil
	}
}

// readMailDomain reads the domain of addresses.
func readMailDomain(f field, v any) (string, bool) {
	s, ok := readText(f, v)
	if !ok {
		return "", false
	}
	return readDomain(f, s)
}

func readDomain(f field, s string) (string, bool) {
	canonical, ok := wire.CanonicalDomain(s)
	if !ok || !wire.IsDomain(canonical, false) {
		return "", f.problem(strconv.QuoteToASCII(s)+" is not a domain", `such as "example.com"`)
	}
	return canonical, true
}

// readAlias reads { name = ["address"] }. What the addresses mean together is
// looked at with those of the file.
func readAlias(f field, v any) (map[string][]string, bool) {
	names, aliases := f.table(v), map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(names.values)) {
		if list, ok := readList(names.field(name), names.values[name]); ok {
			aliases[name] = slices.DeleteFunc(list, func(s string) bool { return s == "" }) // reported
		}
	}
	if names.values != nil && len(names.values) == 0 {
		f.problem("is empty", "remove the key or name an alias")
	}
	return aliases, true
}

func showAlias(aliases map[string][]string) any {
	if len(aliases) == 0 {
		return nil
	}
	return aliases
}
