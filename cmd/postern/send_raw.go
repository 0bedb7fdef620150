package main

import (
	"context"
	"errors"

	"postern/cmd/step"
)

// sendRaw hands over a finished message from standard input.
func (a *app) sendRaw(ctx context.Context, f *sendFlags, recipients []string) error {
	if f.step.Stdin == nil {
		return errors.New("there is no standard input")
	}
	raw := &step.Raw{From: f.step.From, To: append(recipients, f.step.To...), FromHeader: f.fromHeader, Key: f.step.Key}
	for _, flag := range []string{
		"cc", "bcc", "reply-to", "subject", "text", "body", "html", "markdown", "calendar", "attach", "embed", "header", "rows",
		"rows-format", "per", "set", "set-file", "save", "priority", "all", "preview", "out", "limit", "keep-going", "failed", "yes",
	} {
		if f.step.Given(flag) {
			return usage("--%s is not for --raw: the message is finished", flag)
		}
	}
	if err := f.checkWhere(); err != nil {
		return err
	}
	if f.redirect != "" {
		raw.Redirect = f.redirect
	}
	if err := raw.Read(f.step.Stdin); err != nil {
		return a.problems(err)
	}
	defer raw.Close()
	if f.dryRun {
		return raw.Show(a.stdout)
	}
	relay, err := a.relay(f.smtp)
	if err != nil {
		return err
	}
	defer relay.Close()
	if raw.Key != "" && f.smtp != "" {
		if _, err := relay.Open(ctx); err != nil {
			return err
		}
		a.keepsNoKeys(f.smtp, relay)
	}
	report := &sendReport{app: a, progress: a.progress("sent", 1)}
	if !a.json {
		report.table = newTable(a.stdout, "row", "to", "id", "result")
	}
	one := raw.Send(ctx, relay)
	if err := report.result(one); err != nil {
		return err
	}
	var total step.Summary
	total.Add(one.Status)
	if err := report.end(f, total); err != nil {
		return err
	}
	switch one.Status {
	case step.Deferred:
		return errReported{exitTempFail}
	case step.Refused:
		return errReported{exitUnavailable}
	}
	return nil
}
