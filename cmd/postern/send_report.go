package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"postern/cmd/step"
	"postern/config/wire"
	"postern/relay/merge"
)

// sendAll hands over every message and prints what becomes of each.
func (a *app) sendAll(ctx context.Context, f *sendFlags, plan *merge.Plan, relay *step.Relay) error {
	report := &sendReport{app: a, progress: a.progress("sent", plan.Messages())}
	if f.failed != "" && plan.Columns() != nil {
		var err error
		if report.failed, err = step.NewFailed(f.failed, plan.Columns()); err != nil {
			return err
		}
	}
	if !a.json {
		report.table = newTable(a.stdout, "row", "to", "id", "result")
		report.short = isTerminal(a.stdout) && plan.Messages() > asksAbove
	}
	total, err := step.Send(ctx, plan, relay, report.result)
	report.progress.end()
	if closing := report.end(f, total); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	switch {
	case total.Deferred+total.NotSent > 0:
		return errReported{exitTempFail}
	case total.Refused > 0:
		return errReported{exitUnavailable}
	case total.Invalid > 0:
		return errReported{exitData}
	}
	return nil
}

// sendReport is what is printed of one run.
type sendReport struct {
	app      *app
	table    *table // nil: JSON
	short    bool   // only what was not queued
	failed   *step.Failed
	progress *progress
}

// result takes what became of one message.
func (r *sendReport) result(one *step.Result) error {
	sent := one.Status == step.Queued || one.Status == step.Repeated
	if !sent && r.failed != nil {
		if err := r.failed.Add(one.Rows, one.Reply); err != nil {
			return err
		}
	}
	r.progress.to(one.N)
	if r.table == nil {
		b, err := json.Marshal(one)
		if err != nil {
			return err
		}
		_, err = io.WriteString(r.app.stdout, wire.JSON(b)+"\n")
		return err
	}
	if !r.short || one.Status != step.Queued {
		r.table.row(cells(one)...)
	}
	return r.table.err
}

// cells are a line of the table.
func cells(one *step.Result) []string {
	row, id, to := "–", "–", "–"
	if one.Row > 0 {
		row = strconv.Itoa(one.Row)
	}
	if one.ID != "" {
		id = one.ID
	}
	if len(one.To) > 0 {
		if to = one.To[0]; len(one.To) > 1 {
			to += fmt.Sprintf(" and %d more", len(one.To)-1)
		}
	}
	return []string{row, to, id, words(one)}
}

// words are a result as a sentence.
func words(one *step.Result) string {
	text := string(one.Status)
	switch one.Status {
	case step.Repeated:
		return "queued before (key " + one.Key + "), not sent again"
	case step.Deferred:
		text = "not taken now"
	case step.Invalid:
		text = "left out"
	}
	if one.Reply != "" {
		text += ": " + one.Reply
	}
	return text
}

// end prints the sum.
func (r *sendReport) end(f *sendFlags, total step.Summary) error {
	var err error
	if r.table != nil {
		err = r.table.flush()
	}
	last := total.String()
	if r.failed != nil {
		if closing := r.failed.Close(); err == nil {
			err = closing
		}
		last += fmt.Sprintf("; %s has %s", f.failed, counted(r.failed.Rows, "row"))
	}
	if r.table != nil && err == nil {
		fmt.Fprintln(r.app.stdout, safe(last))
	}
	return err
}

// progress is a bar on a terminal, for runs that take long.
type progress struct {
	w     io.Writer // nil: none
	verb  string
	total int
	begun time.Time
	last  time.Time
	shown bool
}

const (
	progressAfter = time.Second            // before it nothing is shown
	progressEvery = 200 * time.Millisecond // a line is drawn anew
	progressWidth = 30
)

func (a *app) progress(verb string, total int) *progress {
	p := &progress{verb: verb, total: total, begun: time.Now()}
	if isTerminal(a.stderr) {
		p.w = a.stderr
	}
	return p
}

// to shows that n of all are done.
func (p *progress) to(n int) {
	now := time.Now()
	if p.w == nil || now.Sub(p.begun) < progressAfter || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.shown = now, true
	full := progressWidth * n / max(1, p.total)
	fmt.Fprintf(p.w, "\r\x1b[K[%s%s] %d of %d %s", strings.Repeat("#", full), strings.Repeat(" ", progressWidth-full), n, p.total, p.verb)
}

// end takes the bar away.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
