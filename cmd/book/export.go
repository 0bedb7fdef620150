package book

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/config/wire"
	"postern/relay/addressbook"
)

// Formats are those of Export.
var Formats = []string{"vcard", "csv", "ldif", "mutt"}

// Export writes entries for another program. cards gives those of a folder as
// they are; where it gives none, a card is made of the entry.
func Export(w io.Writer, format string, entries []*addressbook.Entry, cards func(*addressbook.Entry) *addressbook.Card) error {
	out := bufio.NewWriter(w)
	var err error
	switch format {
	case "csv":
		err = exportCSV(out, entries)
	case "ldif":
		exportLDIF(out, entries)
	case "mutt":
		exportMutt(out, entries)
	default:
		for _, e := range entries {
			c := cards(e)
			if c == nil {
				c = cardOfEntry(e)
			}
			out.Write(c.Bytes())
		}
	}
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	return err
}

func cardOfEntry(e *addressbook.Entry) *addressbook.Card {
	c := addressbook.NewCard()
	c.SetName(e.Name)
	c.SetAddresses(e.Addresses)
	c.SetNicknames(e.Nicknames)
	c.SetGroups(e.Groups)
	if e.Organisation != "" {
		c.SetOrganisation(e.Organisation)
	}
	if e.Group {
		c.SetMembers(e.Members)
	}
	return c
}

// exportCSV has the headings of Outlook in English. Groups that have a card of
// their own are left out: a table has no place for them.
func exportCSV(w io.Writer, entries []*addressbook.Entry) error {
	most := 3
	for _, e := range entries {
		most = max(most, len(e.Addresses))
	}
	head := []string{"Name", "Nickname", "Company", "Categories", "E-mail Address"}
	for i := 2; i <= most; i++ {
		head = append(head, fmt.Sprintf("E-mail %d Address", i))
	}
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(head); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Group {
			continue
		}
		row := []string{e.Name, strings.Join(e.Nicknames[:min(1, len(e.Nicknames))], ""), e.Organisation, groupsCell(e.Groups)}
		row = append(row, e.Addresses...)
		for len(row) < len(head) {
			row = append(row, "")
		}
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				row[i] = "'" + cell // no formula, whatever a card says
			}
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// groupsCell has a semicolon at its end where a comma would be taken for a
// separator.
func groupsCell(groups []string) string {
	cell := strings.Join(groups, ";")
	if strings.Contains(cell, ",") && len(groups) == 1 {
		cell += ";"
	}
	return cell
}

// exportLDIF writes what Thunderbird reads.
func exportLDIF(w io.Writer, entries []*addressbook.Entry) {
	attribute := func(name, v string) {
		plain := v != "" && wire.IsASCII(v) && !strings.ContainsAny(v[:1], " :<") && v[len(v)-1] != ' ' && !strings.ContainsAny(v, "\x00\r\n")
		if plain {
			fmt.Fprintf(w, "%s: %s\n", name, v)
		} else if v != "" {
			fmt.Fprintf(w, "%s:: %s\n", name, base64.StdEncoding.EncodeToString([]byte(v)))
		}
	}
	byUID := map[string]*addressbook.Entry{}
	for _, e := range entries {
		byUID[e.UID] = e
	}
	for _, e := range entries {
		dn := "cn=" + escapeDN(e.Name)
		if e.Address() != "" {
			dn += ",mail=" + escapeDN(e.Address())
		}
		attribute("dn", dn)
		if e.Group {
			fmt.Fprintf(w, "objectclass: top\nobjectclass: groupOfNames\n")
		} else {
			fmt.Fprintf(w, "objectclass: top\nobjectclass: person\nobjectclass: inetOrgPerson\n")
		}
		attribute("cn", e.Name)
		for i, a := range e.Addresses {
			attribute([]string{"mail", "mozillaSecondEmail"}[min(i, 1)], a)
		}
		if len(e.Nicknames) > 0 {
			attribute("mozillaNickname", e.Nicknames[0])
		}
		attribute("o", e.Organisation)
		for _, m := range e.Members {
			if address, ok := strings.CutPrefix(m, "mailto:"); ok {
				attribute("member", "mail="+escapeDN(address))
			} else if of := byUID[strings.TrimPrefix(m, "urn:uuid:")]; of != nil && of.Address() != "" {
				attribute("member", "cn="+escapeDN(of.Name)+",mail="+escapeDN(of.Address()))
			}
		}
		fmt.Fprintln(w)
	}
}

var dnEscapes = strings.NewReplacer(`\`, `\\`, ",", `\,`, "+", `\+`, `"`, `\"`, "<", `\<`, ">", `\>`, ";", `\;`, "=", `\=`)

func escapeDN(s string) string { return dnEscapes.Replace(s) }

// exportMutt writes aliases for a file that mutt's source reads.
func exportMutt(w io.Writer, entries []*addressbook.Entry) {
	for _, e := range entries {
		if e.Group || e.Address() == "" {
			continue
		}
		key := e.Address()
		if len(e.Nicknames) > 0 {
			key = e.Nicknames[0]
		}
		key = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.@", r) {
				return r
			}
			return '-'
		}, key)
		name := strings.Map(func(r rune) rune { // mutt expands these, and runs what stands in backquotes
			if strings.ContainsRune("`$\\\"'#<>(),;", r) {
				return -1
			}
			return r
		}, e.Name)
		address := e.Address()
		if strings.ContainsAny(address, "`$\\\"'#;() ") {
			continue
		}
		fmt.Fprintf(w, "alias %s %s <%s>\n", key, name, address)
	}
}

// Query writes entries as mutt's query_command, and abook's --mutt-query, give
// them: a line first, then address, name and remark between tabs.
func Query(w io.Writer, entries []*addressbook.Entry, abook bool) error {
	out := bufio.NewWriter(w)
	if !abook {
		fmt.Fprintf(out, "%d entries\n", len(entries))
	} else {
		fmt.Fprintln(out)
	}
	for _, e := range entries {
		for _, a := range e.Addresses {
			fmt.Fprintf(out, "%s\t%s\t%s\n", a, wire.Line(e.Name), wire.Line(strings.Join(e.Groups, ", ")))
		}
	}
	return out.Flush()
}

// Sorted are entries in the order of their names.
func Sorted(entries []*addressbook.Entry) []*addressbook.Entry {
	list := slices.Clone(entries)
	slices.SortStableFunc(list, func(a, b *addressbook.Entry) int { return strings.Compare(a.Name, b.Name) })
	return list
}
