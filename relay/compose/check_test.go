package compose

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// good is a message with nothing wrong.
func good() Message {
	return Message{From: Address{"A", "a@example.com"}, To: []Address{{"B", "b@example.org"}}, Subject: "x", Text: "x\n"}
}

func TestProblems(t *testing.T) {
	file := BytesPart("a.txt", "", []byte("x"))
	named := func(name string) func(*Message) {
		return func(m *Message) { m.Attached = []Part{BytesPart(name, "", []byte("x"))} }
	}
	typed := func(kind string) func(*Message) {
		return func(m *Message) { m.Attached = []Part{BytesPart("a.txt", kind, []byte("x"))} }
	}
	field := func(name, value string) func(*Message) {
		return func(m *Message) { m.Header = []Field{{name, value}} }
	}
	calendar := func(s string) func(*Message) { return func(m *Message) { m.Calendar = []byte(s) } }
	for name, c := range map[string]struct {
		change func(*Message)
		want   string
	}{
		"nothing":            {func(m *Message) { *m = Message{} }, `from: there is no author; to: there is no recipient`},
		"all at once":        {func(m *Message) { m.From.Addr = "bob@"; m.Subject = "a\rb"; m.Header = []Field{{"To", "x"}} }, `from: "bob@" is not an address; subject: holds a line break: "a\rb"; headers.To: is written by us: set to`},
		"address":            {func(m *Message) { m.To = []Address{{"", "x@y>, <victim@z"}} }, `to: "x@y>, <victim@z" is not an address`},
		"line in address":    {func(m *Message) { m.Cc = []Address{{"", "x@example.org\r\nBcc: v@example.org"}} }, `cc: "x@example.org\r\nBcc: v@example.org" is not an address`},
		"bare":               {func(m *Message) { m.Bcc = []Address{{"", "root"}} }, `bcc: "root" has no domain`},
		"long address":       {func(m *Message) { m.To[0].Addr = strings.Repeat("x", 250) + "@example.org" }, `to: "` + strings.Repeat("x", 80) + `…" is longer than 254 octets`},
		"look-alike domain":  {func(m *Message) { m.To[0].Addr = "a@\u212Aelvin.example" }, "to: \"a@\u212Aelvin.example\" is not an address"},
		"line in name":       {func(m *Message) { m.From.Name = "A\r\nBcc: v@example.org" }, `from: the name holds a line break: "A\r\nBcc: v@example.org"`},
		"name turned around": {func(m *Message) { m.To[0].Name = "a\u202eb" }, `to: the name holds a character that turns text around: "a\u202eb"`},
		"invisible in name":  {func(m *Message) { m.ReplyTo = []Address{{"a\u200bb", "a@example.org"}} }, `reply_to: the name holds an invisible character: "a\u200bb"`},
		"tags":               {func(m *Message) { m.Subject = "a\U000E0067" }, `subject: holds an invisible character: "a\U000e0067"`},
		"huge name":          {func(m *Message) { m.To[0].Name = strings.Repeat("x", 1<<20) }, `to: the name has 1048576 bytes, more than 1024`},
		"line in subject":    {func(m *Message) { m.Subject = "Invoice\r\nBcc: v@example.org" }, `subject: holds a line break: "Invoice\r\nBcc: v@example.org"`},
		"LF in subject":      {func(m *Message) { m.Subject = "Invoice\nx" }, `subject: holds a line break: "Invoice\nx"`},
		"NEL in subject":     {func(m *Message) { m.Subject = "a\u0085b" }, `subject: holds a line break: "a\u0085b"`},
		"line separator":     {func(m *Message) { m.Subject = "a\u2028b" }, `subject: holds a line break: "a\u2028b"`},
		"NUL in subject":     {func(m *Message) { m.Subject = "a\x00b" }, `subject: holds a NUL: "a\x00b"`},
		"tab in subject":     {func(m *Message) { m.Subject = "a\tb" }, `subject: holds a control character: "a\tb"`},
		"C1 in subject":      {func(m *Message) { m.Subject = "a\u009bb" }, `subject: holds a control character: "a\u009bb"`},
		"Latin-1":            {func(m *Message) { m.Subject = "Gr\xfc\xdfe" }, `subject: is not UTF-8: "Gr\xfc\xdfe"`},
		"huge subject":       {func(m *Message) { m.Subject = strings.Repeat("x", 20000) }, `subject: has 20000 bytes, more than 16384`},
		"huge header": {func(m *Message) {
			for range 30 {
				m.Header = append(m.Header, Field{"X-A", strings.Repeat("word ", 2000)})
			}
		}, `headers: the header has 301 KiB, more than 256`},
		"NUL in text":         {func(m *Message) { m.Text = "a\x00" }, `text: holds a NUL`},
		"Latin-1 text":        {func(m *Message) { m.Text = "\xfc" }, `text: is not UTF-8`},
		"Latin-1 HTML":        {func(m *Message) { m.HTML = "\xfc" }, `html: is not UTF-8`},
		"deep HTML":           {func(m *Message) { m.Text = ""; m.HTML = strings.Repeat("<div>", 2000) }, `html: elements stand in each other more than 512 deep`},
		"not a field":         {field("X Y", "x"), `headers: "X Y" is not the name of a field`},
		"line in field name":  {field("X-A: x\r\nBcc", "x"), `headers: "X-A: x\r\nBcc" is not the name of a field`},
		"colon in field name": {field("X-A:b", "x"), `headers: "X-A:b" is not the name of a field`},
		"empty field name":    {field("", "x"), `headers: "" is not the name of a field`},
		"UTF-8 field name":    {field("X-Ü", "x"), `headers: "X-Ü" is not the name of a field`},
		"line in field":       {field("X-A", "x\r\nBcc: v@example.org"), `headers.X-A: holds a line break: "x\r\nBcc: v@example.org"`},
		"From":                {field("fROM", "x@example.org"), `headers.fROM: is written by us: set from`},
		"Bcc":                 {field("Bcc", "x@example.org"), `headers.Bcc: is written by us: set bcc`},
		"Content-Type":        {field("Content-Type", "text/html"), `headers.Content-Type: is written by us or by those who carry the message`},
		"MIME-Version":        {field("MIME-Version", "1.0"), `headers.MIME-Version: is written by us or by those who carry the message`},
		"Received":            {field("Received", "x"), `headers.Received: is written by us or by those who carry the message`},
		"Return-Path":         {field("Return-Path", "<>"), `headers.Return-Path: is written by us or by those who carry the message`},
		"Resent-Bcc":          {field("Resent-Bcc", "x"), `headers.Resent-Bcc: is written by us or by those who carry the message`},
		"Sender":              {field("Sender", "x@example.org"), `headers.Sender: is written by us or by those who carry the message`},
		"Importance twice":    {func(m *Message) { m.Importance = High; m.Header = []Field{{"X-Priority", "5"}} }, `headers.X-Priority: is written by us, for the importance`},
		"UTF-8 in list field": {field("List-Id", "Größe"), `headers.List-Id: has to be ASCII: "Größe"`},
		"long word in it":     {field("References", strings.Repeat("x", 998)), `headers.References: has a word that is too long for a line`},
		"importance":          {func(m *Message) { m.Importance = 3 }, `importance: is not normal, high or low`},
		"auto":                {func(m *Message) { m.AutoSubmitted = "no\r\nX: y" }, `auto_submitted: "no\r\nX: y" is not a word`},
		"Message-ID":          {func(m *Message) { m.MessageID = "<a@b>\r\nX: y" }, `message_id: "<a@b>\r\nX: y" is not a Message-ID`},
		"two at":              {func(m *Message) { m.MessageID = "a@b@c" }, `message_id: "a@b@c" is not a Message-ID`},
		"domain":              {func(m *Message) { m.Domain = "a b" }, `domain: "a b" is not a domain`},
		"boundary":            {func(m *Message) { m.Boundary = `a"b` }, `boundary: "a\"b" is not letters and digits`},
		"no name":             {named(""), `attach[0].name: is empty`},
		"path":                {named("../etc/passwd"), `attach[0].name: holds a / or \, which would be a path: "../etc/passwd"`},
		"path of Windows":     {named(`C:\x`), `attach[0].name: holds a / or \, which would be a path: "C:\\x"`},
		"folder":              {named(".."), `attach[0].name: is the name of a folder: ".."`},
		"blank name":          {named(" "), `attach[0].name: begins or ends with a blank: " "`},
		"line in file name":   {named("a\r\nX: y.pdf"), `attach[0].name: holds a line break: "a\r\nX: y.pdf"`},
		"file turned around":  {named("invoice\u202efdp.exe"), `attach[0].name: holds a character that turns text around: "invoice\u202efdp.exe"`},
		"type":                {typed("pdf"), `attach[0].type: is not a media type: "pdf"`},
		"line in type":        {typed("text/plain\r\nX: y"), `attach[0].type: is not a media type: "text/plain\r\nX: y"`},
		"line in parameter":   {typed("text/plain; x=\"a\r\nb\""), `attach[0].type: is not a media type: "text/plain; x=\"a\r\nb\""`},
		"UTF-8 in parameter":  {typed("text/plain; x*=utf-8''%C3%BC"), `attach[0].type: has a parameter that can't be written: "text/plain; x*=utf-8''%C3%BC"`},
		"multipart":           {typed("multipart/mixed; boundary=x"), `attach[0].type: can't be a part of a message by itself: "multipart/mixed; boundary=x"`},
		"nothing to read":     {func(m *Message) { m.Attached = []Part{{Name: "a"}} }, `attach[0].file: is nothing that can be read`},
		"not referred to":     {func(m *Message) { m.HTML = "x"; m.Embedded = []Part{file} }, `embed[0].cid: the HTML does not refer to "cid:a.txt": embed it there, or attach it`},
		"embedded in text":    {func(m *Message) { m.Embedded = []Part{file} }, `embed[0].cid: the HTML does not refer to "cid:a.txt": embed it there, or attach it`},
		"not embedded":        {func(m *Message) { m.HTML = `<img src="cid:logo.png">` }, `html: refers to "cid:logo.png", which is not embedded`},
		"embedded twice":      {func(m *Message) { m.HTML = `<img src="cid:a.txt">`; m.Embedded = []Part{file, file} }, `embed[1].cid: another part has it: "a.txt"`},
		"no ID": {func(m *Message) {
			m.HTML = `<img src="cid:x">`
			m.Embedded = []Part{BytesPart("Größe.png", "", nil), {Name: "x", Open: file.Open}}
		}, `embed[0].cid: has signs other than letters, digits and - _ . @ + ! $ & * = ~: "Größe.png"`},
		"line in ID":           {func(m *Message) { m.Attached = []Part{{Name: "a", ID: "x>\r\nX: y", Open: file.Open}} }, `attach[0].id: has signs other than letters, digits and - _ . @ + ! $ & * = ~: "x>\r\nX: y"`},
		"no calendar":          {calendar("hello"), `calendar: is not an iCalendar object`},
		"calendar without end": {calendar("BEGIN:VCALENDAR\r\n"), `calendar: is not an iCalendar object: it has no END:VCALENDAR of its own`},
		"two calendars":        {calendar(invitation + invitation), `calendar: goes on after END:VCALENDAR`},
		"two methods":          {calendar("BEGIN:VCALENDAR\nMETHOD:REQUEST\nMETHOD:CANCEL\nEND:VCALENDAR\n"), `calendar: has two METHODs`},
		"method":               {calendar("BEGIN:VCALENDAR\nMETHOD:a;b\nEND:VCALENDAR\n"), `calendar: has a METHOD that is not a word: "A;B"`},
	} {
		t.Run(name, func(t *testing.T) {
			m := good()
			c.change(&m)
			if got := Problems(m.Check()).Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if n, err := m.WriteTo(io.Discard); err == nil || n != 0 {
				t.Errorf("WriteTo wrote %d octets, %v", n, err)
			}
			if m.Size() != -1 {
				t.Error("it has a size")
			}
		})
	}
}

