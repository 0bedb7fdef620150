package doctor

import (
	"fmt"
	"strings"

	"postern/queue/verdict"
	"postern/spool"
)

// said is an outcome as a person reads it: "535 5.7.8 wrong password".
func said(o *spool.Outcome) string {
	if o.Code == 0 {
		text := o.Text
		if o.Cause != "" {
			text += ": " + o.Cause
		}
		return text
	}
	words := []string{fmt.Sprint(o.Code)}
	for _, word := range []string{o.Enhanced, o.Text} {
		if word != "" {
			words = append(words, word)
		}
	}
	if o.Cause != "" {
		words = append(words, "("+o.Cause+")")
	}
	return strings.Join(words, " ")
}

// advice is what the table of replies knows of an answer of the upstream with
// this name: what it means, and what to do.
func advice(upstream string, o *spool.Outcome) (meaning, remedy string) {
	a, known := verdict.Advise(o)
	if !known {
		return "", ""
	}
	remedy = strings.ReplaceAll(a.Remedy, "[upstream.NAME", "[upstream."+upstream)
	if a.Source != "" {
		remedy += " See " + a.Source
	}
	return a.Meaning, strings.TrimSpace(remedy)
}

// explained is an outcome with what is known of its meaning behind it.
func explained(o *spool.Outcome, meaning string) string {
	if meaning == "" {
		return said(o)
	}
	return strings.TrimSuffix(said(o), ".") + ". " + meaning
}

// refused is the finding of an answer that ended a step.
func refused(id ID, upstream string, o *spool.Outcome, remedy string) Finding {
	meaning, better := advice(upstream, o)
	if better != "" {
		remedy = better
	}
	f := Finding{ID: id, Status: Failed, Subject: upstream, Text: explained(o, meaning), Remedy: remedy}
	if o.Code != 0 {
		f.Facts = map[string]any{"code": o.Code, "enhanced": o.Enhanced}
	}
	return f
}
