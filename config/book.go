package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The providers of books.
const (
	BookVCards = "vcards" // a folder of cards, which can be written
	BookVCard  = "vcard"  // a file of cards
	BookCSV    = "csv"
	BookLDIF   = "ldif"
)

// BookFields are what columns of a table can be named for.
var BookFields = []string{"name", "first", "middle", "last", "nickname", "email", "organisation", "groups"}

// InternalBook is the name of the book that is there without being configured.
const InternalBook = "local"

// Book is an address book.
type Book struct {
	Name     string
	Provider string
	Dir      string            // of BookVCards
	File     string            // of the others
	Charset  string            // of the file, where no byte order mark tells; empty: UTF-8, else Windows-1252
	Columns  map[string]string // of BookCSV: the columns that are not to be guessed, by BookFields
	UnixUser []string          // users of this machine that may ask it; empty: all
	User     []string          // tokens that may ask it; empty: none
	// ConsoleUser are the users of the console that may ask it; empty: all, or none
	// where UnixUser says who may.
	ConsoleUser []string
	Internal    bool // it is not configured

	Directory Directory     // of BookLDAP; of BookCardDAV and BookGraph what they share with it
	URL       string        // of BookCardDAV and BookGraph
	What      []string      // of BookGraph: GraphUsers and so on
	Keep      string        // of BookCardDAV: the folder in which it is kept while its server is away
	Refresh   time.Duration // of BookCardDAV: how often its server is asked
}

// Send configures how mail is made.
type Send struct {
	Books []string // the names of the books that are asked, in their order; empty: all
}

// Place is where the book is.
func (b *Book) Place() string {
	switch b.Provider {
	case BookVCards:
		return b.Dir
	case BookLDAP:
		return strings.Join(each(b.Directory.Servers, func(s DirectoryServer) string { return s.URL }), ", ")
	case BookCardDAV, BookGraph:
		return b.URL
	}
	return b.File
}

// Allows reports whether a client may ask the book: one who signed in as user,
// or else a user of this machine.
func (b *Book) Allows(user, unixUser string) bool {
	if user != "" {
		return slices.Contains(b.User, user)
	}
	return len(b.UnixUser) == 0 || slices.Contains(b.UnixUser, unixUser)
}

// AllowsConsole reports whether a user of the console may ask the book.
func (b *Book) AllowsConsole(name string) bool {
	if len(b.ConsoleUser) == 0 {
		return len(b.UnixUser) == 0
	}
	return slices.Contains(b.ConsoleUser, name)
}

func (b *Book) keys() []key {
	return slices.Concat([]key{
		{name: "provider", value: choice(&b.Provider, BookVCards, BookVCard, BookCSV, BookLDIF, BookLDAP, BookCardDAV, BookGraph), unset: "must be given", help: "What the book is: a folder of vCards, a file that is read only, a directory, a CardDAV server, or Microsoft 365."},
		{name: "dir", value: path.at(&b.Dir), unset: "book below state_dir", help: "The folder of a book of vCards."},
		{name: "file", value: path.at(&b.File), unset: "must be given for a file", help: "The file of a book of vcard, csv or ldif; it is read again when it changes."},
		{name: "charset", value: text.at(&b.Charset), unset: "UTF-8, else Windows-1252", help: "The charset of the file, where no byte order mark tells."},
		{name: "columns", value: bookColumns.at(&b.Columns), unset: "guessed by their names", help: "The columns of a CSV file, by what they hold."},
		{name: "unix_user", value: textList.at(&b.UnixUser), unset: "all users of this machine", help: "The users of this machine that may ask the book."},
		{name: "user", value: textList.at(&b.User), unset: "none", help: "The tokens of http.token that may ask the book."},
		{name: "console_user", value: textList.at(&b.ConsoleUser), unset: "all users of the console, or none where unix_user is set", help: "The users of the console that may ask the book."},
	}, b.Directory.keys(b.Provider), b.webKeys())
}

func (s *Send) keys() []key {
	return []key{
		{name: "books", value: textList.at(&s.Books), unset: "all: those of vCards, then the others, each by name", help: "The address books that are asked, in their order."},
	}
}

var bookColumns = kind[map[string]string]{name: "columns", parse: readBookColumns, format: func(m map[string]string) any {
	if len(m) == 0 {
		return nil
	}
	return m
}}

func readBookColumns(f field, v any) (map[string]string, bool) {
	t, out := f.table(v), map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(t.values)) {
		if !slices.Contains(BookFields, name) {
			t.problem(name, "unknown key", "keys here: "+strings.Join(BookFields, ", "))
			continue
		}
		if s, ok := readText(t.field(name), t.values[name]); ok {
			out[name] = s
		}
	}
	return out, true
}

