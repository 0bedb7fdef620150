package merge

import (
	"bytes"
	htmltemplate "html/template"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"postern/relay/compose"
)

// normal is HTML as the parser understands it.
func normal(t *testing.T, s string) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := html.Render(&b, doc); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestInlinedOnce: a template that is inlined before it is filled in gives the
// same as one that is inlined after; those where it would not are left alone.
func TestInlinedOnce(t *testing.T) {
	data := map[string]any{
		"name": `B & "q" <b>'`, "u": "https://x.example/?a=1&b=2", "late": true, "c": "late", "list": []string{"a", "b", "c"}, "none": []string{},
	}
	const style = "<style>td{padding:4px} .late{color:#c00} p.late b{color:red} @media print{td{padding:0}}</style>"
	for name, c := range map[string]struct {
		source string
		once   bool
	}{
		"values":               {style + `<p class="late">Dear {{.name}}, <b>{{.name}}</b></p>`, true},
		"value in a link":      {style + `<p><a href="{{.u}}" title='{{.name}}'>x</a></p>`, true},
		"rows of a table":      {style + `<table><tbody>{{range .list}}<tr><td>{{.}}</td></tr>{{end}}</tbody></table>`, true},
		"rows and none":        {style + `<table><tbody>{{range .none}}<tr><td>{{.}}</td></tr>{{else}}<tr><td class="late">none</td></tr>{{end}}</tbody></table>`, true},
		"no body of a table":   {style + `<table>{{range .list}}<tr><td>{{.}}</td></tr>{{end}}</table>`, false},
		"no body":              {style + `{{range .list}}<p>{{.}}</p>{{end}}`, false},
		"blocks in blocks":     {style + `<body>{{range .list}}{{if eq . "b"}}<p class="late">{{.}}</p>{{else}}<p>{{.}}</p>{{end}}{{end}}`, true},
		"variables, comments":  {style + `{{/* why */}}{{$x := .name}}<p class="late">{{$x}}</p>{{- /* and */ -}}`, true},
		"title":                {`<html><head><title>{{.name}}</title>` + style + `</head><body><p class="late">{{.name}}</p></body></html>`, true},
		"strings with braces":  {style + `<p class="late">{{print "}}" .name}}</p>`, true},
		"unclosed, no blocks":  {style + `<p class="late">{{.name}}<p>{{.name}}`, true},
		"half an element":      {style + `{{if .late}}<p class="late">{{else}}<p>{{end}}x</p>`, false},
		"end of another":       {style + `<p>{{if .late}}</p><p class="late">{{end}}x</p>`, false},
		"unclosed in a block":  {style + `{{range .list}}<p class="late">{{.}}{{end}}`, false},
		"class":                {style + `<p class="{{.c}}">x</p>`, false},
		"conditional class":    {style + `<p {{if .late}}class="late"{{end}}>x</p>`, false},
		"part of a class":      {style + `<p class="a {{if .late}}late{{end}}">x</p>`, false},
		"style":                {style + `<p style="color:{{.c}}">x</p>`, false},
		"rules from values":    {`<style>p{color:{{.c}}}</style><p>x</p>`, false},
		"style in a block":     {`{{if .late}}<style>p{color:red}</style>{{end}}<p>x</p>`, false},
		"place and blocks":     {`<style>td:first-child{color:red}</style><table><tr>{{range .list}}<td>{{.}}</td>{{end}}</tr></table>`, false},
		"neighbour and blocks": {`<style>p+p{color:red}</style>{{range .list}}<p>{{.}}</p>{{end}}`, false},
		"attribute":            {`<style>a[href^=https]{color:red}</style><a href="{{.u}}">x</a>`, false},
		"block in the title":   {`<title>{{if .late}}a{{end}}</title>` + style + `<p class="late">x</p>`, false},
		"defined":              {style + `{{define "x"}}<p class="late">x</p>{{end}}{{template "x"}}`, false},
		"elements of a value":  {style + `{{table .list "x"}}`, false},
		"no style":             {`<p>{{.name}}</p>`, false},
		"tag":                  {style + `<{{.c}}>x`, false},
	} {
		t.Run(name, func(t *testing.T) {
			done, once := inlined(c.source, false)
			if once != c.once {
				t.Fatalf("inlined once: %v\n%s", once, done)
			}
			if !once {
				return
			}
			filled := func(source string) string {
				var b strings.Builder
				if err := htmltemplate.Must(htmltemplate.New("").Parse(source)).Execute(&b, data); err != nil {
					t.Fatal(err)
				}
				return b.String()
			}
			want, err := compose.InlineCSS(filled(c.source))
			if err != nil {
				t.Fatal(err)
			}
			if got := normal(t, filled(done)); got != normal(t, want) {
				t.Errorf("inlined before:\n%s\ninlined after:\n%s", got, normal(t, want))
			}
		})
	}
}

// TestInlinedGrowth: a template of as many tags and actions as there may be
// takes no more than in proportion, and one for others no more than a message.
func TestInlinedGrowth(t *testing.T) {
	const style = "<style>q{color:red}</style>"
	for name, source := range map[string]string{
		"ends of nothing": style + strings.Repeat("<i>", 500) + strings.Repeat("</u>", 50_000) + strings.Repeat("</i>", 500),
		"silent actions":  style + "<body>" + strings.Repeat("{{/**/}}", 20_000),
	} {
		if _, once := inlined(source, false); !once {
			t.Errorf("%s: not inlined", name)
		}
	}
	fonts := style + strings.Repeat("<b><p>x", 2000)
	if _, once := inlined(fonts, true); once {
		t.Error("a template for others is not bounded")
	}
}
