package merge

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
)

const benchHTML = `<!DOCTYPE html>
<html><head><style>
body { font-family: sans-serif; color: #222 }
td { padding: 4px; border-bottom: 1px solid #ccc }
.late { color: #c00; font-weight: bold }
.foot { font-size: 12px }
@media (max-width: 600px) { td { padding: 2px } }
</style></head><body>
<p>Dear {{.name}},</p>
<table><tr><td>Invoice</td><td>{{.invoice}}</td></tr><tr><td>Due</td><td>{{date "2 January 2006" .due}}</td></tr><tr><td>Total</td><td>{{money .total "EUR"}}</td></tr></table>
<p class="late">Please pay by {{.due}}. <a href="https://example.com/pay?i={{.invoice}}">Pay now</a></p>
<p class="foot">Example Ltd, 1 Street, Town</p>
</body></html>
`

const benchText = `Dear {{.name}},

Invoice {{.invoice}}, due {{date "2 January 2006" .due}}: {{money .total "EUR"}}.
Please pay by {{.due}}: https://example.com/pay?i={{.invoice}}

Example Ltd
`

// benchStep is a step with HTML, a text and a common attachment of 50 KB.
func benchStep(rows int, head string) map[string]string {
	var due strings.Builder
	due.WriteString("email,name,invoice,due,total\n")
	for i := range rows {
		fmt.Fprintf(&due, "user%d@example.org,User %d,INV-%06d,2026-12-%02d,%d.50\n", i, i, i, i%28+1, i)
	}
	return map[string]string{
		"step.toml": "from = 'Accounts <billing@example.com>'\nto = ['{{.name}} <{{.email}}>']\nsubject = 'Invoice {{.invoice}}'\nhtml_file = 'm.html'\n" + head +
			"[rows]\nfile = 'due.csv'\n[[attach]]\nfile = 'terms.pdf'\n",
		"m.html": benchHTML, "m.txt": benchText, "due.csv": due.String(), "terms.pdf": strings.Repeat("0123456789abcdef\xff\x00", 50_000/18),
	}
}

// BenchmarkMessages makes and writes messages; one operation is one message.
func BenchmarkMessages(b *testing.B) {
	for name, head := range map[string]string{
		"text and HTML": "text_file = 'm.txt'\n", "text derived": "", "no inlining": "text_file = 'm.txt'\ninline_css = false\n",
	} {
		b.Run(name, func(b *testing.B) {
			plan, err := prepared(b, benchStep(1000, head), Options{})
			if err != nil {
				b.Fatal(err)
			}
			r := newRenderer(plan)
			var groups []*Group
			if err := plan.groups(func(g *Group) bool { groups = append(groups, g); return true }); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				m, problems := r.Render(context.Background(), groups[i%len(groups)])
				if m == nil {
					b.Fatal(problems)
				}
				if _, err := m.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
