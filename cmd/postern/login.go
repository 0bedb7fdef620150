package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/config"
	"postern/config/wire"
	"postern/queue"
	"postern/relay/oauth"
)

// maxPaste bounds what may be pasted, in bytes: an address with a code in it.
const maxPaste = 64 << 10

func (a *app) upstreamLoginCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "login NAME",
		Short: "Log in with the provider of an upstream that wants OAuth 2.0 tokens",
		Long: `Walks the flow that [upstream.NAME.oauth] names, in a terminal without a
browser, and keeps what comes of it in the state directory, where a running
daemon finds it. Where nobody has to log in, it only asks for a token, which
shows whether the configuration works.

Run it as the user of the daemon, or as root.`,
		Args: one("the name of one upstream"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := findOwn(a.config)
			if err != nil {
				return badConfig(err)
			}
			up, err := upstreamOf(cfg, args[0])
			switch {
			case err != nil:
				return err
			case up.OAuth == nil:
				return &failure{code: exitData, text: fmt.Sprintf("the upstream %q is signed in to by %s, which needs no login", up.Name, up.Auth),
					hint: `An [upstream.NAME.oauth] table makes it use tokens, with auth = "xoauth2", "oauthbearer" or "auto".`}
			}
			return a.login(cmd.Context(), cfg, up)
		},
	}
}

func (a *app) login(ctx context.Context, cfg *config.Config, up *config.Upstream) error {
	tokens, closed, err := tokensOf(ctx, cfg)
	if err != nil {
		return err
	}
	defer closed()
	st, err := tokens.Login(ctx, &up.Account, &person{a.stdin, a.stdout})
	tokens.Wait(ctx)
	if err != nil {
		return loginFailure(err)
	}
	answer := "Logged in"
	if !up.OAuth.NeedsPerson() {
		answer = "There is a token"
	}
	until := "until the upstream refuses it"
	if !st.Expires.IsZero() {
		until = "until " + st.Expires.Local().Format(time.DateTime)
	}
	fmt.Fprintf(a.stdout, "%s: it is good %s, and renewed by itself.\n", answer, until)
	if !st.LoginEnds.IsZero() {
		fmt.Fprintf(a.stdout, "The provider ends the login on %s.\n", st.LoginEnds.Local().Format(time.DateTime))
	}
	return a.goOn(ctx, control.Dial(cfg.Control.Socket), up.Name)
}

// goOn lets a running daemon try again at once, where it has parked the
// upstream. One that an operator paused stays so.
func (a *app) goOn(ctx context.Context, client *control.Client, upstream string) error {
	st, err := client.Status(ctx)
	if err != nil {
		return nil // no daemon, or not ours to command: it probes by itself
	}
	for i := range st.Lanes {
		if l := &st.Lanes[i]; l.Upstream == upstream && l.State == queue.Parked {
			sel := control.Selection{Filter: control.Filter{Upstream: upstream}}
			if _, err := client.Act(ctx, control.OpRetry, sel); err == nil {
				fmt.Fprintf(a.stdout, "The daemon tries %s again now.\n", safe(upstream))
			}
		}
	}
	return nil
}

func loginFailure(err error) error {
	var e *oauth.Error
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &failure{code: exitNoPerm, text: err.Error(), hint: "Run it as the user of the daemon, or as root."}
	case !errors.As(err, &e):
		return err
	}
	codes := map[oauth.Kind]int{
		oauth.Unreachable: exitUnavailable, oauth.NeedsLogin: exitNoPerm,
		oauth.Refused: exitNoPerm, oauth.Local: exitConfig,
	}
	return &failure{code: codes[e.Kind], text: e.Text, err: err}
}

// person is whoever sits at the terminal.
type person struct {
	in  io.Reader
	out io.Writer
}

// TypeCode shows a code for another device.
func (p *person) TypeCode(address, code string, until time.Time) {
	fmt.Fprintf(p.out, "Open this address in a browser, on any machine:\n\n  %s\n\nand type the code:\n\n  %s\n\nIt is good until %s. Waiting…\n",
		safe(address), safe(code), until.Local().Format(time.TimeOnly))
}

// Open shows where to log in.
func (p *person) Open(address string) {
	fmt.Fprintf(p.out, "Open this address in a browser and log in:\n\n  %s\n\n"+
		"If the browser runs on another machine, it ends at a page that cannot be shown.\n"+
		"Copy the address of that page from the browser, paste it here, and press Enter:\n", safeURL(address))
}

// Paste waits for a line. Nothing can take back a read from a terminal: where
// the browser is quicker, the reading ends with the process.
func (p *person) Paste(ctx context.Context) (string, error) {
	type pasted struct {
		text string
		err  error
	}
	line := make(chan pasted, 1)
	go func() {
		text, err := bufio.NewReader(io.LimitReader(p.in, maxPaste)).ReadString('\n')
		if text != "" {
			err = nil
		}
		line <- pasted{text, err}
	}()
	select {
	case got := <-line:
		return got.text, got.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// safeURL is an address that was made here, out of parts that are escaped; it
// is longer than foreign text may be.
func safeURL(address string) string {
	if !wire.Printable(address) {
		return safe(address)
	}
	return address
}
