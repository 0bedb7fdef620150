package submission_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/config"
	"postern/relay/route"
	"postern/relay/submission"
	"postern/spool"
)

// staged hands in a message directly.
func staged(t interface{ Fatal(...any) }, cfg *config.Config, from string, to []string, content string, o submission.Options) error {
	table, err := route.New(cfg.Routes)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := submission.NewPolicy(cfg, table)
	if err != nil {
		t.Fatal(err)
	}
	agent := submission.New(o)
	agent.Use(policy)
	l := listener()
	m, err := agent.Begin(context.Background(), &submission.Client{Listener: "test", Settings: submission.SettingsOf(&l)}, submission.Envelope{From: from})
	if err != nil {
		return err
	}
	defer m.Discard()
	taken := 0
	for _, one := range to {
		if err = m.Add(submission.Recipient{Address: one}); err == nil {
			taken++
		}
	}
	if taken == 0 {
		return err
	}
	if _, err := m.Write([]byte(content)); err != nil {
		return err
	}
	_, err = m.Commit(context.Background())
	return err
}

// TestStaging: who gets a message whose route lets some through, what its header
// says of the others, and what is told.
func TestStaging(t *testing.T) {
	allow := []string{"*@example.com"}
	late := map[string][]string{"X-Kind": {"*"}}
	for _, c := range []struct {
		name    string
		staging config.Staging
		header  map[string][]string
		to      string
		fields  string
		want    string // "address/upstream" of those who get it
		added   string // to the header
		told    string
		archive string // an address that gets a copy of everything
		refused string
	}{
		{name: "redirect", staging: config.Staging{Redirect: []string{"qa@example.com"}}, to: "a@one.example b@two.example",
			want: "qa@example.com/up", added: "X-Postern-Original-To: a@one.example\r\nX-Postern-Original-To: b@two.example\r\n", told: "redirect: a@one.example b@two.example"},
		{name: "redirect to two, one of them a recipient", staging: config.Staging{Redirect: []string{"qa@example.com", "b@example.com"}}, to: "b@example.com c@one.example",
			want: "qa@example.com/up b@example.com/up", added: "X-Postern-Original-To: b@example.com\r\nX-Postern-Original-To: c@one.example\r\n", told: "redirect: b@example.com c@one.example"},
		{name: "redirect the others", staging: config.Staging{Redirect: []string{"qa@example.com"}, AllowTo: allow}, to: "in@example.com out@one.example bcc@one.example",
			fields: "Cc: <Out@one.example>\r\n", want: "in@example.com/up qa@example.com/up",
			added: "X-Postern-Original-To: out@one.example\r\nX-Postern-Original-To: 1 more, which the log names\r\n", told: "redirect: out@one.example bcc@one.example"},
		{name: "refuse", staging: config.Staging{AllowTo: allow, Otherwise: config.OtherwiseRefuse}, to: "out@one.example", refused: "550 5.7.1 mail may not go to this recipient from here (allow_to)"},
		{name: "refuse one", staging: config.Staging{AllowTo: allow}, to: "in@example.com out@one.example", want: "in@example.com/up"},
		{name: "no domain", staging: config.Staging{AllowTo: allow}, to: "postmaster", refused: "550 5.7.1 mail may not go"},
		{name: "drop", staging: config.Staging{AllowTo: allow, Otherwise: config.OtherwiseDrop}, to: "in@example.com out@one.example", want: "in@example.com/up", told: "drop: out@one.example"},
		{name: "drop all", staging: config.Staging{AllowTo: allow, Otherwise: config.OtherwiseDrop}, to: "out@one.example", told: "drop: out@one.example"},
		{name: "capture", staging: config.Staging{AllowTo: allow, Otherwise: config.OtherwiseCapture}, to: "in@example.com out@one.example",
			want: "in@example.com/up out@one.example/capture", told: "capture: out@one.example"},
		{name: "redirect by the header", staging: config.Staging{Redirect: []string{"qa@example.com"}, AllowTo: allow}, header: late, to: "in@example.com out@one.example",
			fields: "To: out@one.example\r\nX-Kind: x\r\n", want: "in@example.com/up qa@example.com/up", added: "X-Postern-Original-To: out@one.example\r\n", told: "redirect: out@one.example"},
		{name: "drop by the header", staging: config.Staging{AllowTo: allow, Otherwise: config.OtherwiseDrop}, header: late, to: "out@one.example",
			fields: "X-Kind: x\r\n", told: "drop: out@one.example"},
		{name: "refuse by the header", staging: config.Staging{AllowTo: allow}, header: late, to: "in@example.com out@one.example", fields: "X-Kind: x\r\n", refused: "550 5.7.1 mail may not go"},
		{name: "a copy that is let through", staging: config.Staging{Redirect: []string{"qa@example.com"}, AllowTo: allow}, archive: "archive@example.com", to: "out@one.example",
			want: "qa@example.com/up archive@example.com/up copy", added: "X-Postern-Original-To: out@one.example\r\n", told: "redirect: out@one.example"},
		{name: "a copy beside what is redirected", staging: config.Staging{Redirect: []string{"qa@example.com"}, AllowTo: allow}, archive: "archive@two.example", to: "in@example.com out@one.example",
			fields: "To: out@one.example\r\n", want: "in@example.com/up qa@example.com/up", added: "X-Postern-Original-To: out@one.example\r\n", told: "redirect: out@one.example; redirect copy: archive@two.example"},
		{name: "a copy that is redirected", staging: config.Staging{Redirect: []string{"qa@example.com"}, AllowTo: allow}, archive: "archive@two.example", to: "in@example.com",
			want: "in@example.com/up qa@example.com/up copy", told: "redirect copy: archive@two.example"},
		{name: "a copy that is not made", staging: config.Staging{AllowTo: allow}, archive: "archive@two.example", to: "in@example.com", want: "in@example.com/up", told: "refuse copy: archive@two.example"},
		{name: "a copy that is dropped", staging: config.Staging{AllowTo: allow, Otherwise: config.OtherwiseDrop}, archive: "archive@two.example", to: "in@example.com", want: "in@example.com/up", told: "drop copy: archive@two.example"},
		{name: "a copy that is captured", staging: config.Staging{AllowTo: allow, Otherwise: config.OtherwiseCapture}, archive: "archive@two.example", to: "in@example.com",
			want: "in@example.com/up archive@two.example/capture copy", told: "capture copy: archive@two.example"},
		{name: "a copy of what is dropped", staging: config.Staging{AllowTo: allow, Otherwise: config.OtherwiseDrop}, archive: "archive@example.com", to: "out@one.example",
			want: "archive@example.com/up copy", told: "drop: out@one.example"},
		{name: "a copy by the header", staging: config.Staging{AllowTo: allow, Otherwise: config.OtherwiseDrop}, header: late, archive: "archive@two.example", to: "in@example.com",
			fields: "X-Kind: x\r\n", want: "in@example.com/up", told: "drop copy: archive@two.example"},
		{name: "aliases", staging: config.Staging{Redirect: []string{"qa@example.com"}, AllowTo: allow}, to: "team",
			want: "in@example.com/up qa@example.com/up", added: "X-Postern-Original-To: 2 more, which the log names\r\n", told: "redirect: out@one.example other@one.example"},
		{name: "aliases refused", staging: config.Staging{AllowTo: allow}, to: "team", refused: "550 5.7.1 mail may not go"},
		{name: "aliases dropped", staging: config.Staging{AllowTo: allow, Otherwise: config.OtherwiseDrop}, to: "customers", told: "drop: out@one.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := &config.Config{Hostname: "mx.example.com", Submission: config.Submission{Alias: map[string][]string{
				"team": {"in@example.com", "out@one.example", "other@one.example"}, "customers": {"out@one.example"}}},
				Routes: []config.Route{
					{Name: "staging", From: []string{"*"}, Header: c.header, Upstream: []string{"up"}, Staging: c.staging},
					{Name: "open", From: []string{"*"}, Upstream: []string{"open"}},
				}}
			if c.archive != "" {
				cfg.Submission.Archive = []string{c.archive}
			}
			st, told := &store{}, []string(nil)
			err := staged(t, cfg, "a@example.com", strings.Fields(c.to), c.fields+"Date: Mon, 01 Jan 2001 07:40:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nhi\r\n",
				submission.Options{Accept: st, Events: func(e submission.Event) {
					if d, ok := e.(*submission.Diverted); ok {
						what := d.Instead
						if d.Copy {
							what += " copy"
						}
						told = append(told, what+": "+strings.Join(d.To, " "))
						if d.Route != "staging" || d.ID == 0 {
							t.Errorf("%+v", d)
						}
					}
				}})
			if c.refused != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.refused) || st.env != nil {
					t.Errorf("%v, kept %+v", err, st.env)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if st.env != nil {
				for _, r := range st.env.Recipients {
					one := r.Address + "/" + strings.Join(r.Upstreams, ",")
					if r.Copy {
						one += " copy"
					}
					if r.Redirected != slices.Contains(c.staging.Redirect, r.Address) {
						t.Errorf("%s: redirected is %v", r.Address, r.Redirected)
					}
					got = append(got, one)
				}
			}
			if strings.Join(got, " ") != c.want || strings.Join(told, "; ") != c.told {
				t.Errorf("to %q, told %q", got, told)
			}
			added := ""
			for line := range strings.Lines(st.kept) {
				if strings.HasPrefix(line, "X-Postern-") {
					added += line
				}
			}
			if added != c.added || st.open != 0 {
				t.Errorf("added %q; %d drafts are left", added, st.open)
			}
		})
	}
}

