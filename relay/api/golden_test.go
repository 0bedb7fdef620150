package api

import (
	"bytes"
	"flag"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// varying is what differs from one time to the next.
var varying = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`(?m)^Date: .*\r$`), "Date: DATE\r"},
	{regexp.MustCompile(`(?m)^Message-ID: <[^@]*@`), "Message-ID: <ID@"},
	{regexp.MustCompile(`(?m) id [0-9a-z]{13}(;?)\r$`), " id ID$1\r"},
	{regexp.MustCompile(`(?m)^\t[A-Z][a-z]{2}, .*\r$`), "\tDATE\r"},
	{regexp.MustCompile(`\[127\.0\.0\.1\]`), "[IP]"},
}

var boundary = regexp.MustCompile(`boundary=("?)([0-9A-Za-z=_.-]+)`)

func steady(text string) string {
	for _, v := range varying {
		text = v.find.ReplaceAllString(text, v.put)
	}
	for i, m := range boundary.FindAllStringSubmatch(text, -1) {
		text = strings.ReplaceAll(text, m[2], fmt.Sprintf("BOUNDARY%d", i))
	}
	return strings.ReplaceAll(text, "\r\n", "\n")
}

// What a request becomes: envelope and message.
func TestGoldens(t *testing.T) {
	r := newRig(t, "")
	for path, pattern := range map[string]string{
		"/emails": "resend-*.json", "/email": "postmark-*.json", "/v3/mail/send": "sendgrid-*.json",
		"/v3/shop.example.com/messages": "mailgun-*.form", "/v1/messages": "form-*.form",
	} {
		files, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v %v", pattern, files, err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				body, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				c := call{path: path, body: string(body)}
				if strings.HasSuffix(file, ".form") {
					c.kind, c.body = asForm(t, string(body))
				}
				before := r.count()
				a := r.do(c)
				if a.status/100 != 2 {
					t.Fatalf("%d %s", a.status, a.body)
				}
				var got strings.Builder
				for i := before; i < r.count(); i++ {
					content, env := r.message(fmt.Sprintf("%013x", i+1))
					fmt.Fprintf(&got, "from <%s>\n", env.From)
					for _, to := range env.Recipients {
						fmt.Fprintf(&got, "to   <%s>\n", to.Address)
					}
					got.WriteString("user " + env.User + "\n\n" + steady(content))
				}
				golden := strings.TrimSuffix(file, filepath.Ext(file)) + ".eml"
				if *update {
					if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if got.String() != string(want) {
					t.Errorf("%s differs; it is now\n%s", golden, got.String())
				}
			})
		}
	}
}

// asForm makes a form of lines "name=value" and "name@file.txt=content".
func asForm(t *testing.T, lines string) (kind, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		field, file, isFile := strings.Cut(name, "@")
		h := textproto.MIMEHeader{}
		disposition := fmt.Sprintf("form-data; name=%q", field)
		if isFile {
			disposition += fmt.Sprintf("; filename=%q", file)
			h.Set("Content-Type", "text/plain")
		}
		h.Set("Content-Disposition", disposition)
		p, err := w.CreatePart(h)
		if err == nil {
			_, err = p.Write([]byte(value))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return w.FormDataContentType(), b.String()
}
