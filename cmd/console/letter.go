package console

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"postern/config"
	"postern/config/wire"
	"postern/relay/capture"
	"postern/relay/letter"
)

// opened is the page of a captured message.
type opened struct {
	Path     string
	Kept     *capture.Kept
	Head     *capture.Head
	Envelope *capture.Envelope // nil: it has none
	Omitted  int               // recipients that are left out
	Letter   *letter.Letter
	Text     string
	// Upstreams are where it can be sent on to.
	Upstreams []string
}

// find is the captured message that a path names, which is one of the list: no name
// that a browser sends leads to a file. It answers where there is none.
func (s *Server) findCaptured(w http.ResponseWriter, r *request) *capture.Kept {
	k := s.Captured.Find(r.PathValue("name"))
	if k == nil {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such message in the Maildir any more"))
	}
	return k
}

// openCaptured opens the message that a path names, and answers where it can't.
func (s *Server) openCaptured(w http.ResponseWriter, r *request) (*capture.Kept, *os.File) {
	k := s.findCaptured(w, r)
	if k == nil {
		return nil, nil
	}
	f, err := s.Captured.Open(k)
	if err != nil {
		s.failCaptured(w, r, err)
		return nil, nil
	}
	return k, f
}

func (s *Server) failCaptured(w http.ResponseWriter, r *request, err error) {
	status := http.StatusServiceUnavailable
	var broken *letter.Broken
	if errors.Is(err, capture.ErrGone) || errors.As(err, &broken) {
		status = http.StatusNotFound
	}
	s.fail(w, r, status, err)
}

func (s *Server) letter(w http.ResponseWriter, r *request) {
	k, f := s.openCaptured(w, r)
	if f == nil {
		return
	}
	defer f.Close()
	page := &opened{Kept: k, Path: capturedPath(k.Name)}
	var err error
	if page.Head, err = s.Captured.Head(k); err != nil {
		s.failCaptured(w, r, err)
		return
	}
	if page.Letter, err = letter.Read(f); err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, err)
		return
	}
	page.Text = harmless(page.Letter.Text)
	if whole, env, _, err := s.Captured.Whole(k); err == nil {
		whole.Close()
		page.Omitted = max(0, len(env.To)-shownRecipients)
		env.To = env.To[:len(env.To)-page.Omitted]
		page.Envelope = env
	}
	if r.may(config.RoleOperate) {
		page.Upstreams = realUpstreams(s.Config())
	}
	w.Header().Set("Content-Security-Policy", policy+"; frame-src 'self'")
	title := page.Head.Subject
	if title == "" {
		title = "A message without a subject"
	}
	s.page(w, r, http.StatusOK, "letter", title, page)
}

// realUpstreams are those that mail leaves the machine by.
func realUpstreams(cfg *config.Config) (names []string) {
	for name, up := range cfg.Upstreams {
		if up.Provider != config.CaptureProvider {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// maxTextLine is how much of a line of a text is shown, in bytes.
const maxTextLine = 20_000

// harmless is a text with nothing in it that turns it around or that nobody sees.
func harmless(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(wire.Abridged(strings.TrimSuffix(line, "\n"), maxTextLine, "…"))
		b.WriteByte('\n')
	}
	return b.String()
}

// rawCaptured is the file, as a text that no browser makes anything of.
func (s *Server) rawCaptured(w http.ResponseWriter, r *request) {
	k, f := s.openCaptured(w, r)
	if f == nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, err)
		return
	}
	asSource(w.Header(), info.Size())
	if r.Form.Get("download") != "" {
		attach(w.Header(), letter.SafeName(k.Name+".eml", "message/rfc822", 0))
	}
	_, _ = io.Copy(w, io.LimitReader(f, info.Size()))
}

// asSource has a browser show what follows as a text, and nothing else.
func asSource(h http.Header, size int64) {
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
}

// attach has a browser keep what follows in a file, with a name of letter.SafeName.
func attach(h http.Header, name string) {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, name)
	// RFC 6266 §4.3
	h.Set("Content-Disposition", `attachment; filename="`+ascii+`"; filename*=UTF-8''`+percent(name))
}

// percent is a value as RFC 8187 §3.2.1 has it.
func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}

// passive are types that a download keeps: what is of another one could be made
// something of.
var passive = map[string]bool{"image/png": true, "image/jpeg": true, "image/gif": true, "image/webp": true, "application/pdf": true, "text/plain": true, "text/csv": true,
	"text/calendar": true, "application/zip": true, "application/json": true, "message/rfc822": true}

// part downloads a part of a captured message.
func (s *Server) part(w http.ResponseWriter, r *request) {
	_, f := s.openCaptured(w, r)
	if f == nil {
		return
	}
	defer f.Close()
	s.writePart(w, r, f)
}

// writePart has a browser keep the part of a message that a path names.
func (s *Server) writePart(w http.ResponseWriter, r *request, f io.Reader) {
	number, err := strconv.Atoi(r.PathValue("part"))
	if err != nil {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such part"))
		return
	}
	begun := false
	err = letter.Extract(f, number, func(p *letter.Part) (io.Writer, error) {
		begun = true
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		if passive[p.Type] {
			h.Set("Content-Type", p.Type)
		}
		h.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
		attach(h, p.Name)
		return w, nil
	})
	switch {
	case err != nil && begun:
		panic(http.ErrAbortHandler) // or the browser would take what there is for the whole
	case err != nil:
		s.failCaptured(w, r, err)
	}
}

// mailPolicy lets a message show itself and the pictures in it, and nothing else:
// no script, no form, no request.
const mailPolicy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; form-action 'none'; base-uri 'none'; sandbox; frame-ancestors 'self'"

// frame is the HTML of a captured message, for the frame in its page.
func (s *Server) frame(w http.ResponseWriter, r *request) {
	if alone(w, r, capturedPath(r.PathValue("name"))) {
		return
	}
	_, f := s.openCaptured(w, r)
	if f == nil {
		return
	}
	defer f.Close()
	s.writeFrame(w, r, f)
}

// alone tells whether a browser asks for the content of a frame as a page, and
// leads it to the page of the message: by itself, its links would lead away.
func alone(w http.ResponseWriter, r *request, page string) bool {
	dest := r.Header.Get("Sec-Fetch-Dest")
	if dest == "" || dest == "iframe" {
		return false
	}
	http.Redirect(w, r.Request, page, http.StatusSeeOther)
	return true
}

// writeFrame writes the HTML of a message for the frame in its page.
func (s *Server) writeFrame(w http.ResponseWriter, r *request, f io.ReadSeeker) {
	l, err := letter.Read(f)
	if err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, err)
		return
	}
	var pictures map[string]picture
	if strings.Contains(strings.ToLower(l.HTML), "cid:") {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			s.fail(w, r, http.StatusServiceUnavailable, err)
			return
		}
		pictures = picturesOf(f)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", mailPolicy)
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("X-DNS-Prefetch-Control", "off")
	_, _ = io.WriteString(w, framed(l.HTML, pictures))
}

// shownFields are those of a header that a page has.
var shownFields = []string{"From", "To", "Cc", "Bcc", "Reply-To", "Date", "Message-ID"}

// Shown are the fields that a page has, of those that the message has.
func (o *opened) Shown() []letter.Field { return shownOf(o.Letter) }

func shownOf(l *letter.Letter) (list []letter.Field) {
	for _, name := range shownFields {
		if v := l.Get(name); v != "" {
			list = append(list, letter.Field{Name: name, Value: v})
		}
	}
	return list
}
