package importer

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern/config"
	"postern/config/wire"
)

// writer makes the file.
type writer struct {
	bytes.Buffer
	f       *Found
	secrets map[*Upstream]string // files with passwords
}

// TOML is f as a configuration file. source and path say what it was made from.
// secrets are the paths of the files that hold the upstreams' passwords; where
// there is none for a password, the sign-in is left as a comment.
func (f *Found) TOML(source, path string, secrets map[*Upstream]string) []byte {
	w := &writer{f: f, secrets: secrets}
	w.comment("", "Made by `postern import "+source+" "+wire.Text(path, 300)+"`. Read it, and then run `postern check`.")
	w.notes("What is not as it was there, and what to do:", f.Notes)
	w.top()
	w.keptTop()
	w.submission()
	for i := range f.Listeners {
		w.listener(&f.Listeners[i])
	}
	for _, u := range f.Upstreams {
		w.upstream(u)
	}
	w.routes()
	w.rewrites()
	w.retry()
	w.keptTables()
	return w.Bytes()
}

// width is where comments are broken.
const width = 100

// comment writes text as one or more lines of comment. Nothing in it ends the
// comment.
func (w *writer) comment(indent, text string) {
	text = wire.Text(text, 2000)
	prefix := "# " + indent
	line := prefix
	for word := range strings.FieldsSeq(text) {
		if len(line) > len(prefix) && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			fmt.Fprintln(w, strings.TrimRight(line, " "))
			prefix = "# " + strings.Repeat(" ", len(indent))
			if strings.HasSuffix(indent, "- ") {
				prefix = "# " + indent[:len(indent)-2] + "  "
			}
			line = prefix
		}
		if len(line) > len(prefix) {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

func (w *writer) notes(title string, notes []Note) {
	if len(notes) == 0 {
		return
	}
	if title != "" {
		fmt.Fprintln(w, "#")
		w.comment("", title)
	}
	for _, n := range notes {
		text := n.What
		if n.File != "" {
			text = n.Place.String() + ": " + text
		}
		if n.Do != "" {
			text += ". To do: " + n.Do
		}
		w.comment("- ", text+".")
	}
}

// quoted is s as a string of TOML whose ${ is no variable.
func quoted(s string) string { return basic(strings.ReplaceAll(s, "${", "$${")) }

// basic is s as a basic string of TOML. What is not text becomes a question
// mark; whoever takes a value over has looked at that.
func basic(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case wire.Visible(r):
			b.WriteRune(r)
		default:
			b.WriteByte('?')
		}
	}
	b.WriteByte('"')
	return b.String()
}

// list is a list of strings, in lines where it is long.
func list(values []string) string {
	q := make([]string, len(values))
	n := 0
	for i, v := range values {
		q[i] = quoted(v)
		n += len(q[i]) + 2
	}
	if n < width {
		return "[" + strings.Join(q, ", ") + "]"
	}
	return "[\n\t" + strings.Join(q, ",\n\t") + ",\n]"
}

func (w *writer) key(name, value string) { fmt.Fprintf(w, "%s = %s\n", name, value) }

// text writes a key unless its value is empty.
func (w *writer) text(name, value string) {
	if value != "" {
		w.key(name, quoted(value))
	}
}

func (w *writer) top() {
	if h := w.f.Hostname; h.Value != "" {
		fmt.Fprintln(w)
		w.comment("", h.Place.String())
		w.text("hostname", h.Value)
	}
}

// table begins a table with where it comes from.
func (w *writer) table(header string, at Place) {
	fmt.Fprintln(w)
	if at.File != "" {
		w.comment("", at.String())
	}
	fmt.Fprintln(w, header)
}

func (w *writer) listener(l *Listener) {
	w.table("[[listener]]", l.Place)
	w.notes("", l.Notes)
	w.text("address", l.Address)
	if len(l.Allow) > 0 {
		w.key("allow", list(l.Allow))
	}
	if l.MaxSize > 0 {
		w.text("max_message_size", strconv.FormatInt(l.MaxSize, 10)+"B")
	}
	if l.MaxRcpt > 0 {
		w.key("max_recipients", strconv.Itoa(l.MaxRcpt))
	}
	if l.MaxConn > 0 {
		w.key("max_connections", strconv.Itoa(l.MaxConn))
	}
}

func (w *writer) upstream(u *Upstream) {
	w.table("[upstream."+u.Name+"]", u.Place)
	w.notes("", u.Notes)
	w.text("host", u.Host)
	if u.Port > 0 {
		w.key("port", strconv.Itoa(u.Port))
	}
	w.text("tls", string(u.TLS))
	if u.TLS != config.TLSOff {
		w.text("tls_min_version", string(u.MinTLS))
		w.text("server_name", u.ServerName)
		w.text("ca_file", u.CAFile)
		w.text("cert_file", u.CertFile)
		w.text("key_file", u.KeyFile)
		switch len(u.Fingerprints) {
		case 0:
		case 1:
			w.text("fingerprint", u.Fingerprints[0])
		default:
			w.key("fingerprint", list(u.Fingerprints))
		}
	}
	w.signIn(u)
	w.text("sender", u.Sender)
	if u.MaxConn > 0 {
		w.key("max_connections", strconv.Itoa(u.MaxConn))
	}
	w.text("rate", u.Rate)
	if u.Connect > 0 {
		w.text("connect_timeout", length(u.Connect))
	}
}