func (c *Config) bookTables() value {
	return tableMap[Book]{
		place: &c.books, keys: (*Book).keys, check: (*Book).check,
		fresh: func(name string) *Book {
			return &Book{Name: name, Directory: defaultDirectory(), Refresh: 10 * time.Minute, What: slices.Clone(defaultGraphParts)}
		},
	}
}

func (b *Book) check(t *table) {
	checkName(t, "", b.Name)
	if strings.Contains(b.Name, ":") {
		t.problem("", "is no name for a book: it has a colon", "")
	}
	t.need("provider", "one of vcards, vcard, csv, ldif, ldap, carddav, graph")
	if b.Provider != BookGraph {
		t.refuse("is for Microsoft 365", `provider = "graph", or remove it`, "what")
	}
	if b.Provider == BookCardDAV {
		b.checkCardDAV(t)
		return
	}
	t.refuse("is for CardDAV", `provider = "carddav", or remove it`, "refresh")
	if b.Provider == BookGraph {
		b.checkGraph(t)
		return
	}
	t.refuse("is for CardDAV and Microsoft 365", `provider = "carddav" or "graph", or remove it`, "oauth")
	if b.Provider == BookLDAP {
		t.refuse("is not for a directory", "remove it", "dir", "file", "charset", "columns")
		b.Directory.check(t)
		return
	}
	b.Directory.refuse(t, b.Provider)
	if b.Provider == BookVCards {
		t.refuse("is not for a folder of vCards", "remove it", "file", "charset", "columns")
		return
	}
	t.refuse("is for a folder of vCards", `provider = "vcards", or file for a single file`, "dir")
	if b.Provider != "" {
		t.need("file", `such as "/srv/share/outlook.csv"`)
	}
	if b.Provider != BookCSV {
		t.refuse("is for a table", `provider = "csv"`, "columns")
	}
	if b.Provider == BookVCard {
		t.refuse("is not for vCards, which say it themselves", "remove it", "charset")
	}
}

// settleBooks puts the books in their order, with the one that is there without
// being configured: where no folder is.
func (c *Config) settleBooks() {
	c.Books = nil
	folders := false
	for _, name := range slices.Sorted(maps.Keys(c.books)) {
		b := c.books[name]
		if b.Provider == BookVCards {
			folders = true
			if b.Dir == "" {
				b.Dir = filepath.Join(c.StateDir, "book")
			}
		}
		if b.Provider == BookCardDAV {
			b.Keep = filepath.Join(c.StateDir, "carddav")
		}
		c.Books = append(c.Books, *b)
	}
	if !folders && c.books[InternalBook] == nil {
		c.Books = append(c.Books, Book{Name: InternalBook, Provider: BookVCards, Dir: filepath.Join(c.StateDir, "book"), Internal: true})
	}
	slices.SortStableFunc(c.Books, func(a, b Book) int {
		if a.Provider == BookVCards == (b.Provider == BookVCards) {
			return 0
		} else if a.Provider == BookVCards {
			return -1
		}
		return 1
	})
	if len(c.Send.Books) > 0 {
		var chosen []Book
		for _, name := range c.Send.Books {
			if i := slices.IndexFunc(c.Books, func(b Book) bool { return b.Name == name }); i >= 0 {
				chosen = append(chosen, c.Books[i])
			}
		}
		c.Books = chosen
	}
}

// checkBooks looks at what books mean beside other tables.
func (d *document) checkBooks(cfg *Config) {
	var known []string
	if slices.ContainsFunc(cfg.Books, func(b Book) bool { return b.Internal }) {
		known = append(known, InternalBook)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.books)) {
		known = append(known, name)
		b := cfg.books[name]
		for i, user := range b.User {
			if cfg.HTTP.Tokens[user] == nil {
				d.problem(joinKey("book", name)+".user["+strconv.Itoa(i)+"]", "there is no token "+strconv.Quote(user), "tokens are the tables [http.token.NAME]")
			}
		}
		for i, user := range b.ConsoleUser {
			if cfg.Console.Users[user] == nil {
				d.problem(joinKey("book", name)+".console_user["+strconv.Itoa(i)+"]", "there is no user "+strconv.Quote(user)+" of the console", "users are the tables [console.user.NAME]")
			}
		}
	}
	for i, name := range cfg.Send.Books {
		at := "send.books[" + strconv.Itoa(i) + "]"
		there := slices.ContainsFunc(cfg.Books, func(b Book) bool { return b.Name == name })
		switch {
		case !there:
			hint := "books are the tables [book.NAME]"
			if near := Nearest(name, known); near != "" {
				hint = "did you mean " + strconv.Quote(near) + "?"
			}
			d.problem(at, "there is no book "+strconv.Quote(name), hint)
		case slices.Index(cfg.Send.Books, name) < i:
			d.problem(at, strconv.Quote(name)+" is named twice", "")
		}
	}
}
