package addressbook

import (
	"fmt"
	"slices"
	"strings"

	"postern/config/wire"
)

// The fields of a table.
const (
	fieldName         = "name"
	fieldFirst        = "first"
	fieldMiddle       = "middle"
	fieldLast         = "last"
	fieldNickname     = "nickname"
	fieldEmail        = "email"
	fieldOrganisation = "organisation"
	fieldGroups       = "groups"
)

// Fields are those that a column can be named for: see config.Book.Columns.
var Fields = []string{fieldName, fieldFirst, fieldMiddle, fieldLast, fieldNickname, fieldEmail, fieldOrganisation, fieldGroups}

// headings are the names of columns as programs export them: Outlook in English,
// German, French, Spanish and Italian, Google, and Thunderbird in the same languages.
// In small letters, without what plain leaves out.
var headings = map[string][]string{
	fieldName: {
		"name", "full name", "display name", "anzeigename", "nom complet", "nom a afficher", "nombre completo", "nombre a mostrar",
		"nombre para mostrar", "nome visualizzato", "nome completo",
	},
	fieldFirst:  {"first name", "given name", "vorname", "prenom", "nombre", "nombre de pila", "nome"},
	fieldMiddle: {"middle name", "additional name", "weitere vornamen", "zweiter vorname", "deuxieme prenom", "segundo nombre", "secondo nome"},
	fieldLast:   {"last name", "family name", "nachname", "nom", "nom de famille", "apellidos", "apellido", "cognome"},
	fieldNickname: {
		"nickname", "spitzname", "surnom", "sobrenombre", "apodo", "soprannome",
	},
	fieldEmail: {
		"email", "e mail", "mail", "e mail address", "email address", "e mail 1 value", "primary email", "e mail adresse", "primare e mail adresse",
		"adresse de messagerie", "adresse e mail", "premiere adresse electronique", "adresse electronique principale",
		"direccion de correo electronico", "correo electronico principal", "correo electronico", "correo",
		"e mail 2 address", "e mail 3 address", "e mail 2 value", "e mail 3 value", "e mail 4 value", "e mail 5 value", "secondary email",
		"e mail 2 adresse", "e mail 3 adresse", "sekundare e mail adresse", "adresse de messagerie 2", "adresse de messagerie 3",
		"adresse electronique secondaire", "deuxieme adresse electronique", "direccion de correo electronico 2", "direccion de correo electronico 3",
		"direccion del correo electronico 2", "direccion del correo electronico 3", "correo electronico secundario",
		"indirizzo posta elettronica", "indirizzo posta elettronica 2", "indirizzo posta elettronica 3", "email primaria", "email secondaria",
	},
	fieldOrganisation: {
		"organisation", "organization", "company", "organization 1 name", "organization name", "firma", "societe", "compania", "organizacion", "empresa", "societa", "organizzazione",
	},
	fieldGroups: {"groups", "categories", "group membership", "labels", "kategorien", "categories", "categorias", "categorie"},
}

// filed is the heading of Google's for how somebody is sorted: it is the name of
// who has no other.
const filed = "file as"

// plainLetters are those of the headings without their marks.
var plainLetters = strings.NewReplacer("ä", "a", "ö", "o", "ü", "u", "é", "e", "è", "e", "ê", "e", "à", "a", "ò", "o", "ù", "u", "ì", "i", "á", "a", "í", "i", "ó", "o", "ú", "u", "ñ", "n", "ç", "c")

// plain is a heading as headings has it.
func plain(heading string) string {
	heading = plainLetters.Replace(folded(strings.TrimPrefix(heading, "\ufeff")))
	return strings.Join(strings.FieldsFunc(heading, func(r rune) bool { return strings.ContainsRune(" -_:.'’/", r) }), " ")
}

// Guess tells which columns a field is taken from.
type Guess struct {
	Field   string   `json:"field"`
	Columns []string `json:"columns"`
}

// columns are the places of each field in a row.
type columns map[string][]int

// guess finds the fields of a table by its header. named, by the field, are
// columns that somebody has named; they count in the place of a guess.
func guess(header []string, named map[string]string) (columns, []Guess, error) {
	c := columns{}
	plainly := make([]string, len(header))
	for i, h := range header {
		header[i] = h[:min(maxText, len(h))]
		plainly[i] = plain(header[i])
	}
	for field, heading := range named {
		i := slices.Index(plainly, plain(heading))
		if i < 0 {
			return nil, nil, &Unreadable{"there is no column " + wire.Quote(wire.Line(heading)), "there are " + shownList(header)}
		}
		c[field] = []int{i}
	}
	for i, h := range plainly {
		for _, field := range Fields {
			if named[field] == "" && slices.Contains(headings[field], h) {
				c[field] = append(c[field], i)
				break
			}
		}
	}
	// "Nom" is a last name beside "Prénom", and "Nombre" a first name beside
	// "Apellidos". Alone they are the whole name.
	if len(c[fieldFirst]) == 0 != (len(c[fieldLast]) == 0) && len(c[fieldName]) == 0 {
		c[fieldName] = append(c[fieldFirst], c[fieldLast]...)
		delete(c, fieldFirst)
		delete(c, fieldLast)
	}
	if len(c[fieldName])+len(c[fieldFirst]) == 0 {
		if i := slices.Index(plainly, filed); i >= 0 {
			c[fieldName] = []int{i}
		}
	}
	if len(c[fieldEmail]) == 0 {
		return nil, nil, &Unreadable{"no column is known to hold addresses", "there are " + shownList(header) + ". Name it: email=COLUMN"}
	}
	var guesses []Guess
	for _, field := range Fields {
		if len(c[field]) > 0 {
			g := Guess{Field: field}
			for _, i := range c[field] {
				g.Columns = append(g.Columns, shown(header[i]))
			}
			guesses = append(guesses, g)
		}
	}
	return c, guesses, nil
}