// signIn writes how to sign in, or a comment of what is missing for it.
func (w *writer) signIn(u *Upstream) {
	switch {
	case u.Username != "":
	case u.Auth == "external": // with the certificate alone
		w.text("auth", u.Auth)
		return
	case u.Auth != "": // for when there is a user name
		fmt.Fprintf(w, "# auth = %s\n", quoted(u.Auth))
		return
	default:
		return
	}
	secret := w.secrets[u]
	off := ""
	if secret == "" && u.Command == "" {
		off, secret = "# ", "/etc/postern/"+u.Name+".pw"
		if u.PasswordAt.File != "" {
			w.comment("", "To do: the password stands in "+u.PasswordAt.String()+". Import with `--secrets DIR` to have it written to a file of its own, or put it into one and remove the \"# \" of the lines below. Until then the upstream may refuse mail, which is kept:")
		} else {
			w.comment("", "To do: no password was found. Put it into a file, and remove the \"# \" of the lines below. Until then the upstream may refuse mail, which is kept:")
		}
		w.comment("  ", "install -o postern -g postern -m 0600 /dev/stdin "+secret)
	}
	if u.Auth != "" {
		fmt.Fprintf(w, "%sauth = %s\n", off, quoted(u.Auth))
	}
	fmt.Fprintf(w, "%susername = %s\n", off, quoted(u.Username))
	if u.Domain != "" {
		fmt.Fprintf(w, "%sdomain = %s\n", off, quoted(u.Domain))
	}
	if u.Command != "" && w.secrets[u] == "" {
		w.key("password_command", basic(u.Command))
		return
	}
	fmt.Fprintf(w, "%spassword_file = %s\n", off, quoted(secret))
}

func (w *writer) routes() {
	for _, r := range w.f.Routes {
		w.table("[[route]]", r.Place)
		if len(r.From) > 0 {
			w.key("from", list(r.From))
		}
		if len(r.To) > 0 {
			w.key("to", list(r.To))
		}
		if r.Reject != "" {
			w.text("reject", r.Reject)
			continue
		}
		w.key("upstream", list(r.Upstream))
		if len(r.Archive) > 0 {
			w.key("archive", list(r.Archive))
		}
	}
}

func (w *writer) rewrites() {
	for _, r := range w.f.Rewrites {
		w.table("[[rewrite]]", r.Place)
		w.key("from", list(r.From))
		w.text("envelope_from", r.Envelope)
		w.text("header_from", r.Header)
	}
}

func (w *writer) retry() {
	f := w.f
	if f.Lifetime == 0 && f.WarnAfter == 0 && len(f.Backoff) == 0 {
		return
	}
	w.table("[retry]", Place{})
	if len(f.Backoff) > 0 {
		steps := make([]string, len(f.Backoff))
		for i, d := range f.Backoff {
			steps[i] = length(d)
		}
		w.key("backoff", list(steps))
	}
	if f.Lifetime > 0 {
		w.text("lifetime", length(f.Lifetime))
	}
	if f.WarnAfter > 0 {
		w.text("warn_after", length(f.WarnAfter))
	}
}

// length is a duration as the file has it.
func length(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d >= u.of && d%u.of == 0 {
			return strconv.FormatInt(int64(d/u.of), 10) + u.name
		}
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// bounded is d within what Postern takes; 0 stays.
func bounded(d, least, most time.Duration) time.Duration {
	if d == 0 {
		return 0
	}
	return min(max(d, least), most)
}

// submission writes what is done with every message.
func (w *writer) submission() {
	f := w.f
	if f.Domain.Value == "" && f.AliasFile.Value == "" && len(f.Aliases) == 0 && len(f.Archive) == 0 {
		return
	}
	w.table("[submission]", Place{})
	from := func(name, value string, at Place) {
		if value != "" {
			if at.File != "" {
				w.comment("", at.String())
			}
			w.key(name, value)
		}
	}
	if f.Domain.Value != "" {
		from("domain", quoted(f.Domain.Value), f.Domain.Place)
	}
	if f.AliasFile.Value != "" {
		from("aliases", quoted(f.AliasFile.Value), f.AliasFile.Place)
	}
	if len(f.Aliases) > 0 {
		pairs := make([]string, len(f.Aliases))
		for i, a := range f.Aliases {
			pairs[i] = quoted(a.Name) + " = " + list(a.To)
		}
		from("alias", "{ "+strings.Join(pairs, ", ")+" }", f.Aliases[0].Place)
	}
	if len(f.LocalDomains) > 0 {
		w.key("local_domains", list(f.LocalDomains))
	}
	if len(f.Archive) > 0 {
		var to []string
		for _, a := range f.Archive {
			to = union(to, []string{a.Value})
		}
		from("archive", list(to), f.Archive[0].Place)
	}
}
