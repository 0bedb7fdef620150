package merge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/relay/compose"
)

// prepared writes files into a folder and makes a plan of step.toml in it.
func prepared(t testing.TB, files map[string]string, o Options) (*Plan, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	step, err := Load("step.toml")
	if err != nil {
		return nil, err
	}
	if o.Now.IsZero() {
		o.Now = time.Date(2026, 11, 28, 6, 0, 0, 0, time.UTC)
	}
	plan, err := Prepare(context.Background(), step, o)
	if plan != nil {
		t.Cleanup(plan.Close)
	}
	return plan, err
}

// problemsOf is everything that is wrong with a step, a line each.
func problemsOf(t *testing.T, files map[string]string, o Options) (string, Kind) {
	t.Helper()
	plan, err := prepared(t, files, o)
	if err == nil {
		err = plan.Check(context.Background(), 2, nil)
	}
	var found *Problems
	switch {
	case err == nil:
		return "", Data
	case !errors.As(err, &found):
		t.Fatalf("not a list of problems: %v", err)
	}
	return found.Error(), found.Kind()
}

const simple = "from = 'a@example.com'\nto = ['{{.email}}']\nsubject = 's'\ntext = 't'\n[rows]\nfile = 'due.csv'\n"

// TestBadInput: each line that a wrong message file or row gives, exactly.
func TestBadInput(t *testing.T) {
	for name, c := range map[string]struct {
		step string
		rows string
		want string
		kind Kind
		o    Options
	}{
		"unknown key": {
			step: "from = 'a@example.com'\nto = ['b@example.com']\n\nreply-to = 'c@example.com'\n",
			want: "step.toml:4: reply-to: unknown key (did you mean reply_to?)",
		},
		"unknown key of a table": {
			step: "from = 'a@example.com'\nto = 'b@example.com'\ntext = 't'\n[[attach]]\nfilee = 'x'\n",
			want: "step.toml:5: attach[0].filee: unknown key (did you mean file?)",
		},
		"not TOML": {step: "from = \n", want: "step.toml:1: this is not a value of TOML (text stands in quotes, \"like this\", with \\\\ for a backslash, and a list in brackets, [\"a\", \"b\"])"},
		"wrong type": {
			step: "from = 7\nto = ['b@example.com']\nsubject = 's'\ntext = 't'\n",
			want: "step.toml:1: from: must be a text (such as '…')",
		},
		"two bodies": {
			step: "from = 'a@example.com'\nto = ['b@example.com']\nhtml = '<p>x'\nmarkdown = 'x'\n",
			want: "step.toml:4: markdown: stands beside html (keep one of them)",
		},
		"nobody": {step: "text = 't'\n", want: "step.toml: from: is missing\nstep.toml: to: is missing"},
		"template": {
			step: "from = 'a@example.com'\nto = ['b@example.com']\nsubject = '{{.x'\ntext = 't'\n",
			want: "step.toml:3: subject: unclosed action",
		},
		"function": {
			step: "from = 'a@example.com'\nto = ['b@example.com']\nsubject = '{{env \"HOME\"}}'\ntext = 't'\n",
			want: `step.toml:3: subject: function "env" not defined`,
		},
		"column": {
			step: strings.Replace(simple, "'s'", "'{{.invocie}}'", 1), rows: "email,name,invoice\nb@example.com,B,1\n",
			want: `due.csv: row 1: subject: no column "invocie" (columns: email, name, invoice)`,
		},
		"column in every row": {
			step: strings.Replace(simple, "'s'", "'{{.invocie}}'", 1), rows: "email\n" + strings.Repeat("b@example.com\n", 10),
			want: "due.csv: row 1: subject: no column \"invocie\" (columns: email)\ndue.csv: row 2: subject: no column \"invocie\" (columns: email)\n" +
				"due.csv: row 3: subject: no column \"invocie\" (columns: email)\n7 more problems like these",
		},
		"rows and columns at once": {
			step: simple + "require = ['due']\n", rows: "email,due\nb@example.com,\nbob@,1\n",
			want: "due.csv: row 1: due: is empty, and rows.require names it\ndue.csv: row 2: to: \"bob@\" is not an address",
		},
		"address":    {step: simple, rows: "email\nbob@\n", want: `due.csv: row 1: to: "bob@" is not an address`},
		"no address": {step: simple, rows: "email,n\n,1\n", want: `due.csv: row 1: to: is empty`},
		"a second recipient": {
			step: strings.Replace(simple, "'{{.email}}'", "'Bob <{{.email}}>'", 1), rows: "email\n\"x@y.example>, <victim@z.example\"\n",
			want: `due.csv: row 1: to: "x@y.example>, <victim@z.example" is not an address (a column with a name in it, or with several addresses, is written {{addresses .email}})`,
		},
		"two in a column": {
			step: simple, rows: "email\n\"x@y.example, v@z.example\"\n",
			want: `due.csv: row 1: to: "x@y.example, v@z.example" is not an address (a column with a name in it, or with several addresses, is written {{addresses .email}})`,
		},
		"attachment": {
			step: simple + "[[attach]]\nfile = 'pdf/{{.n}}.pdf'\n", rows: "email\nb@example.com\n",
			want: `due.csv: row 1: attach[0].file: pdf/1.pdf: no such file`,
		},
		"attachment outside": {
			step: simple + "[[attach]]\nfile = 'pdf/{{.f}}'\n", rows: "email,f\nb@example.com,../../../etc/passwd\n",
			want: `due.csv: row 1: attach[0].file: "pdf/../../../etc/passwd" leaves pdf/`,
		},
		"absolute attachment": {
			step: simple + "[[attach]]\nfile = '{{.f}}'\n", rows: "email,f\nb@example.com,/etc/passwd\n",
			want: `due.csv: row 1: attach[0].file: "/etc/passwd" leaves the folder of the message file`,
		},
		"line break": {
			step: strings.Replace(simple, "'s'", "'Invoice {{.x}}'", 1), rows: "email,x\nb@example.com,\"7\r\nBcc: v@z.example\"\n",
			want: `due.csv: row 1: subject: holds a line break: "Invoice 7\nBcc: v@z.example"`,
		},
		"line break in a name": {
			step: strings.Replace(simple, "'{{.email}}'", "'{{.x}} <{{.email}}>'", 1), rows: "email,x\nb@example.com,\"Bob\n<v@z.example>\"\n",
			want: `due.csv: row 1: to: holds a line break: "Bob\n<v@z.example>"`,
		},
		"NUL": {
			step: strings.Replace(simple, "'s'", "'{{.x}}'", 1), rows: "email,x\nb@example.com,a\x00b\n",
			want: `due.csv: row 1: subject: holds a NUL: "a\x00b"`,
		},
		"header": {
			step: strings.Replace(simple, "[rows]", "headers = { X-Class = '{{.x}}' }\n[rows]", 1), rows: "email,x\nb@example.com,\"a\nBcc: v@z.example\"\n",
			want: `due.csv: row 1: headers.X-Class: holds a line break: "a\nBcc: v@z.example"`,
		},
		"save": {
			step: strings.Replace(simple, "[rows]", "save = '{{.x}}'\n[rows]", 1), rows: "email,x\nb@example.com,../../etc/x\n",
			want: `due.csv: row 1: save: "../../etc/x" leaves the folder of the message file`,
		},
		"ragged": {
			step: simple, rows: "email,b,c,d,e\nb@example.com,1,2,3,4\nb@example.com,1,2,3,4,5\n",
			want: "due.csv: line 3: 6 fields, the header has 5",
		},
		"quote": {
			step: simple, rows: "email,b\nb@example.com,x\"y\nb@example.com,z\n",
			want: "due.csv: line 2: a quote stands inside of a field that does not begin with one",
		},
		"charset": {
			step: simple, rows: "email,b\nb@example.com,M\xfcller\n",
			want: "due.csv: line 2: column 2 is not UTF-8 (rows.charset = 'windows-1252', or what it is)",
		},
		"UTF-16 without a mark": {
			step: simple, rows: "e\x00m\x00a\x00i\x00l\x00\n\x00",
			want: "rows.charset: the rows look like UTF-16 without a byte order mark: rows.charset = 'utf-16le' reads them",
		},
		"twice": {step: simple, rows: "email,email\nb@example.com,\n", want: `due.csv: line 1: column "email" is there twice`},
		"group": {
			step: "from = 'a@example.com'\nto = ['b@example.com']\ncc = ['group:Controllers']\ntext = 't'\n",
			want: "cc: group:Controllers: no address book is configured (write the addresses themselves)", kind: Name,
		},
		"group beside data": {
			step: strings.Replace(simple, "subject", "cc = 'group:Controllers'\nsubject", 1), rows: "email\nbob@\nbob@\n",
			want: "cc: group:Controllers: no address book is configured (write the addresses themselves)\n" +
				"due.csv: row 1: to: \"bob@\" is not an address\ndue.csv: row 2: to: \"bob@\" is not an address",
		},
		"bare name": {
			step: "from = 'a@example.com'\nto = ['root']\ntext = 't'\n",
			want: "to: root: no address book is configured (write addresses, such as name@example.com)", kind: Name,
		},
		"required": {
			step: simple + "require = ['email', 'name']\n", rows: "email,name\nb@example.com, \n",
			want: "due.csv: row 1: name: is empty, and rows.require names it",
		},
		"required column": {
			step: simple + "require = ['emial']\n", rows: "email,name\nb@example.com,x\n",
			want: `step.toml:7: rows.require[0]: no column "emial" in due.csv (columns: email, name)`,
		},
		"values": {
			step: strings.Replace(simple, "'s'", "'{{.invoice}}'", 1) + "per = 'email'\n",
			rows: "email,invoice\nb@example.com,1\nb@example.com,2\nb@example.com,3\n",
			want: "due.csv: row 1: subject: invoice has 3 values in this message: use .rows",
		},
		"per": {
			step: simple + "per = 'emial'\n", rows: "email\nb@example.com\n",
			want: `step.toml:7: rows.per: no column "emial" in due.csv (columns: row, all, email)`,
		},
		"key twice": {
			step: strings.Replace(simple, "[rows]", "key = 'k'\n[rows]", 1), rows: "email\nb@example.com\nc@example.com\n",
			want: `due.csv: row 2: key: "k" is that of message 1 too: this one would never be sent`,
		},
		"saved twice": {
			step: strings.Replace(simple, "[rows]", "save = 'k.eml'\n[rows]", 1), rows: "email\nb@example.com\nc@example.com\n",
			want: `due.csv: row 2: save: "k.eml" is that of message 1 too`,
		},
		"size": {
			step: simple + "[[attach]]\nfile = 'due.csv'\n", rows: "email,x\nb@example.com," + strings.Repeat("x", 40000) + "\n",
			want: "row 1: the message has 55 KiB, the relay takes 20 KiB", o: Options{MaxSize: 20 << 10},
		},
		"no rows file":  {step: strings.Replace(simple, "due.csv", "gone.csv", 1), want: "step.toml:5: rows: gone.csv: no such file", kind: NoInput},
		"no body file":  {step: "from = 'a@example.com'\nto = 'b@example.com'\nhtml_file = 'x.html'\n", want: "step.toml:3: html_file: x.html: no such file", kind: NoInput},
		"command fails": {step: strings.Replace(simple, "file = 'due.csv'", "command = ['sh', '-c', 'echo email; echo broken >&2; exit 3']", 1), want: "the output of sh: cannot be read: ended with exit status 3: broken", kind: NoInput},
		"endless loop": {
			step: strings.Replace(simple, "'t'", "'{{range 2000000000}}{{end}}'", 1), rows: "email\nb@example.com\n",
			want: "due.csv: row 1: text: loops more than 1048576 times",
		},
		"recursion": {
			step: strings.Replace(simple, "'t'", "'''{{define \"a\"}}{{template \"b\"}}{{template \"b\"}}{{end}}{{define \"b\"}}{{template \"c\"}}{{template \"c\"}}{{end}}{{define \"c\"}}{{range 1000}}{{range 1000}}{{end}}{{end}}{{end}}{{template \"a\"}}'''", 1), rows: "email\nb@example.com\n",
			want: "due.csv: row 1: text: loops more than 1048576 times",
		},
		"too long": {
			step: strings.Replace(simple, "'s'", "'{{range 100}}{{$.x}}{{end}}'", 1), rows: "email,x\nb@example.com," + strings.Repeat("y", 1000) + "\n",
			want: "due.csv: row 1: subject: becomes longer than 64 KiB",
		},
		"doubling": {
			step: strings.Replace(simple, "'t'", "'{{$x := .email}}{{range 100}}{{$x = print $x $x}}{{end}}'", 1), rows: "email\nb@example.com\n",
			want: "due.csv: row 1: text: becomes longer than 16 MiB",
		},
		"not a number": {
			step: strings.Replace(simple, "'t'", "'{{money .x \"EUR\"}}'", 1), rows: "email,x\nb@example.com,\"1,234\"\n",
			want: `due.csv: row 1: text: "1,234" is not a number`,
		},
		"file outside": {
			step: strings.Replace(simple, "'t'", "'{{file .x}}'", 1), rows: "email,x\nb@example.com,../secret\n",
			want: `due.csv: row 1: text: "../secret" leaves the folder of the message file`,
		},
		"locale": {step: "from = 'a@example.com'\nto = 'b@example.com'\ntext = 't'\nlocale = '12'\n", want: `step.toml:4: locale: "12" is no locale: 'de-DE', 'en-GB' and 'fr' are`},
		"JSON":   {step: strings.Replace(simple, "file = 'due.csv'", "file = 'due.csv'\nformat = 'json'", 1), rows: `[{"email": "b@example.com"}, 7]`, want: "due.csv: row 2: is not JSON: a row must be an object"},
	} {
		t.Run(name, func(t *testing.T) {
			got, kind := problemsOf(t, map[string]string{"step.toml": c.step, "due.csv": c.rows}, c.o)
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if kind != c.kind {
				t.Errorf("kind %d, want %d", kind, c.kind)
			}
		})
	}
}

