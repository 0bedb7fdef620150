//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"postern/relay/directory/directorytest"
)

// Two users of this machine, and two tokens: for the ones the book secret is open.
const (
	spy, clerk       = 12345, 12346
	spyTok, clerkTok = "lab", "shop"
)

// usersBooks has cards, a file for some alone and a directory whose password is
// for the relay alone, in this order.
const usersBooks = `[submission]
domain = "example.com"
alias = { sales = ["group:Sales"], boss = ["book:secret/Secret Agent"], twins = ["book:secret/Twin"] }
[pickup]
dir = "DIR/pickup"
[http]
address = "HTTP"
[http.token.lab]
hash = "LAB"
[http.token.shop]
hash = "SHOP"
[send]
books = ["team", "secret", "gal"]
[book.team]
provider = "vcards"
dir = "DIR/book"
user = ["lab", "shop"]
[book.secret]
provider = "csv"
file = "DIR/secret.csv"
unix_user = ["12345"]
user = ["lab"]
[book.gal]
provider = "ldap"
url = "LDAP"
tls = "off"
username = "cn=reader,dc=x"
password_file = "DIR/gal.pw"
base = "dc=x"
timeout = "20s"
cache = "0s"
user = ["lab", "shop"]
`

// booksOfUsers runs a relay with these books.
type booksOfUsers struct {
	*harness
	t      *testing.T
	smtp   string
	http   string
	tokens map[string]string
	n      int // messages
}

