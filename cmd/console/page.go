package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
)

//go:embed templates assets
var files embed.FS

// pages are the templates, each within the layout, and the assets.
type pages struct {
	templates map[string]*template.Template
	assets    map[string]asset
}

// asset is a file that pages refer to by its name and a digest, so that browsers
// can keep it for good.
type asset struct {
	kind    string
	content []byte
	digest  string
}

var kinds = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func newPages() *pages {
	p := &pages{map[string]*template.Template{}, map[string]asset{}}
	entries, _ := fs.ReadDir(files, "assets")
	for _, e := range entries {
		if kind := kinds[path.Ext(e.Name())]; kind != "" {
			content, _ := files.ReadFile("assets/" + e.Name())
			sum := sha256.Sum256(content)
			p.assets[e.Name()] = asset{kind, content, hex.EncodeToString(sum[:6])}
		}
	}
	funcs := template.FuncMap{
		"asset": func(name string) string { return "/assets/" + name + "?" + p.assets[name].digest },
		"size":  config.RoughSize, "when": when, "ago": ago, "line": wire.Line, "lines": wire.EachLine, "address": func(s string) string { return "<" + wire.Line(s) + ">" },
	}
	layout := template.Must(template.New("layout.html").Funcs(funcs).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	entries, _ = fs.ReadDir(files, "templates")
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name != "layout" && name != "parts" {
			p.templates[name] = template.Must(template.Must(layout.Clone()).ParseFS(files, "templates/"+e.Name()))
		}
	}
	return p
}

// shown is what the layout is filled in with.
type shown struct {
	Title   string
	Host    string
	User    *config.ConsoleUser
	Operate bool
	Define  bool
	Files   bool   // there are message files to fill in
	Caught  bool   // there is captured mail to look at
	Here    string // path and query, for forms to come back to
	Section string // the first segment of the path
	Said    string
	Data    any
}

// page answers with a whole page, or, where htmx asks for a part that the page
// defines as "live", with that.
func (s *Server) page(w http.ResponseWriter, r *request, status int, name, title string, data any) {
	v := s.shown(r, title, data)
	part := "layout.html"
	if r.Header.Get("HX-Request") != "" && r.Header.Get("X-Live") != "" {
		part = "live"
	} else if r.user != nil {
		v.Said = s.sessions.hear(r.secret)
	}
	text, err := s.fragment(name, part, v)
	if err != nil {
		http.Error(w, "This page has a defect, which the log tells of.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// shown is what a page for a request is filled in with.
func (s *Server) shown(r *request, title string, data any) *shown {
	v := &shown{Title: title, Host: r.set.hostname, User: r.user, Operate: r.may(config.RoleOperate), Define: r.may(config.RoleDefine), Here: r.URL.RequestURI(), Data: data}
	v.Caught = v.Operate && s.Captured.Exists()
	v.Files = v.Operate && s.hasFiles(s.Config())
	v.Section, _, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return v
}

// fragment is a part of a page. The error is a bug, which the log tells of.
func (s *Server) fragment(name, part string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := s.pages.templates[name].ExecuteTemplate(&b, part, data); err != nil {
		s.Events(&Failed{"the page " + name + ": " + err.Error()})
		return nil, err
	}
	return b.Bytes(), nil
}

func (s *Server) asset(w http.ResponseWriter, r *request) {
	a, ok := s.pages.assets[r.PathValue("name")]
	if !ok {
		s.fail(w, r, http.StatusNotFound, errNoPage)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(a.content)
}

// when is a time for people, with the whole of it for whoever points at it.
func when(t any) template.HTML {
	at, ok := instant(t)
	if !ok {
		return "–"
	}
	// Both are made of digits and signs alone.
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, at.UTC().Format(time.RFC3339), at.Local().Format("2006-01-02 15:04:05")))
}

// ago says how long ago a time is, or how far ahead.
func ago(t any) string {
	at, ok := instant(t)
	if !ok {
		return "–"
	}
	d := time.Since(at)
	if d < 0 {
		return "in " + rough(-d)
	}
	return rough(d) + " ago"
}

func instant(t any) (at time.Time, ok bool) {
	switch t := t.(type) {
	case time.Time:
		at = t
	case *time.Time:
		if t != nil {
			at = *t
		}
	}
	return at, !at.IsZero()
}

// rough is a duration in its largest unit.
func rough(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}