// crowd is a Book with one person and one group.
type crowd struct{}

func (crowd) Resolve(_ context.Context, name string) ([]compose.Address, error) {
	one := compose.Address{Name: "Ann", Addr: "ann@example.com"}
	if name == "Ann" {
		return []compose.Address{one}, nil
	}
	return []compose.Address{one, {Name: "Bob", Addr: "bob@example.com"}}, nil
}

// TestAValueNamesOnePerson: a row may choose a group only where the message file
// says so.
func TestAValueNamesOnePerson(t *testing.T) {
	for to, c := range map[string]struct{ value, want string }{
		"{{.email}}":          {"Ann", ""},
		"{{ .email }} ":       {"group:All", `due.csv: row 1: to: "group:All" is a group, and a value names one person at most (write group:{{.email}} where a row chooses a group)`},
		"{{ .email | lower}}": {"Everybody", `due.csv: row 1: to: "everybody" is a group, and a value names one person at most (write group:{{.column}} where a row chooses a group)`},
		"group:{{.email}}":    {"All", ""},
		"group:All":           {"x", ""},
		"{{.email}}:All":      {"group", `due.csv: row 1: to: "group:All" is a group, and a value names one person at most (write group:{{.column}} where a row chooses a group)`},
	} {
		files := map[string]string{"step.toml": strings.Replace(simple, "{{.email}}", to, 1), "due.csv": "email\n" + c.value + "\n"}
		if got, _ := problemsOf(t, files, Options{Book: crowd{}}); got != c.want {
			t.Errorf("%s with %s:\n got %s\nwant %s", to, c.value, got, c.want)
		}
	}
}
