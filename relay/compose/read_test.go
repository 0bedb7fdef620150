package compose

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"

	"postern/config/wire"
)

// A reading is what a program finds in a message. Scripts in testdata print it
// as JSON.
type reading struct {
	From, To, Cc, ReplyTo []person
	Subject, MessageID    string
	Nasty                 string // the field X-Nasty
	Text, HTML            string
	Files                 []file
	Defects               []string
}

type person struct{ Name, Addr string }

type file struct {
	Name, Type, ID string
	Inline         bool
	Sum            string // SHA-256
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return fmt.Sprintf("%x", s[:8])
}

// expected is what is to be found of m.
func expected(t testing.TB, m Message) reading {
	r := reading{
		From: people(m.From), To: people(m.To...), Cc: people(m.Cc...), ReplyTo: people(m.ReplyTo...),
		Subject: strings.TrimSpace(m.Subject), MessageID: "<" + bareID(m.MessageID) + ">",
		Text: normal(m.Text), HTML: normal(m.HTML),
	}
	if m.Text == "" && !m.NoText {
		text, err := TextOf(m.HTML)
		if err != nil {
			t.Fatal(err)
		}
		r.Text = normal(text)
	}
	if r.Text+r.HTML == "" && len(m.Attached)+len(m.Calendar) == 0 {
		r.Text = "\n"
	}
	for _, f := range m.Header {
		if f.Name == "X-Nasty" {
			r.Nasty = f.Value
		}
	}
	refs := references(m.HTML)
	var attached []file
	for _, p := range append(append([]Part{}, m.Embedded...), m.Attached...) {
		f := file{Name: p.sentName(), Type: strings.ToLower(p.sentType()), Sum: sum(contentOf(t, p))}
		if p.form() == asMessage {
			lines := strings.ReplaceAll(normal(string(contentOf(t, p))), "\n", "\r\n")
			f.Sum = sum([]byte(strings.TrimSuffix(lines, "\r\n")))
		}
		f.Type, _, _ = strings.Cut(f.Type, ";")
		for _, id := range refs {
			if id == p.id() {
				f.ID, f.Inline = id, true
			}
		}
		if f.Inline {
			r.Files = append(r.Files, f)
		} else {
			attached = append(attached, f)
		}
	}
	r.Files = append(r.Files, attached...)
	if m.Calendar != nil {
		r.Files = append(r.Files, file{Name: "invite.ics", Type: calendarExt, Sum: sum(m.Calendar)})
	}
	return r
}