// TestNobodyEscapes: whatever recipients, names, patterns and routes there are,
// no mail goes by the upstream of staging to whom it does not allow: neither
// messages nor bounces.
func TestNobodyEscapes(t *testing.T) {
	local := rapid.SampledFrom([]string{"a", "A", "b", `"a"`, `"x y"`, "root", "team", "postmaster", "ü"})
	domain := rapid.SampledFrom([]string{"", "@in.example", "@IN.example", "@sub.in.example", "@out.example", "@localhost", "@in.example.out.example", "@[192.0.2.1]", "@xn--bcher-kva.example"})
	address := rapid.Custom(func(t *rapid.T) string { return local.Draw(t, "local") + domain.Draw(t, "domain") })
	whole := address.Filter(func(s string) bool { return strings.Contains(s, "@") })
	pattern := rapid.SampledFrom([]string{"*@in.example", "a@*", "*@*.in.example", "a@out.example", "*@bücher.example", "b@in.example"})
	rapid.Check(t, func(t *rapid.T) {
		allow := rapid.SliceOfN(pattern, 0, 3).Draw(t, "allow")
		redirect := rapid.SliceOfN(whole, 0, 2).Draw(t, "redirect")
		if len(allow)+len(redirect) == 0 {
			return
		}
		otherwise := rapid.SampledFrom([]config.Otherwise{"", config.OtherwiseRefuse, config.OtherwiseCapture, config.OtherwiseDrop}).Draw(t, "otherwise")
		cfg := &config.Config{Hostname: "mx.example.com", Submission: config.Submission{
			Domain: rapid.SampledFrom([]string{"", "in.example", "out.example"}).Draw(t, "domain of names"),
			Alias: map[string][]string{"root": rapid.SliceOfN(whole.Filter(func(s string) bool { return !strings.HasSuffix(s, "@localhost") }), 1, 3).Draw(t, "root"), "team": {"root", "a@out.example"},
				"*": rapid.SliceOfN(whole, 1, 2).Draw(t, "everybody")}}}
		cfg.Submission.Archive = rapid.SliceOfN(whole, 0, 2).Draw(t, "archive")
		ofRoute := rapid.SliceOfN(whole, 0, 2).Draw(t, "archive of the route")
		if rapid.Bool().Draw(t, "no aliases") {
			cfg.Submission.Alias = nil
		}
		var header map[string][]string
		if rapid.Bool().Draw(t, "by header") {
			header = map[string][]string{"X-Kind": {"bulk"}}
		}
		staging := config.Route{Name: "staging", From: []string{"*"}, Header: header, Upstream: []string{"out", "backup"}, Archive: ofRoute,
			Staging: config.Staging{Redirect: redirect, AllowTo: allow, Otherwise: otherwise}}
		cfg.Routes = []config.Route{staging, {Name: "next", From: []string{"*"}, Upstream: []string{"elsewhere"}}}
		// What may go by "out", by the patterns alone.
		judge, err := route.New([]config.Route{{Name: "allowed", To: allow, Upstream: []string{"yes"}}})
		if err != nil {
			t.Fatal(err)
		}
		may := func(to string) bool {
			return slices.Contains(redirect, to) || len(allow) > 0 && judge.Recipient(route.Query{From: "x@y", To: to}).Matched
		}
		look := func(what string, list []spool.Recipient) {
			for _, r := range list {
				if slices.Contains(r.Upstreams, "out") && !may(r.Address) {
					t.Fatalf("%s goes to %s: allow %q, redirect %q", what, r.Address, allow, redirect)
				}
			}
		}
		st := &store{}
		kind := rapid.SampledFrom([]string{"bulk", "other"}).Draw(t, "kind")
		to := rapid.SliceOfN(address, 1, 5).Draw(t, "to")
		_ = staged(t, cfg, "a@in.example", to, fmt.Sprintf("To: %s\r\nX-Kind: %s\r\n\r\nhi\r\n", to[0], kind), submission.Options{Accept: st})
		if st.env != nil {
			look("mail", st.env.Recipients)
			if header == nil || kind == "bulk" { // staging is the first that matches
				for _, r := range st.env.Recipients {
					if slices.Contains(r.Upstreams, "elsewhere") {
						t.Fatalf("%s was left to the next route", r.Address)
					}
				}
			}
		}
		// Bounces, with a route that takes them and with none.
		if rapid.Bool().Draw(t, "no route for bounces") {
			cfg.Routes = []config.Route{staging}
			cfg.Routes[0].From = []string{"*@in.example"}
		}
		table, err := route.New(cfg.Routes)
		if err != nil {
			t.Fatal(err)
		}
		policy, err := submission.NewPolicy(cfg, table)
		if err != nil {
			t.Fatal(err)
		}
		agent := submission.New(submission.Options{Accept: st})
		agent.Use(policy)
		look("a bounce", agent.Notify(address.Draw(t, "sender"), staging.Upstream))
	})
}