// unused are the headings of columns of which nothing is taken.
func (c columns) unused(header []string) (list []string) {
	used := map[int]bool{}
	for _, places := range c {
		for _, i := range places {
			used[i] = true
		}
	}
	for i, h := range header {
		if h = shown(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff"))); !used[i] && h != "" {
			list = append(list, h)
		}
	}
	return list
}

func shownList(header []string) string {
	var list []string
	for _, h := range header[:min(30, len(header))] {
		if h = strings.TrimSpace(h); h != "" {
			list = append(list, wire.Quote(wire.Line(h)))
		}
	}
	return strings.Join(list, ", ")
}

// first is the first text of a field in a row.
func (c columns) first(field string, row []string) string {
	for _, i := range c[field] {
		if i < len(row) && strings.TrimSpace(row[i]) != "" {
			return unguarded(row[i])
		}
	}
	return ""
}

// unguarded is a cell without the apostrophe that keeps a spreadsheet from
// taking it for a formula.
func unguarded(cell string) string {
	cell = strings.TrimSpace(cell)
	if len(cell) > 1 && cell[0] == '\'' && strings.IndexByte("=+-@", cell[1]) >= 0 {
		return cell[1:]
	}
	return cell
}

// card makes one of a row; nil: the row is of nobody. The faults are of what
// can't be used, which told repeats.
func (c columns) card(row []string, told func(string) string) (card *Card, faults []string) {
	name := c.first(fieldName, row)
	if name == "" {
		var parts []string
		for _, field := range []string{fieldFirst, fieldMiddle, fieldLast} {
			if part := c.first(field, row); part != "" {
				parts = append(parts, part)
			}
		}
		name = strings.Join(parts, " ")
	}
	var addresses []string
	for _, i := range c[fieldEmail] {
		if i >= len(row) {
			continue
		}
		for _, one := range mailboxes(unguarded(row[i])) {
			switch {
			case one == "" || slices.Contains(addresses, one):
			case wire.CheckMailbox(one, true) != wire.NoFault: // Outlook has the path of X.400 or X.500 there, of its own Exchange
				faults = append(faults, told(one)+" is not an address")
			case len(addresses) < maxAddresses:
				addresses = append(addresses, one)
			}
		}
	}
	organisation := c.first(fieldOrganisation, row)
	if name == "" && len(addresses) == 0 {
		name = organisation
	}
	if name == "" && len(addresses) == 0 {
		return nil, faults
	}
	if name == "" {
		name = addresses[0]
	}
	card = NewCard()
	card.SetName(shown(name))
	if f, g := c.first(fieldLast, row), c.first(fieldFirst, row); f != "" && g != "" {
		n := []string{f, g, c.first(fieldMiddle, row), "", ""}
		for i := range n {
			n[i] = escape(shown(n[i]))
		}
		card.lines = append(card.lines, line{name: "N", value: strings.Join(n, ";")})
	}
	if len(addresses) > 0 {
		card.SetAddresses(addresses)
	}
	if organisation != "" {
		card.SetOrganisation(shown(organisation))
	}
	if nick := c.first(fieldNickname, row); nick != "" {
		card.SetNicknames([]string{shown(nick)})
	}
	if groups := listed(c.first(fieldGroups, row)); len(groups) > 0 {
		card.SetGroups(groups)
	}
	return card, append(faults, c.cut(row)...)
}

// cut tells which texts of a row are longer than a card takes.
func (c columns) cut(row []string) (faults []string) {
	for _, field := range Fields {
		parts := []string{c.first(field, row)}
		switch field {
		case fieldEmail: // each is checked
			continue
		case fieldGroups:
			parts = groupCells(parts[0])
		}
		if slices.ContainsFunc(parts, func(part string) bool { return len(part) > maxText }) {
			faults = append(faults, fmt.Sprintf("%s: has more than %d bytes, and is cut", field, maxText))
		}
	}
	return faults
}

// mailboxes are those of a cell: Google joins several by ":::", and people by
// semicolons, commas and lines.
func mailboxes(cell string) []string {
	if one := plainMailbox(cell); wire.CheckMailbox(one, true) == wire.NoFault {
		return []string{one}
	}
	for _, at := range []string{":::", "\n", ";", ","} {
		if !strings.Contains(cell, at) || !strings.Contains(cell, "@") { // what X.400 and X.500 have there is one
			continue
		}
		var all []string
		for one := range strings.SplitSeq(cell, at) {
			if len(all) < maxAddresses && strings.TrimSpace(one) != "" {
				all = append(all, mailboxes(one)...)
			}
		}
		return all
	}
	return []string{plainMailbox(cell)}
}

// listed cuts the groups of a cell, which Outlook separates by semicolons, Google
// by ":::", and others by commas.
func listed(cell string) []string {
	var list []string
	for _, one := range groupCells(cell) {
		one = shown(one)
		if one != "" && !strings.HasPrefix(one, "* ") && !slices.Contains(list, one) && len(list) < maxGroups { // "* myContacts" is of Google itself
			list = append(list, one)
		}
	}
	return list
}

// groupCells are the pieces of such a cell, as they are written.
func groupCells(cell string) []string {
	cell = strings.ReplaceAll(cell, ":::", ";")
	at := ","
	if strings.Contains(cell, ";") {
		at = ";"
	}
	pieces := strings.Split(cell, at)
	for i := range pieces {
		pieces[i] = strings.TrimSpace(pieces[i])
	}
	return pieces
}
