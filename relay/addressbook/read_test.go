package addressbook

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"postern/config"
)

// TestTables reads what programs export, by their headings. Each line of want is
// "NAME | NICKNAMES | ADDRESSES | ORGANISATION | GROUPS".
func TestTables(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"Outlook in English": {
			"\"First Name\",\"Middle Name\",\"Last Name\",\"Company\",\"E-mail Address\",\"E-mail Type\",\"E-mail 2 Address\",\"Categories\"\n\"Alice\",\"P\",\"Liddell\",\"Wonder, Ltd\",\"a@example.com\",\"SMTP\",\"b@example.com\",\"Sales;VIP\"\n",
			"Alice P Liddell |  | a@example.com,b@example.com | Wonder, Ltd | Sales,VIP",
		},
		"Outlook in German": {
			"Anrede;Vorname;Weitere Vornamen;Nachname;Firma;E-Mail-Adresse;E-Mail 2: Adresse;Kategorien\nHerr;Jörg;;Groß;ACME;j@example.de;k@example.de;Kunden\n",
			"Jörg Groß |  | j@example.de,k@example.de | ACME | Kunden",
		},
		"Outlook in French": {
			"Titre;Prénom;Deuxième prénom;Nom;Société;Adresse de messagerie;Adresse de messagerie 2;Catégories\nMme;Renée;;Dupont;SNCF;r@example.fr;;\n",
			"Renée Dupont |  | r@example.fr | SNCF | ",
		},
		"Outlook in Spanish": {
			"Nombre;Segundo nombre;Apellidos;Organización;Dirección de correo electrónico;Categorías\nJosé;;Núñez;ONCE;j@example.es;Clientes\n",
			"José Núñez |  | j@example.es | ONCE | Clientes",
		},
		"Outlook in Italian": {
			"Titolo,Nome,Secondo nome,Cognome,Società,Nome manager,Categorie,Indirizzo posta elettronica,Tipo posta elettronica,Nome visualizzato posta elettronica,Indirizzo posta elettronica 2\nSig.,Niccolò,,Rossi,ACME,Bianchi,Clienti,n@example.it,SMTP,N. Rossi (n@example.it),m@example.it\n",
			"Niccolò Rossi |  | n@example.it,m@example.it | ACME | Clienti",
		},
		"Google": {
			"First Name,Middle Name,Last Name,Nickname,Organization Name,Labels,E-mail 1 - Label,E-mail 1 - Value,E-mail 2 - Label,E-mail 2 - Value\nAlice,,Liddell,Ali,Wonder,Sales ::: * myContacts,* Work,a@example.com ::: c@example.com,Home,b@example.com\n",
			"Alice Liddell | Ali | a@example.com,c@example.com,b@example.com | Wonder | Sales",
		},
		"Thunderbird in English": {
			"First Name,Last Name,Display Name,Nickname,Primary Email,Secondary Email,Organization\nAlice,Liddell,Alice L.,Ali,a@example.com,b@example.com,Wonder\n",
			"Alice L. | Ali | a@example.com,b@example.com | Wonder | ",
		},
		"Thunderbird in German": {
			"Vorname,Nachname,Anzeigename,Spitzname,Primäre E-Mail-Adresse,Sekundäre E-Mail-Adresse,Organisation\nJörg,Groß,,,j@example.de,,\n",
			"Jörg Groß |  | j@example.de |  | ",
		},
		"Thunderbird in Italian": {
			"Nome,Cognome,Nome visualizzato,Soprannome,Email primaria,Email secondaria,Organizzazione\nLucia,Rossi,,Lu,l@example.it,,Università\n",
			"Lucia Rossi | Lu | l@example.it | Università | ",
		},
		"anything, with tabs": {"Name\tMail\nAlice Liddell\ta@example.com\n", "Alice Liddell |  | a@example.com |  | "},
	} {
		t.Run(name, func(t *testing.T) {
			ansi, err := charmap.Windows1252.NewEncoder().String(c.text)
			if err != nil {
				t.Fatal(err)
			}
			wide, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(c.text)
			if err != nil {
				t.Fatal(err)
			}
			for of, text := range map[string]string{"utf-8": c.text, "utf-8 with mark": "\ufeff" + c.text, "crlf": strings.ReplaceAll(c.text, "\n", "\r\n"), "windows-1252": ansi, "utf-16": wide} {
				got, err := Source{}.Read(strings.NewReader(text))
				if err != nil {
					t.Fatalf("%s: %v", of, err)
				}
				if got.Format != "csv" || len(got.Cards) != 1 || len(got.Faults) > 0 {
					t.Fatalf("%s: %+v", of, got)
				}
				e := got.Cards[0].Entry()
				line := fmt.Sprintf("%s | %s | %s | %s | %s", e.Name, strings.Join(e.Nicknames, ","), strings.Join(e.Addresses, ","), e.Organisation, strings.Join(e.Groups, ","))
				if line != c.want {
					t.Errorf("%s: %s, want %s", of, line, c.want)
				}
			}
		})
	}
}