func TestGood(t *testing.T) {
	for name, change := range map[string]func(*Message){
		"nothing else":   func(m *Message) {},
		"bare":           func(m *Message) { m.AllowBareLocal = true; m.To[0].Addr = "root"; m.From.Addr = "alice" },
		"emoji":          func(m *Message) { m.Subject = "❤\ufe0f 👩\u200d💻 \U0001F3F4\U000E0067\U000E0062\U000E007F" },
		"Hebrew":         func(m *Message) { m.From.Name = "שלום\u200f (a)" },
		"own importance": func(m *Message) { m.Header = []Field{{"X-Priority", "2"}, {"Importance", "high"}} },
		"cid in text":    func(m *Message) { m.HTML = "<p>Write cid:x, placid: the lake</p><!-- <img src=cid:y> -->" },
		"script":         func(m *Message) { m.HTML = "<script>var a='cid:x'</script>" },
		"calendar of one": func(m *Message) {
			m.Calendar = []byte("BEGIN:VCALENDAR\nBEGIN:VEVENT\nMETHOD:x;y\nEND:VEVENT\nEND:VCALENDAR")
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := good()
			change(&m)
			if p := m.Check(); len(p) > 0 {
				t.Error(p)
			}
		})
	}
}

func TestEnvelope(t *testing.T) {
	m := Message{
		From: Address{"A", "a@Bücher.example"}, To: []Address{{"", "b@example.org"}, {"x", "b@EXAMPLE.org"}, {"", "B@example.org"}},
		Cc: []Address{{"", "c@example.org"}}, Bcc: []Address{{"", "b@example.org"}, {"", "d@xn--bcher-kva.example"}, {"", "d@bücher.example"}},
	}
	from, to, utf8 := m.Envelope()
	got := fmt.Sprint(from, " ", to, utf8)
	if want := "a@xn--bcher-kva.example [b@example.org B@example.org c@example.org d@xn--bcher-kva.example] false"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, list := range []*[]Address{&m.To, &m.Cc, &m.Bcc, &m.ReplyTo} {
		before := *list
		*list = []Address{{"", "jörg@example.org"}}
		if _, _, utf8 := m.Envelope(); !utf8 {
			t.Error("a local part beyond ASCII needs no SMTPUTF8")
		}
		*list = before
	}
}

