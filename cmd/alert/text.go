package alert

import (
	"fmt"
	"strings"
	"time"
)

// maxTitle bounds a title, in bytes.
const maxTitle = 150

// Title says in a line what due is about.
func Title(from string, due []Open) string {
	open, over := count(due)
	worst, what := "resolved", ""
	for i := range due {
		if o := &due[i]; (o.Over.IsZero()) == (open > 0) { // the first is the worst of them
			if what = o.Text; open > 0 {
				worst = string(o.Severity)
			}
			break
		}
	}
	more := ""
	if n := max(open, 0); n > 1 {
		more = fmt.Sprintf(" and %d more", n-1)
	} else if open == 0 && over > 1 {
		more = fmt.Sprintf(" and %d more", over-1)
	}
	return cut(fmt.Sprintf("[%s] %s: %s", harmless(from), worst, what), maxTitle-len(more)) + more
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-3], "") + "…"
}

// count counts what is open and what is over.
func count(due []Open) (open, over int) {
	for i := range due {
		if due[i].Over.IsZero() {
			open++
		} else {
			over++
		}
	}
	return open, over
}

// Text is due for people, lines that end in a newline.
func Text(from string, due []Open, now time.Time) string {
	var b strings.Builder
	open, over := count(due)
	fmt.Fprintf(&b, "The mail relay %s: ", harmless(from))
	switch {
	case over == 0:
		fmt.Fprintf(&b, "%s.\n", needs(open))
	case open == 0:
		fmt.Fprintf(&b, "%s.\n", ended(over))
	default:
		fmt.Fprintf(&b, "%s, %s.\n", needs(open), ended(over))
	}
	for i := range due {
		o := &due[i]
		state := strings.ToUpper(string(o.Severity))
		if !o.Over.IsZero() {
			state = "RESOLVED"
		}
		fmt.Fprintf(&b, "\n%s: %s\n", state, o.Text)
		for _, line := range o.Lines(now) {
			fmt.Fprintf(&b, "  %-9s %s\n", line[0], line[1])
		}
	}
	return b.String()
}

func needs(n int) string {
	if n == 1 {
		return "1 trouble needs somebody"
	}
	return fmt.Sprintf("%d troubles need somebody", n)
}

func ended(n int) string {
	if n == 1 {
		return "1 trouble is over"
	}
	return fmt.Sprintf("%d troubles are over", n)
}

// Lines are what is known of a trouble beside its text, each with its name. Of one
// that is over nothing has to be done.
func (o *Open) Lines(now time.Time) (lines [][2]string) {
	add := func(name, text string) {
		if text != "" {
			lines = append(lines, [2]string{name, text})
		}
	}
	add("since", fmt.Sprintf("%s (%s)", o.Since.Local().Format(moments), lasted(now.Sub(o.Since))))
	if !o.Over.IsZero() {
		add("ended", o.Over.Local().Format(moments))
		return lines
	}
	if o.Waiting == 1 {
		add("waiting", "1 delivery")
	} else if o.Waiting > 1 {
		add("waiting", fmt.Sprintf("%d deliveries", o.Waiting))
	}
	add("it said", o.Words)
	add("meaning", o.Meaning)
	add("to do", o.Remedy)
	add("command", o.Command)
	return lines
}

const moments = "2006-01-02 15:04:05 -0700"

// lasted is a time that has passed, in two units at most.
func lasted(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}

// KnownTo says which of some receivers were told last that it is open, and when;
// "nobody yet": none of them.
func (o *Open) KnownTo(receivers []string) string {
	var told []string
	for _, name := range receivers {
		if at, ok := o.Told[name]; ok {
			told = append(told, name+" at "+at.Local().Format(time.DateTime))
		}
	}
	if len(told) == 0 {
		return "nobody yet"
	}
	return strings.Join(told, ", ")
}
