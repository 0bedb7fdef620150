package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/control"
)

func (a *app) queueShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show what is known of one message, and why it is where it is",
		Args:  one("the ID of one message"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			m, err := client.Message(cmd.Context(), id)
			if stopped(err) {
				src, openErr := a.openStopped(err)
				if openErr != nil {
					return openErr
				}
				defer src.Close()
				d, detailErr := src.Detail(cmd.Context(), id)
				if detailErr != nil {
					return noMessage(args[0], detailErr)
				}
				m, err = control.NewMessage(d, time.Now(), nil), nil
			}
			if err != nil {
				return noMessage(args[0], err)
			}
			if a.json {
				return printJSON(a.stdout, m)
			}
			return a.printMessage(m)
		},
	}
	return a.withJSON(cmd)
}

func (a *app) printMessage(m *control.Message) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s%s\n", name, safe(value))
		}
	}
	now := time.Now()
	line("id", m.ID)
	line("from", path(m.From))
	line("message-id", m.MessageID)
	line("size", size(m.Size))
	line("accepted", fmt.Sprintf("%s (%s ago)", m.Accepted.Local().Format(time.DateTime), ago(now.Sub(m.Accepted))))
	if m.NotBefore != nil {
		line("not before", m.NotBefore.Local().Format(time.DateTime))
	}
	line("listener", m.Listener)
	line("peer", m.Peer)
	line("helo", m.Helo)
	line("user", m.User)
	line("unix user", m.UnixUser)
	line("body", m.Body)
	line("envid", m.EnvelopeID)
	if m.Deadline != nil {
		line("deliver by", m.Deadline.Local().Format(time.DateTime))
	}
	if m.Priority != 0 {
		line("priority", fmt.Sprint(m.Priority))
	}
	for i := range m.Recipients {
		r := &m.Recipients[i]
		b.WriteString("\n")
		to := path(r.Address)
		if r.Copy {
			to += " (a copy for the administrator)"
		}
		if r.Redirected {
			to += " (in place of others: a route redirects)"
		}
		line("to", to)
		line("  status", r.Status)
		line("  upstream", fmt.Sprintf("%s (of %s)", r.Upstream, strings.Join(r.Upstreams, ", ")))
		line("  attempts", fmt.Sprint(r.Attempts))
		if r.Last != nil {
			line("  answer", fmt.Sprintf("%s (%s, at %s, %s ago)", answer(r.Last), r.Last.Remote, r.Last.Stage, ago(now.Sub(r.Last.At))))
		}
		if r.Advice != nil {
			line("  meaning", r.Advice.Meaning)
			line("  remedy", r.Advice.Remedy)
		}
		if r.Next != nil {
			line("  next", until(r.Next, now))
		}
		if r.KeptUntil != nil {
			line("  kept", "until "+r.KeptUntil.Local().Format(time.DateTime))
		}
		line("  why", r.Why)
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}