func TestMade(t *testing.T) {
	m := good()
	seen := map[string]bool{}
	for _, domain := range []string{"", "relay.example.com", "bücher.example"} {
		m.Domain = domain
		msg := string(compose(t, m))
		right := map[string]string{"": "example.com", "bücher.example": "xn--bcher-kva.example"}[domain]
		if right == "" {
			right = domain
		}
		_, id, _ := strings.Cut(msg, "Message-ID: <")
		id, _, _ = strings.Cut(id, ">")
		if left, ok := strings.CutSuffix(id, "@"+right); !ok || len(left) != 26 || seen[left] {
			t.Errorf("Message-ID is %s", id)
		}
		seen[id] = true
		_, date, _ := strings.Cut(msg, "\r\nDate: ")
		date, _, _ = strings.Cut(date, "\r\n")
		if at, err := time.Parse(time.RFC1123Z, date); err != nil || time.Since(at) > time.Minute || time.Since(at) < -time.Minute {
			t.Errorf("Date is %s", date)
		}
	}
	m.Attached = []Part{BytesPart("a", "", nil)}
	if a, b := boundaryOf(compose(t, m)), boundaryOf(compose(t, m)); a == b || len(a) != len("=_1")+26 {
		t.Errorf("boundaries %s and %s", a, b)
	}
}