func TestTableFaults(t *testing.T) {
	s := Source{Columns: map[string]string{"email": "Kontakt", "name": "wer"}}
	c, err := s.Read(strings.NewReader("Wer;Kontakt\nAlice;a@example.com\nEve;/o=ACME/ou=Exchange\n;\nBob;b@example.com;extra\nMute;\n"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range c.Cards {
		names = append(names, fmt.Sprintf("%d %s", p.Line, p.Entry().Name))
	}
	if got, want := strings.Join(names, ", "), "2 Alice, 3 Eve, 5 Bob, 6 Mute"; got != want {
		t.Errorf("cards %s, want %s", got, want)
	}
	if len(c.Faults) != 1 || c.Faults[0].Name != "line 3" || c.Faults[0].Text != `"/o=ACME/ou=Exchange" is not an address` {
		t.Errorf("faults %+v", c.Faults)
	}
	for text, want := range map[string]string{
		"":                   "it is empty",
		"a,b\n1,2\n":         `no column is known to hold addresses; there are "a", "b"`,
		"\xff\xfe\x00":       "no column is known",
		"Name,Mail\nA,\"b\n": "",
	} {
		_, err := Source{Format: "csv"}.Read(strings.NewReader(text))
		var unreadable *Unreadable
		if want == "" && err != nil || want != "" && (!errors.As(err, &unreadable) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := (Source{Columns: map[string]string{"email": "none"}}).Read(strings.NewReader("a,b\n")); err == nil || !strings.Contains(err.Error(), `there is no column "none"`) {
		t.Errorf("a column that isn't there: %v", err)
	}
	if _, err := (Source{Charset: "klingon"}).Read(strings.NewReader("a")); err == nil || !strings.Contains(err.Error(), "is no charset") {
		t.Errorf("a charset that isn't there: %v", err)
	}
}

func TestLDIF(t *testing.T) {
	const text = "version: 1\n\n# a comment\n that goes on\ndn: cn=Alice Liddell,mail=alice@example.com\nobjectclass: top\nobjectclass: person\n" +
		"givenName: Alice\nsn: Liddell\ncn:: QWxpY2UgTMOtZGRlbGw=\nmail: alice@exam\n ple.com\nmozillaNickname: Ali\nmozillaSecondEmail: al@example.org\no: Wonder\njpegPhoto:: AAAA\n\n" +
		"dn: cn=Ops\nobjectclass: groupOfNames\ncn: Ops\nmember: cn=Liddell\\, Alice,mail=alice@example.com\nmember: cn=x,mail=\nmember: cn=Bob,MAIL=bob@example.com\n\n" +
		"dn: cn=bad\ncn: Bad\nmail:< file:///etc/passwd\nno colon\n"
	for _, text := range []string{text, strings.ReplaceAll(text, "\n", "\r\n")} {
		c, err := Source{}.Read(strings.NewReader(text))
		if err != nil || c.Format != "ldif" || len(c.Cards) != 3 {
			t.Fatalf("%+v %v", c, err)
		}
		alice, ops := c.Cards[0].Entry(), c.Cards[1].Entry()
		if alice.Name != "Alice Líddell" || !slices.Equal(alice.Addresses, []string{"alice@example.com", "al@example.org"}) || alice.Organisation != "Wonder" || alice.Nicknames[0] != "Ali" || c.Cards[0].Line != 3 {
			t.Errorf("Alice is %+v at %d", alice, c.Cards[0].Line)
		}
		if !ops.Group || !slices.Equal(ops.Members, []string{"mailto:alice@example.com", "mailto:bob@example.com"}) {
			t.Errorf("Ops is %+v", ops)
		}
		var faults []string
		for _, f := range c.Faults {
			faults = append(faults, f.Name+": "+f.Text)
		}
		want := []string{"line 28: is not ATTRIBUTE: VALUE", "line 25: mail cannot be read", `line 18: member "cn=x,mail=" has no address`}
		if !slices.Equal(faults, want) {
			t.Errorf("faults %q, want %q", faults, want)
		}
	}
}

func TestManyCards(t *testing.T) {
	text := person("a", "A", "") + "junk\n" + vcard("9", "") + vcard("2.1", "FN;CHARSET=ISO-8859-15:J\xf6rg \xa4\n") + "BEGIN:VCARD\nVERSION:4.0\n"
	c, err := Source{}.Read(strings.NewReader(text))
	if err != nil || len(c.Cards) != 2 || len(c.Faults) != 3 {
		t.Fatalf("%+v %v", c, err)
	}
	if e := c.Cards[1].Entry(); e.Name != "Jörg €" {
		t.Errorf("the second is %+v", e)
	}
}

// A file as a book is read again when it has changed, and is away when it is.
func TestFileBooks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "o.csv")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Name,Mail\nAlice,a@example.com\n")
	b := &fileBook{settings: config.Book{Name: "o", Provider: config.BookCSV, File: path}}
	first, err := b.Index()
	if err != nil || len(first.Exact("Alice")) != 1 || first.Entries[0].UID != "" {
		t.Fatalf("%+v %v", first, err)
	}
	if again, _ := b.Index(); again != first {
		t.Error("it was read again within a second")
	}
	write("Name,Mail\nElsie,a@example.com\nBob,b@\n")
	b.looked = time.Time{}
	second, err := b.Index()
	if err != nil || len(second.Exact("Elsie")) != 1 || len(second.Faults) != 1 || second.Faults[0].String() != `o: line 3: "b@" is not an address` {
		t.Errorf("%+v %v", second, err)
	}
	for _, text := range []string{"", "nothing\n"} {
		write(text)
		b.looked = time.Time{}
		if _, err := b.Index(); err == nil || !strings.HasPrefix(err.Error(), "the file of o cannot be used: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	os.Remove(path)
	b.looked = time.Time{}
	if _, err := b.Index(); err == nil || err.Error() != "the file of o cannot be read: no such file or directory" {
		t.Errorf("a missing file: %v", err)
	}
}
