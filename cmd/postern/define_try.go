package main

import (
	"context"
	"slices"

	"postern/cmd/alert"
	"postern/cmd/definition"
	"postern/cmd/doctor"
	"postern/config"
	"postern/relay/addressbook"
)

// test has a definition tried: an upstream and a book before anything is
// written, an alert by the daemon, which has taken it by then.
func (d *define) test(how *definition.Change, name string) {
	switch d.kind {
	case definition.Upstream:
		how.Try = func(ctx context.Context, cfg *config.Config) error { return d.tryUpstream(ctx, cfg, name) }
	case definition.Book:
		how.Try = func(ctx context.Context, cfg *config.Config) error { return d.tryBook(ctx, cfg, name) }
	case definition.Alert:
		how.Confirm = func(ctx context.Context) error { return d.tryAlert(ctx, name) }
	}
}

// tryUpstream walks the way to the upstream as the configuration would have it.
func (d *define) tryUpstream(ctx context.Context, cfg *config.Config, name string) error {
	up, err := upstreamOf(cfg, name)
	if err != nil {
		return err
	}
	if err := d.supply(ctx, &up.Account); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	bench, err := doctor.NewBench(cfg, nil)
	if err != nil {
		return badConfig(err)
	}
	d.findings = bench.Upstream(ctx, up, "", "")
	if err := ctx.Err(); err != nil {
		return err
	}
	code := doctor.Exit(d.findings)
	// Somebody can log in only to an upstream that is there.
	d.login = up.OAuth != nil && up.OAuth.NeedsPerson() && code != exitOK && !slices.ContainsFunc(d.findings, func(f doctor.Finding) bool {
		return f.Status == doctor.Failed && f.ID != doctor.UpstreamToken
	})
	if code != exitOK && !d.force && !d.login {
		return errReported{code}
	}
	return nil
}

// tryBook reads a book, or asks its server, as the configuration would have it.
func (d *define) tryBook(ctx context.Context, cfg *config.Config, name string) error {
	at := slices.IndexFunc(cfg.Books, func(b config.Book) bool { return b.Name == name })
	if at < 0 { // send.books leaves it out
		return nil
	}
	account := &cfg.Books[at].Directory.Account
	if err := d.supply(ctx, account); err != nil {
		return err
	}
	books := addressbook.New(cfg.Books)
	if account.OAuth != nil {
		tokens, closed, err := tokensOf(ctx, cfg)
		if err != nil {
			return err
		}
		defer closed()
		books.UseTokens(tokens)
	}
	own, _ := books.Named(name)
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	d.checked = own.Check(ctx)
	failed := slices.ContainsFunc(d.checked, func(c addressbook.Checked) bool { return c.Error != "" })
	// Somebody can log in only to a book that is there.
	d.login = failed && account.OAuth != nil && account.OAuth.NeedsPerson()
	if failed && !d.force && !d.login {
		return errReported{exitTempFail}
	}
	return ctx.Err()
}

// tryAlert has the daemon tell the receiver that this is a test.
func (d *define) tryAlert(ctx context.Context, name string) error {
	client, err := d.client()
	if err != nil {
		return err
	}
	if d.tried, err = client.TryAlerts(ctx, name); err != nil {
		return err
	}
	if !d.force && slices.ContainsFunc(d.tried, func(t alert.Tried) bool { return t.Error != "" }) {
		return errReported{exitUnavailable}
	}
	return nil
}