func newBooksOfUsers(t *testing.T, ldap string) *booksOfUsers {
	b := &booksOfUsers{t: t, smtp: freeAddr(t), http: freeAddr(t), tokens: map[string]string{}}
	text := usersBooks
	for token, at := range map[string]string{spyTok: "LAB", clerkTok: "SHOP"} {
		said := strings.Fields(perform(t, "", "passwd", "--token").stdout)
		b.tokens[token] = said[1]
		text = strings.Replace(text, at, said[3], 1)
	}
	text = strings.NewReplacer("HTTP", b.http, "LDAP", ldap).Replace(text)
	b.harness = newHarness(t, strings.Replace(capturing, "ADDR", b.smtp, 1)+text)
	for name, text := range map[string]string{
		"secret.csv": "name,email,nickname,groups\nSecret Agent,s@secret.example,Seven,Spies\nMata Hari,m@secret.example,,Spies\nTwin,t1@secret.example,,\nTwin,t2@secret.example,,\n",
		"gal.pw":     "s3cret\n",
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.must("book", "add", "--name", "Alice Liddell", "--email", "alice@example.org", "--nickname", "Ally", "--group", "Sales")
	b.must("book", "add", "--name", "Alan Turing", "--email", "alan@example.org", "--group", "Sales")
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{b.dir: 0o755, b.config: 0o644, filepath.Dir(program): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(b.pickup(), 0o700); err != nil {
		t.Fatal(err)
	}
	b.start()
	return b
}

func (b *booksOfUsers) pickup() string { return filepath.Join(b.dir, "pickup") }

// leaves has a user leave a message in the pickup folder, and tells whom it goes to,
// or why it was set aside.
func (b *booksOfUsers) leaves(uid int, name string) string {
	b.t.Helper()
	b.n++
	subject := fmt.Sprintf("message %d", b.n)
	file := fmt.Sprintf("postern-%d.eml", b.n)
	if strings.ContainsAny(name, " :") {
		name = `"` + name + `"`
	}
	text := fmt.Sprintf("From: ops@example.com\nTo: %s\nSubject: %s\n\nhi\n", name, subject)
	path := filepath.Join(b.dir, file)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chown(path, uid, uid), os.Rename(path, filepath.Join(b.pickup(), file))); err != nil {
		b.t.Fatal(err)
	}
	said := ""
	eventually(b.t, file+" is taken or set aside", func() bool {
		reasons, _ := filepath.Glob(filepath.Join(b.pickup(), "bad", "*.reason"))
		for _, r := range reasons {
			if why, _ := os.ReadFile(r); strings.HasSuffix(string(why), "\nfile: "+file+"\n") {
				said = string(why)
			}
		}
		_, err := os.Stat(filepath.Join(b.pickup(), file))
		return said != "" || errors.Is(err, fs.ErrNotExist) && b.there(subject)
	})
	if said != "" {
		return said
	}
	return b.arrived(subject)
}

// as runs a program as a user of this machine.
func (b *booksOfUsers) as(uid uint32, stdin string, cmd *exec.Cmd) (int, string) {
	b.t.Helper()
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		b.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (b *booksOfUsers) postern(uid uint32, args ...string) (int, string) {
	b.t.Helper()
	return b.as(uid, "", b.first(args...))
}

// first is a command with its configuration before the words of it.
func (b *booksOfUsers) first(args ...string) *exec.Cmd {
	cmd := b.command(b.t.Context())
	cmd.Args = slices.Concat(cmd.Args, args)
	return cmd
}

var deliveredTo = regexp.MustCompile(`(?m)^Delivered-To: (.*?)\r?$`)

// there reports whether the message of a subject lies in the Maildir.
func (b *booksOfUsers) there(subject string) bool {
	files, _ := filepath.Glob(filepath.Join(b.dir, "capture", "new", "*"))
	return slices.ContainsFunc(files, func(f string) bool {
		text, _ := os.ReadFile(f)
		return strings.Contains(string(text), "Subject: "+subject+"\r\n")
	})
}

// arrived waits for the message of a subject, and tells who got it.
func (b *booksOfUsers) arrived(subject string) string {
	b.t.Helper()
	var all []string
	eventually(b.t, subject+" lies in the Maildir", func() bool {
		files, _ := filepath.Glob(filepath.Join(b.dir, "capture", "new", "*"))
		for _, f := range files {
			text, _ := os.ReadFile(f)
			if strings.Contains(string(text), "Subject: "+subject+"\r\n") || strings.Contains(string(text), "Subject: "+subject+"\n") {
				for _, m := range deliveredTo.FindAllStringSubmatch(string(text), -1) {
					all = append(all, m[1])
				}
				return true
			}
		}
		return false
	})
	slices.Sort(all)
	return strings.Join(all, " ")
}

// The ways to write to a name. Each returns whom a message goes to, or the code of
// what it ends with and what is said.
var waysToName = map[string]func(b *booksOfUsers, uid uint32, token, name string) string{
	"send --to": func(b *booksOfUsers, uid uint32, _, name string) string { return b.sent(uid, "--to", name) },
	"send --cc": func(b *booksOfUsers, uid uint32, _, name string) string {
		return b.sent(uid, "--to", "x@x.example", "--cc", name)
	},
	"send --bcc": func(b *booksOfUsers, uid uint32, _, name string) string {
		return b.sent(uid, "--to", "x@x.example", "--bcc", name)
	},
	"a message file": func(b *booksOfUsers, uid uint32, _, name string) string {
		file := filepath.Join(b.dir, "m.toml")
		text := fmt.Sprintf("from = 'me@example.com'\nto = ['x@x.example']\ncc = [%q]\nsubject = 's'\ntext = 'b'\n", name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			b.t.Fatal(err)
		}
		return b.shown(b.postern(uid, "send", file, "--dry-run"))
	},
	"sendmail": func(b *booksOfUsers, uid uint32, _, name string) string {
		b.n++
		subject := fmt.Sprintf("message %d", b.n)
		if strings.Contains(name, " ") && !strings.Contains(name, ":") {
			name = `"` + name + `"`
		}
		code, out := b.as(uid, "Subject: "+subject+"\n\nhi\n", b.first("sendmail", "-f", "ops@example.com", name))
		if code != 0 {
			return fmt.Sprintf("%d %s", code, out)
		}
		return b.arrived(subject)
	},
	"SMTP": func(b *booksOfUsers, uid uint32, _, name string) string {
		b.n++
		subject := fmt.Sprintf("message %d", b.n)
		if strings.ContainsAny(name, " :") {
			name = `"` + name + `"`
		}
		host, port, _ := strings.Cut(b.smtp, ":")
		const client = `exec 3<>/dev/tcp/$1/$2; read -r _ <&3
say() { printf '%s\r\n' "$1" >&3; while read -r line <&3; do [[ ${line:3:1} == - ]] || break; done; }
say 'EHLO x'; say 'MAIL FROM:<ops@example.com>'; say "RCPT TO:<$3>"; [[ $line == 2* ]] || { echo "$line"; exit 1; }
say DATA; say "Subject: $4"$'\r\n\r\nhi\r\n.'; [[ $line == 2* ]] || { echo "$line"; exit 1; }`
		ctx, cancel := context.WithTimeout(b.t.Context(), waitLimit)
		defer cancel()
		code, out := b.as(uid, "", exec.CommandContext(ctx, needed(b.t, "bash"), "-c", client, "client", host, port, name, subject))
		if code != 0 {
			return out
		}
		return b.arrived(subject)
	},
	"HTTP": func(b *booksOfUsers, _ uint32, token, name string) string {
		b.n++
		subject := fmt.Sprintf("message %d", b.n)
		body := fmt.Sprintf(`{"from":"me@example.com","to":[%q],"subject":%q,"text":"t"}`, name, subject)
		r, err := http.NewRequestWithContext(b.t.Context(), "POST", "http://"+b.http+"/emails", strings.NewReader(body))
		if err != nil {
			b.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+b.tokens[token])
		r.Header.Set("Content-Type", "application/json")
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			b.t.Fatal(err)
		}
		defer got.Body.Close()
		if said, _ := io.ReadAll(got.Body); got.StatusCode != http.StatusOK {
			return fmt.Sprintf("%d %s", got.StatusCode, said)
		}
		return b.arrived(subject)
	},
}

func (b *booksOfUsers) sent(uid uint32, args ...string) string {
	return b.shown(b.postern(uid, append([]string{"send", "--from", "me@example.com", "--subject", "s", "--body", "b", "--dry-run"}, args...)...))
}

var shownAddresses = regexp.MustCompile(`[^ <,:]+@[^ >,\r\n]+`)

// shown is whom a message goes to that was only printed.
func (b *booksOfUsers) shown(code int, out string) string {
	if code != 0 {
		return fmt.Sprintf("%d %s", code, out)
	}
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(out, "\n ", " ")) {
		if name, rest, _ := strings.Cut(line, ":"); name == "To" || name == "Cc" || name == "Bcc" {
			for _, a := range shownAddresses.FindAllString(rest, -1) {
				if a != "x@x.example" {
					all = append(all, a)
				}
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// usersDirectory knows Carol White, and asks for the password.
func usersDirectory(t *testing.T) *directorytest.Directory {
	d := directorytest.New(t)
	d.Bind = func(c *directorytest.Asker, name, password string) {
		code := 49
		if name == "cn=reader,dc=x" && password == "s3cret" {
			code = 0
		}
		c.Result(1, code, "")
	}
	d.Search = func(c *directorytest.Asker, _, filter string) {
		if f := strings.ToLower(filter); strings.Contains(f, "caro") || strings.Contains(f, "carol white") {
			c.Person("Carol White", "carol@gal.example")
		}
		c.Done(0)
	}
	d.Start(t)
	return d
}

// Each place in which a name may stand for somebody of a book, with real users:
// whoever may ask a book finds who is in it, for others it is not there, also where
// names are completed, two are called the same, or the book is away.
func TestWhoMayAskWhichBook(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("runs programs as other users, which takes root")
	}
	t.Parallel()
	b := newBooksOfUsers(t, usersDirectory(t).URL)
	person := []string{"send --to", "send --cc", "send --bcc", "a message file"}
	guess := person[:1] // by a person, who sees what becomes of it
	program := []string{"sendmail", "SMTP"}
	of := func(lists ...[]string) []string { return slices.Concat(lists...) }
	check := func(ways []string, name, spies, clerks string) {
		t.Helper()
		for _, way := range ways {
			for uid, want := range map[uint32]string{spy: spies, clerk: clerks} {
				got := waysToName[way](b, uid, map[uint32]string{spy: spyTok, clerk: clerkTok}[uid], name)
				if ok := got == want; !ok && (!strings.HasPrefix(want, "~") || !regexp.MustCompile(want[1:]).MatchString(got)) {
					t.Errorf("%s %q by %d: %q, want %q", way, name, uid, got, want)
				}
				if strings.Contains(got, "secret.example") && !strings.Contains(want, "secret") {
					t.Errorf("%s %q by %d tells of the book: %s", way, name, uid, got)
				}
			}
		}
	}
	const sales = "alan@example.org alice@example.org"
	check(of(guess, program), "Ally", "alice@example.org", "alice@example.org")
	check(of(guess, program), "alan turing", "alan@example.org", "alan@example.org")
	check(of(guess, program, []string{"HTTP"}), "group:Sales", sales, sales)
	check(of(program, []string{"HTTP"}), "sales", sales, sales)
	check(of(person, program), "Seven", "s@secret.example", `~^67 .*nobody of that name in team, gal|^Seven@example.com$`)
	check(of(person, program, []string{"HTTP"}), "group:secret/Spies", "m@secret.example s@secret.example", `~(67|550|422) .*no such group in team, gal`)
	check(of(guess, program, []string{"HTTP"}), "book:Mata Hari", "m@secret.example", `~(67|550|422) .*nobody of that name in team, gal`)
	check(of(guess, []string{"HTTP"}), "book:secret/Mat", "m@secret.example", `~(67|422) .*nobody of that name in team, gal`)
	check(guess, "Al", `~^67 .*may be Al.* or Al`, `~^67 .*may be Al.* or Al`)
	check(program, "Al", "Al@example.com", "Al@example.com")
	check(of(guess, program), "Carol White", "carol@gal.example", "carol@gal.example")
	check(guess, "Caro", "carol@gal.example", "carol@gal.example")
	check(guess, "nobody@example.net", "nobody@example.net", "nobody@example.net")
	check(of(guess, program, []string{"HTTP"}), "book:Twin", `~(67|553|422) .*t1@secret.example> \(secret\) or Twin <t2@secret.example>`, `~(67|550|422) .*nobody of that name`)
	// Aliases may use every book, and say nothing of it to whoever may not.
	check(of(program, []string{"HTTP"}), "boss", "s@secret.example", "~^s@secret.example$")
	check(program, "twins", `~5\.1\.4 "Twin" may be Twin <t1@secret.example>`, `~5\.1\.4 an alias leads to a name`)

	// A file in the pickup folder is its owner's.
	for name, want := range map[string][2]string{
		"Seven": {"^s@secret.example$", "^Seven@example.com$"}, "group:secret/Spies": {"^m@secret.example s@secret.example$", "no such group in team, gal"},
		"book:Twin": {"t1@secret.example", "nobody of that name in team, gal"}, "boss": {"^s@secret.example$", "^s@secret.example$"}, "twins": {"may be Twin", "an alias leads to a name"},
	} {
		for i, uid := range []int{spy, clerk} {
			got := b.leaves(uid, name)
			if !regexp.MustCompile(want[i]).MatchString(got) || uid == clerk && name != "boss" && strings.Contains(got, "secret.example") {
				t.Errorf("a file of %d to %q: %q, want %q", uid, name, got, want[i])
			}
		}
	}

	for _, c := range []struct {
		args          []string
		spies, clerks string
	}{
		{[]string{"book", "find", "hari"}, "Mata Hari  m@secret.example  secret  Spies", "nobody was found"},
		{[]string{"book", "show", "Seven"}, "nickname      Seven\n", "nobody has the UID"},
		{[]string{"book", "show", "Ally"}, "address       alice@example.org", "address       alice@example.org"}, // whose folder they may not read
		{[]string{"book", "expand", "group:Spies"}, "m@secret.example", "no such group in team, gal"},
		{[]string{"book", "expand", "group:Sales"}, "alice@example.org", "alice@example.org"},
		{[]string{"__complete", "send", "--to", "mat"}, "Mata Hari\n", ":4\n"},
		{[]string{"__complete", "send", "--to", "group:Sp"}, "group:Spies\n", ":4\n"},
		{[]string{"__complete", "book", "show", "s@"}, "s@secret.example\n", ":4\n"},
		{[]string{"explain", "--from", "me@example.com", "--to", "Seven"}, "password_file", "password_file"}, // which is the relay's
	} {
		for uid, want := range map[uint32]string{spy: c.spies, clerk: c.clerks} {
			if _, out := b.postern(uid, c.args...); !strings.Contains(out, want) || uid == clerk && strings.Contains(out, "secret.example") {
				t.Errorf("%q by %d: %s\nwant %q", c.args, uid, out, want)
			}
		}
	}
}

// Who may not read a book is not told that the relay would turn mail away, but
// that this user cannot say.
func TestExplainOfBooksOfOthers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("runs programs as other users, which takes root")
	}
	t.Parallel()
	b := newBooksOfUsers(t, "ldap://127.0.0.1:1")
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), "[book.gal]")
	b.write(strings.Replace(before, `, "gal"]`, "]", 1))
	if err := os.Chmod(b.config, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"explain", "--from", "me@example.com", "--to", "boss"}, {"explain", "--from", "me@example.com", "--to", "Ally"}, {"sendmail", "-bv", "sales"}} {
		if code, out := b.postern(clerk, args...); code != exitNoPerm || !strings.Contains(out, "this user cannot say") {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
}

// A book that is away makes the names temporary that it might have, for those who
// may ask it, by each way; an exact name of a book before it stays known.
func TestNamesOfBooksThatAreAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("runs programs as other users, which takes root")
	}
	t.Parallel()
	b := newBooksOfUsers(t, "ldap://127.0.0.1:1")
	temporary := regexp.MustCompile(`^(75|451|503) `)
	for way, ask := range waysToName {
		for _, name := range []string{"group:Nobody", "Carol White"} {
			if got := ask(b, clerk, clerkTok, name); (way != "HTTP" || strings.Contains(name, ":")) && !temporary.MatchString(got) {
				t.Errorf("%s %q: %q", way, name, got)
			}
		}
		if got := ask(b, clerk, clerkTok, "book:Ally"); got != "alice@example.org" {
			t.Errorf("%s: %q", way, got)
		}
	}
}