func boundaryOf(msg []byte) string {
	_, b, _ := strings.Cut(string(msg), `boundary="`)
	b, _, _ = strings.Cut(b, `"`)
	return b
}

// TestManyParts: thousands of parts take time in proportion.
func TestManyParts(t *testing.T) {
	m := good()
	for i := range 5000 {
		m.Attached = append(m.Attached, BytesPart(fmt.Sprintf("part-%d.txt", i), "", []byte("x")))
		m.HTML += fmt.Sprintf("<img src=cid:%d>", i)
		m.Embedded = append(m.Embedded, Part{ID: fmt.Sprint(i), Type: "image/png", Size: 1, Open: BytesPart("", "", []byte("x")).Open})
	}
	msg := compose(t, m)
	if n := strings.Count(string(msg), "\r\n\r\neA==\r\n--"); n != 10000 {
		t.Errorf("%d parts", n)
	}
	if m.Size() != int64(len(msg)) {
		t.Errorf("Size is %d, not %d", m.Size(), len(msg))
	}
}

// TestWriterFails: the error of the writer comes back as it is.
func TestWriterFails(t *testing.T) {
	m := good()
	m.Attached = []Part{BytesPart("a.bin", "", make([]byte, 100_000))}
	whole := len(compose(t, m))
	broken := errors.New("broken")
	for _, limit := range []int{0, 10, 600, 50_000, whole - 5} {
		if _, err := m.WriteTo(&limited{limit, broken}); err != broken {
			t.Errorf("after %d octets: %v", limit, err)
		}
	}
}

type limited struct {
	n   int
	err error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.n -= len(p); l.n < 0 {
		return 0, l.err
	}
	return len(p), nil
}
