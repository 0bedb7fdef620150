package alias

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
)

// disk is files by their paths.
type disk map[string]string

func (d disk) read(path string) ([]byte, error) {
	text, ok := d[path]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

func load(d disk) (*Table, error) {
	return Load(Source{File: "/a", Domain: "example.com", Locals: []string{"localhost"}, Read: d.read})
}

func TestFiles(t *testing.T) {
	for _, c := range []struct{ name, text, who, want string }{
		{"one", "root: ops@example.net\n", "root", "ops@example.net"},
		{"several", "root: a@b.example,c@d.example , e\n", "root", "a@b.example c@d.example e"},
		{"capitals", "Root: Ops\nops: X@example.net\n", "ROOT", "X@example.net"},
		{"comments, blanks, continued", "# all\n\n  # more\nroot:\n\ta@b.example,\n# between\n\n  c@d.example\n\nother: x\n", "root", "a@b.example c@d.example"},
		{"comma at the end", "root: a@b.example,\n\n", "root", "a@b.example"},
		{"CRLF and a byte order mark", "\uFEFFroot: a@b.example\r\nother: c\r\n", "other", "c"},
		{"no line end", "root: a@b.example", "root", "a@b.example"},
		{"quoted name", "\"john smith\": a@b.example\n", `"John Smith"`, "a@b.example"},
		{"quoted address", `x: "a, b"@example.net, "c d"` + "\n", "x", `"a, b"@example.net "c d"`},
		{"quotes without need", "\"root\": a\n", "root", "a"},
		{"angle brackets", "root: <a@b.example>\n", "root", "a@b.example"},
		{"included", "root: :include:/list, x@y.example\n", "root", "a@b.example c@d.example e@f.example x@y.example"},
		{"included in quotes", "root: \":INCLUDE: /list\"\n", "root", "a@b.example c@d.example e@f.example"},
		{"included twice", "root: :include:/outer\n", "root", "z@y.example a@b.example c@d.example e@f.example"},
		{"kept", `root: \root, a@b.example` + "\n", "root", "root a@b.example"},
		{"itself", "root: root, a@b.example\n", "root", "root a@b.example"},
		{"kept elsewhere", "root: \\ops, x@y.example\nops: z@y.example\n", "root", "ops x@y.example"},
		{"nested, and each once", "a: b, c, x\nb: d, x\nc: d\nd: x@y.example, X@Y.example\n", "a", "x@y.example X@Y.example x"},
		{"at a local domain", "root: ops@LOCALHOST\nops: x@y.example\n", "root@localhost", "x@y.example"},
		{"at another domain", "root: ops@example.com\nops: x@y.example\n", "root", "ops@example.com"},
		{"everybody", "*: all@b.example\nroot: ghost\n", "who", "all@b.example"},
		{"everybody is asked once", "*: all@b.example\nroot: ghost\n", "root", "ghost"},
		{"everybody is root", "*: root\nroot: ops\n", "who", "ops"},
		{"postmaster", "root: ops@b.example\n*: x\n", "PostMaster", "ops@b.example"},
		{"postmaster of its own", "root: ops@b.example\npostmaster: p@b.example\n", "postmaster", "p@b.example"},
		{"postmaster of root", "root: postmaster\n", "root", "postmaster"},
		{"postmaster is root, who is postmaster", "root: postmaster, x\n", "postmaster", "postmaster x"},
		{"beyond ASCII", "jürgen: j@bücher.example\n", "jürgen", "j@xn--bcher-kva.example"},
		{"books", "root: group:Sales, \"book:team/Liddell, Alice\", group:Sales, a@b.example, book:Bob Brown\n", "root", "group:Sales book:team/Liddell, Alice a@b.example book:Bob Brown"},
		{"books, included", "root: :include:/books\n", "root", "group:Field sales bob"},
		{"nobody", "root: ops\n", "who", ""},
		{"of another domain", "root: ops\n", "root@example.com", ""},
		{"with a colon in quotes", "\"a:b\": c\n", `"a:b"`, "c"},
	} {
		table, err := load(disk{"/a": c.text, "/list": "# the team\na@b.example\n\nc@d.example, e@f.example\n", "/outer": "z@y.example\n:include:/list\n", "/books": "group:Field sales\nbob\n"})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := ""
		if x := table.Expand(c.who, 1000); x != nil {
			got = strings.Join(x.Addresses, " ")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestBadFiles(t *testing.T) {
	chain := "n51: x@y.example\n"
	for i := range 51 {
		chain += fmt.Sprintf("n%d: n%d\n", i, i+1)
	}
	deep := disk{"/a": "root: :include:/0\n"}
	for i := range 10 {
		deep[fmt.Sprintf("/%d", i)] = fmt.Sprintf(":include:/%d\n", i+1)
	}
	for _, c := range []struct{ name, text, want string }{
		{"no group", "x: group:, \"book: \"\n", "/a:1: what stands here is no name of an address book"},
		{"a group with control characters", "x: group:a\x01b\n", "is no name of an address book"},
		{"pipe", "ok: a\nx: |/bin/vacation\n", "/a:2: leads to a command, and this relay runs none (name"},
		{"pipe in quotes", "x: a,\n b,\n \"|/bin/vacation root, x\"\n", "/a:3: leads to a command"},
		{"file", "x: a, /dev/null\n", "/a:1: leads to a file, and this relay has no mailboxes (name"},
		{"file, included", "x: :include:/pipe\n", "/pipe:2: leads to a file"},
		{"special", "x: :fail:\n", "/a:1: begins with a colon, and is not :include: (addresses"},
		{"no colon", "# x\nroot ops\n", "/a:2: has no colon"},
		{"no address", "root: a b\n", "/a:1: what stands here is not an address (addresses are parted by commas, and a comment has a line of its own)"},
		{"comment behind", "root: a@b.example # me\n", "is not an address"},
		{"nobody", "root:\nother: x\n", "/a:1: stands for nobody"},
		{"nobody included", "root: :include:/none\n", "/a:1: stands for nobody"},
		{"twice", "root: a\nx: y\nROOT: b\n", "/a:3: this name has an alias in line 1 already"},
		{"domain", "root@example.com: a\n", "/a:1: its name has a domain"},
		{"no name", ": a\n", "/a:1: its name is not a name"},
		{"continues nothing", "  a@b.example\n", "/a:1: begins with a blank"},
		{"loop", "a: b\nb: c, x@y.example\nc: A\n", "/a:3: is a loop: line 1 → line 2 → line 3 → line 1"},
		{"loop at a local domain", "a: b@localhost\nb: a@localhost\n", "is a loop: line 1 → line 2 → line 1"},
		{"loop of files", "a: :include:/loop\n", "/loop:1: is a loop: /loop → /loop"},
		{"a file that is missing", "a: :include:/gone\n", "/a:1: open /gone: file does not exist"},
		{"a path from nowhere", "a: :include:list\n", "/a:1: :include: needs a path from the root"},
		{"too long a chain", chain, "leads through more than 50 aliases"},
		{"not UTF-8", "a: \xe9@b.example\n", "/a: is not UTF-8"},
		{"control character", "a: b\x01@c.example\n", "is not an address"},
		{"kept with a domain", `a: \b@c.example` + "\n", "has a domain behind a backslash"},
		{"too long", "a: " + strings.Repeat("x", 300) + "@b.example\n", "is too long"},
		{"open quotes", "a: \"b\n", "is not an address"},
	} {
		_, err := load(disk{"/a": c.text, "/pipe": "a@b.example\n/var/mail/x\n", "/none": "# nobody\n", "/loop": ":include:/loop\n"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := load(deep); err == nil || !strings.Contains(err.Error(), "files include each other deeper than 8") {
		t.Error(err)
	}
	if _, err := load(disk{}); err == nil || err.Error() != "/a: file does not exist" {
		t.Error(err)
	}
	many := disk{"/a": ""}
	for i := range 110 {
		many["/a"] += fmt.Sprintf("n%d: :include:/%d\n", i, i)
		many[fmt.Sprintf("/%d", i)] = "x@y.example\n"
	}
	if _, err := load(many); err == nil || !strings.Contains(err.Error(), "more than 100 files are included") {
		t.Error(err)
	}
	if _, err := Load(Source{Inline: map[string][]string{"root": {"ops"}}}); err == nil || !strings.HasPrefix(err.Error(), `root leads to ops, which has no alias and no domain (set domain = "example.com"`) {
		t.Error(err)
	}
	if _, err := Load(Source{Inline: map[string][]string{"a": {"b"}, "b": {"a"}, "c@d": {"x"}, "e": {"f g"}}}); err == nil ||
		err.Error() != "c@d has a domain\ne: f g is not an address" {
		t.Error(err)
	}
}

// A file can be a link to another one, or include it. Whatever is wrong with it,
// and wherever, the problem repeats none of its words.
func TestForeignWords(t *testing.T) {
	const word = "F0reign$6$Secret"
	for _, text := range []string{
		"WORD", "WORD b", "root:WORD:19000:0:99999:7:::", "root:WORD@x y", "WORD: ", "WORD: a\nWORD: b\n", "WORD@x: a", "a: \"WORD", "a: |WORD", "a: /WORD",
		"a: :WORD:", "a: \\WORD@b.example", "a: <WORD", "a: \"|WORD\"", "a: \\\"|WORD\"", "a: WORD", "WORD: b", "WORD: x\nx: WORD\n", " WORD", "a: group:WORD\x01",
		"a: WORD@exämple..com", "a: b, WORD" + strings.Repeat("x", 400) + "@b.example", "{\"password\": \"WORD\"}", "-----BEGIN WORD KEY-----\nWORD==\n", "[WORD]\npassword=WORD\n",
		"a: " + strings.Repeat("WORD, ", 3) + ":include:gone",
	} {
		text = strings.ReplaceAll(text, "WORD", word)
		for _, files := range []disk{{"/a": text}, {"/a": "all: :include:/foreign\n", "/foreign": text}, {"/a": "all: :include:/b\n", "/b": ":include:/foreign\n", "/foreign": text}} {
			_, err := Load(Source{File: "/a", Read: files.read})
			if err != nil && strings.Contains(strings.ToLower(err.Error()), strings.ToLower("F0reign")) {
				t.Errorf("%q: %v", text, err)
			}
			if err == nil && files["/a"] == text {
				t.Errorf("%q is taken", text)
			}
		}
	}
}

// Names that have no alias are for the books, and no others.
func TestForBooks(t *testing.T) {
	table, err := load(disk{"/a": "root: ops, \\kept, bob, a@b.example, c@localhost, group:Sales, root\nops: \\root, carol\n"})
	if err != nil {
		t.Fatal(err)
	}
	x := table.Expand("root", 10)
	var asked []string
	for _, i := range x.Books {
		asked = append(asked, x.Addresses[i])
	}
	if got := strings.Join(asked, " "); got != "carol bob group:Sales" || len(x.Addresses) != 7 {
		t.Errorf("%q of %q", got, x.Addresses)
	}
	// A domain is not needed for those of a book.
	if _, err := Load(Source{Inline: map[string][]string{"root": {"group:Ops"}}}); err != nil {
		t.Error(err)
	}
}

// Aliases of the configuration go before those of the file.
func TestInlineFirst(t *testing.T) {
	table, err := Load(Source{Inline: map[string][]string{"root": {"one@example.net", "bob"}, "*": {"star@example.net"}}, File: "/a",
		Read: disk{"/a": "root: two@example.net\nbob: b@example.net\n*: other@example.net\n"}.read})
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]string{"root": "one@example.net b@example.net", "bob": "b@example.net", "who": "star@example.net"} {
		if got := table.Expand(who, 10); strings.Join(got.Addresses, " ") != want {
			t.Errorf("%s: %q", who, got.Addresses)
		}
	}
	if table.Names != 3 {
		t.Errorf("%d names", table.Names)
	}
}

func TestLimit(t *testing.T) {
	table, err := load(disk{"/a": "a: 1@x.example, 2@x.example, 3@x.example\n"})
	if err != nil {
		t.Fatal(err)
	}
	if x := table.Expand("a", 3); x.Over || len(x.Addresses) != 3 {
		t.Errorf("%+v", x)
	}
	if x := table.Expand("a", 2); !x.Over || len(x.Addresses) != 2 {
		t.Errorf("%+v", x)
	}
}

// FuzzAliases: whatever a file holds, reading it ends, a name that can be
// expanded ends in addresses, each once, and none of them is a command or a file.
func FuzzAliases(f *testing.F) {
	for _, s := range []string{"root: a, b@c.example\n\td\n", "a: b\nb: a\n", "x: :include:/list\n", "x: \"|y\"\n", "*: root\nroot: \\root\n", "\"a b\": <c>\n", "a: b@localhost\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := load(disk{"/a": text, "/list": text})
		if err != nil {
			if problems, ok := err.(Problems); !ok || len(problems) == 0 || problems.Error() == "" {
				t.Errorf("%T %v", err, err)
			}
			return
		}
		for _, name := range slices.Sorted(maps.Keys(table.file)) {
			if name == "*" {
				name = "nobody-else"
			}
			x := table.Expand(quote(name), 1000)
			if x == nil || len(x.Addresses) == 0 {
				t.Fatalf("%q: %+v", name, x)
			}
			seen := map[string]bool{}
			for _, a := range x.Addresses {
				if seen[a] || a == "" || strings.HasPrefix(a, "|") && !strings.Contains(text, "|") || a[0] == '/' || strings.ContainsAny(a, "\r\n") {
					t.Errorf("%q: %q", name, x.Addresses)
				}
				seen[a] = true
			}
		}
	})
}

// quote is a canonical name in wire form.
func quote(name string) string {
	if strings.ContainsAny(name, " \"\\@,:;<>()[]") || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name
}
