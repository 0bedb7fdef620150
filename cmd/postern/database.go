package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"postern/config"
	"postern/spool/postgres"
)

func (a *app) databaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "database",
		Short: "Prepare and look at the database of a queue that relays share",
		Long: `The database is that of spool.url. Its user needs the right to create tables in
it; relays need no more than that user.`,
	}
	migrate := &cobra.Command{
		Use:   "migrate",
		Short: "Make the schema of the database, or bring it to this program's version",
		Long: `Make the schema of the database, or bring it to this program's version. Relays
may run meanwhile. Run it once for each new version that says so, before the
first relay of that version starts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.migrate(cmd.Context()) },
	}
	status := &cobra.Command{
		Use:   "status",
		Short: "Tell the schema, the relays, and what a 250 is worth with this database",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.databaseStatus(cmd.Context()) },
	}
	forget := &cobra.Command{
		Use:   "forget RELAY",
		Short: "Forget a relay that has left for good",
		Long: `Forget a relay that has left for good, so that status does not name it any more
and trace does not miss its part. One that runs, or has mail that no other relay
has taken over yet, is not forgotten. What it could not tell the database any more
lies in its state directory (the file outbox), and is lost with that. A relay that
comes back is known again.`,
		Args: one("the name of one relay"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.forgetRelay(cmd.Context(), args[0]) },
	}
	cmd.AddCommand(migrate, a.withJSON(status), forget)
	return cmd
}

// databaseURL is that of the configuration.
func (a *app) databaseURL(ctx context.Context) (string, error) {
	cfg, err := config.Find(a.config)
	if err != nil {
		return "", badConfig(err)
	}
	if !cfg.Spool.Shared() {
		return "", &failure{code: exitConfig, text: "this relay keeps its queue in " + cfg.Spool.Dir + " and not in a database",
			hint: "Set url_file in [spool] to a file with postgres://USER@HOST/DATABASE."}
	}
	url, err := cfg.Spool.URL.Read(ctx)
	if err != nil {
		return "", &failure{code: exitNoPerm, text: "spool." + err.Error(), err: err}
	}
	return url, nil
}

func (a *app) migrate(ctx context.Context) error {
	url, err := a.databaseURL(ctx)
	if err != nil {
		return err
	}
	from, err := postgres.Migrate(ctx, url)
	switch {
	case errors.Is(err, postgres.ErrSchema):
		return &failure{code: exitConfig, text: err.Error(), err: err}
	case err != nil:
		return databaseFailure(err)
	case from == postgres.Schema:
		_, err = fmt.Fprintf(a.stdout, "The schema is version %d already.\n", from)
	default:
		_, err = fmt.Fprintf(a.stdout, "The schema was version %d and is version %d now.\n", from, postgres.Schema)
	}
	return err
}

func (a *app) forgetRelay(ctx context.Context, relay string) error {
	url, err := a.databaseURL(ctx)
	if err != nil {
		return err
	}
	err = postgres.Forget(ctx, url, relay)
	var needed *postgres.Needed
	switch {
	case errors.As(err, &needed) && len(needed.Lanes) > 0:
		return &failure{code: exitTempFail, text: err.Error(), err: err, hint: "Start a relay that has these upstreams, or remove their mail."}
	case errors.As(err, &needed):
		return &failure{code: exitTempFail, text: err.Error(), err: err, hint: "Stop it first. One that was killed may be forgotten after 15 seconds."}
	case errors.Is(err, postgres.ErrUnknown):
		return &failure{code: exitData, text: "the database knows no relay " + quoted(relay), err: err, hint: "`postern status` names those that it knows."}
	case errors.Is(err, postgres.ErrSchema):
		return &failure{code: exitConfig, text: err.Error(), err: err}
	case err != nil:
		return databaseFailure(err)
	}
	_, err = fmt.Fprintf(a.stdout, "The relay %s is forgotten.\n", safe(relay))
	return err
}

func databaseFailure(err error) error {
	return &failure{code: exitUnavailable, text: "the database cannot be used: " + err.Error(), err: err}
}

// databaseState is what `postern database status` tells.
type databaseState struct {
	Database    string `json:"database"`
	Server      string `json:"server"`
	Schema      int    `json:"schema"`
	Needed      int    `json:"schema_of_this_program"`
	PowerCut    bool   `json:"survives_power_cut"`
	Loss        bool   `json:"survives_loss_of_machine"`
	AnswerMs    int64  `json:"answer_ms"`
	ClockSkewMs int64  `json:"clock_skew_ms"`
	DeadRows    int64  `json:"dead_rows"`
	LiveRows    int64  `json:"live_rows"`
}

func (a *app) databaseStatus(ctx context.Context) error {
	url, err := a.databaseURL(ctx)
	if err != nil {
		return err
	}
	f, err := postgres.Inspect(ctx, url)
	if err != nil {
		return databaseFailure(err)
	}
	power, loss := f.Durable()
	if a.json {
		return printJSON(a.stdout, &databaseState{Database: f.Database, Server: f.Server, Schema: f.Schema, Needed: postgres.Schema, PowerCut: power, Loss: loss,
			AnswerMs: f.Answer.Milliseconds(), ClockSkewMs: f.Skew.Milliseconds(), DeadRows: f.Dead, LiveRows: f.Live})
	}
	fmt.Fprintf(a.stdout, "database  %s, PostgreSQL %s, answers in %s\n", safe(f.Database), safe(f.Server), f.Answer.Round(10_000))
	fmt.Fprintf(a.stdout, "schema    version %d\n", f.Schema)
	if f.Schema != postgres.Schema {
		fmt.Fprintf(a.stdout, "          %s\n", (&postgres.SchemaError{Version: f.Schema}).Error())
	}
	fmt.Fprintf(a.stdout, "a 250     %s\n", worth(power, loss))
	_, err = fmt.Fprintf(a.stdout, "rows      %d, and %d that vacuum has not removed yet\n", f.Live, f.Dead)
	return err
}

// worth says what an acceptance means with a database.
func worth(power, loss bool) string {
	switch {
	case loss:
		return "survives the loss of the database's machine: a synchronous standby has it"
	case power:
		return "survives a power cut, and is lost with the database's disk: there is no synchronous standby"
	}
	return "is lost in a power cut: fsync, full_page_writes or synchronous_commit is off"
}