func contentOf(t testing.TB, p Part) []byte {
	r, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func people(list ...Address) (all []person) {
	for _, a := range list {
		address, _ := wireAddress(a.Addr)
		all = append(all, person{strings.TrimSpace(a.Name), address})
	}
	return all
}

// normal is a text with LF at the end of each line and of the last.
func normal(s string) string {
	if s == "" {
		return ""
	}
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	return strings.TrimSuffix(s, "\n") + "\n"
}

var headerEnd = []byte("\r\n\r\n")

// wellFormed checks what no parser would complain of.
func wellFormed(t testing.TB, msg []byte) {
	t.Helper()
	if !wire.WholeLines(msg) || !bytes.HasSuffix(msg, []byte("\r\n")) {
		t.Error("not all lines end in CRLF")
	}
	head := true
	for i, line := range bytes.Split(msg, []byte("\r\n")) {
		if len(line) > maxLine && !alone.Match(line) {
			t.Errorf("line %d has %d octets: %s", i+1, len(line), line)
		}
		if len(line) > wire.MaxTextLine {
			t.Errorf("line %d has %d octets", i+1, len(line))
		}
		if !head && bytes.HasPrefix(line, []byte("From ")) || len(line) > 0 && line[0] == '.' {
			t.Errorf("line %d is changed on the way: %s", i+1, line)
		}
		head = head && len(line) > 0
	}
	header, _, _ := bytes.Cut(msg, headerEnd)
	if regexp.MustCompile(`(?im)^bcc:|hidden@`).Match(header) {
		t.Error("the header tells of Bcc")
	}
}

// alone is a line with one word that nothing may break: an address, an
// identifier, or one of a field that programs read.
var alone = regexp.MustCompile(`^((?i:from|to|cc|reply-to|message-id|references|in-reply-to|disposition-notification-to|return-receipt-to|errors-to|precedence|feedback-id|list-[^ :]*|postern-[^ :]*): | )[^ ]+$`)

// read reads msg by go-message.
func read(msg []byte) (r reading, err error) {
	e, err := message.Read(bytes.NewReader(msg))
	if err != nil {
		return r, err
	}
	h := mail.Header{Header: e.Header}
	for key, list := range map[string]*[]person{"From": &r.From, "To": &r.To, "Cc": &r.Cc, "Reply-To": &r.ReplyTo} {
		if h.Get(key) == "" || h.Get(key) == "undisclosed-recipients:;" {
			continue
		}
		addresses, err := h.AddressList(key)
		if err != nil {
			return r, fmt.Errorf("%s: %w", key, err)
		}
		for _, a := range addresses {
			*list = append(*list, person{a.Name, a.Address})
		}
	}
	if r.Subject, err = h.Subject(); err != nil {
		return r, err
	}
	if r.Nasty, err = h.Text("X-Nasty"); err != nil {
		return r, err
	}
	r.MessageID = h.Get("Message-ID")
	return r, e.Walk(func(path []int, e *message.Entity, err error) error {
		if err != nil {
			return err
		}
		return r.entity(e)
	})
}

func (r *reading) entity(e *message.Entity) error {
	kind, params, err := e.Header.ContentType()
	if err != nil || strings.HasPrefix(kind, "multipart/") {
		return err
	}
	content, err := io.ReadAll(e.Body)
	if err != nil {
		return err
	}
	disposition, named := "", map[string]string(nil)
	if e.Header.Get("Content-Disposition") != "" {
		if disposition, named, err = e.Header.ContentDisposition(); err != nil {
			return err
		}
	}
	if disposition == "" {
		switch kind {
		case "text/plain":
			r.Text = strings.ReplaceAll(string(content), "\r\n", "\n")
		case "text/html":
			r.HTML = strings.ReplaceAll(string(content), "\r\n", "\n")
		}
		return nil
	}
	if named["filename"] != params["name"] {
		return fmt.Errorf("filename %q and name %q differ", named["filename"], params["name"])
	}
	if bytes.HasPrefix(content, []byte("\x1f\x8b")) {
		z, err := gzip.NewReader(bytes.NewReader(content))
		if err != nil {
			return err
		}
		if content, err = io.ReadAll(z); err != nil {
			return err
		}
	}
	r.Files = append(r.Files, file{
		Name: named["filename"], Type: kind, Inline: disposition == "inline", Sum: sum(content),
		ID: strings.Trim(e.Header.Get("Content-Id"), "<>"),
	})
	return nil
}

// same compares what was found with what was composed.
func same(t testing.TB, by string, got, want reading) {
	t.Helper()
	if len(got.Defects) > 0 {
		t.Errorf("%s sees defects: %v", by, got.Defects)
	}
	got.Defects = nil
	for _, list := range [][]person{got.From, got.To, got.Cc, got.ReplyTo, want.From, want.To, want.Cc, want.ReplyTo} {
		for i := range list { // whether a local part keeps its quotes is up to the parser
			list[i].Addr = strings.ReplaceAll(list[i].Addr, `"`, "")
		}
	}
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if a, b := g.Field(i).Interface(), w.Field(i).Interface(); !reflect.DeepEqual(a, b) && (g.Field(i).Kind() != reflect.Slice || g.Field(i).Len()+w.Field(i).Len() > 0) {
			t.Errorf("%s reads %s\n %+q\nfor\n %+q", by, g.Type().Field(i).Name, a, b)
		}
	}
}

func TestGoldenRead(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			got, err := read(compose(t, s.Message))
			if err != nil {
				t.Fatal(err)
			}
			same(t, "go-message", got, expected(t, s.Message))
		})
	}
}
