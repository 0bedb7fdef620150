package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/config/wire"
)

const (
	// upstreamsAtOnce bounds how many upstreams are looked at side by side.
	upstreamsAtOnce = 4
	// upstreamTimeout bounds the look at one of them. A delivery would wait
	// longer for some answers.
	upstreamTimeout = 30 * time.Second
)

// Relay is a relay that is looked at as a whole.
type Relay struct {
	Config *config.Config // nil: it cannot be used
	Err    error          // why
	// Place is where daemon and spool are, also without a Config.
	Place   config.Place
	Version string // of this program
}

// Look looks at everything. What takes time ends when ctx is done.
func (r *Relay) Look(ctx context.Context) []Finding {
	client := control.Dial(r.Place.Socket)
	st, err := client.Status(ctx)
	running := err == nil || errors.Is(err, fs.ErrPermission)
	if err != nil {
		st = nil
	}
	cfg := r.Config
	out := Configuration(r.Place.Path, cfg, r.Err)
	out = append(out, Daemon(st, err, cfg, r.Version)...)
	if cfg == nil {
		cfg = config.Default()
		cfg.Spool.Dir, cfg.Control.Socket = r.Place.SpoolDir, r.Place.Socket
	}
	owner := ownerOf(st, cfg.Spool.Dir)
	out = append(out, lookAtUser(st)...)
	out = append(out, lookAtSpool(ctx, cfg, st, client, owner)...)
	if r.Config == nil {
		return append(out, judgeClock(lookAtClock()))
	}
	out = append(out, Pickup(cfg, owner, running)...)
	out = append(out, lookAtFiles(cfg, st, owner)...)
	out = append(out, lookAtListeners(ctx, cfg, st, running)...)
	out = append(out, judgeClock(lookAtClock()))
	out = append(out, lookAtResolver(ctx, cfg)...)
	return append(out, r.upstreams(ctx, st)...)
}

// upstreams looks at each upstream, in short.
func (r *Relay) upstreams(ctx context.Context, st *control.Status) []Finding {
	bench, err := NewBench(r.Config, st)
	if err != nil {
		return []Finding{{ID: ConfigFile, Status: Failed, Text: err.Error()}}
	}
	names := sorted(r.Config.Upstreams)
	found := make([][]Finding, len(names))
	places := make(chan struct{}, upstreamsAtOnce)
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			looking, cancel := context.WithTimeout(ctx, upstreamTimeout)
			defer cancel()
			up := r.Config.Upstreams[name]
			found[i] = guarded(name, func() []Finding { return Short(up, bench.Upstream(looking, up, "", "")) })
		})
	}
	all.Wait()
	var out []Finding
	for _, list := range found {
		out = append(out, list...)
	}
	return append(out, strays(r.Config, st)...)
}

// guarded is what look finds. What an upstream makes it do wrong is a finding
// about that upstream alone.
func guarded(name string, look func() []Finding) (found []Finding) {
	defer func() {
		if v := recover(); v != nil {
			found = []Finding{{ID: UpstreamSession, Status: Failed, Subject: name,
				Text:   "a defect of this program: " + wire.Text(fmt.Sprint(v), 300),
				Remedy: "Report it with what `postern upstream test " + name + "` prints."}}
		}
	}()
	return look()
}

// Short is what somebody has to see of the findings about one upstream: a
// line for the whole, and each that went wrong.
func Short(up *config.Upstream, list []Finding) []Finding {
	whole := Finding{ID: UpstreamSession, Status: Skipped, Subject: up.Name,
		Text: "no session was opened", Remedy: "`postern upstream test " + up.Name + "` shows each step."}
	var wrong []Finding
	senders := 0
	for i := range list {
		f := &list[i]
		whole.Took += f.Took
		switch {
		case f.Status == Failed || f.Status == Warning:
			wrong = append(wrong, *f)
		case f.ID == UpstreamSignIn && f.Status == OK:
			whole.Status, whole.Remedy = OK, ""
		case f.ID == UpstreamSender && f.Status == OK:
			senders++
		}
	}
	switch {
	case whole.Status == OK:
		whole.Text = "a session could be opened; " + count(senders, "sender", "senders") + " may send"
	case Count(wrong, Failed) > 0:
		whole.Status = Failed
	}
	return append([]Finding{whole}, wrong...)
}

// strays are lanes of upstreams that are not configured.
func strays(cfg *config.Config, st *control.Status) []Finding {
	var out []Finding
	if st == nil {
		return nil
	}
	for i := range st.Lanes {
		if l := &st.Lanes[i]; cfg.Upstreams[l.Upstream] == nil && l.Queued > 0 {
			out = append(out, lane(l))
		}
	}
	return out
}

// Configuration judges what became of reading the configuration at path.
func Configuration(path string, cfg *config.Config, err error) []Finding {
	if path == "" {
		path = "the embedded default"
	}
	var problems *config.Problems
	switch {
	case errors.As(err, &problems):
		return problemFindings(ConfigFile, Failed, path, problems.List)
	case err != nil:
		return []Finding{{ID: ConfigFile, Status: Failed, Subject: path, Text: err.Error(), Remedy: "`postern check`"}}
	}
	out := []Finding{{ID: ConfigFile, Status: OK, Subject: path, Text: count(len(cfg.Listeners), "listener", "listeners") + ", " +
		count(len(cfg.Upstreams), "upstream", "upstreams") + ", " + count(len(cfg.Routes), "route", "routes")}}
	warnings := cfg.Warnings
	if w := cfg.DoubtfulHostname(); w != nil {
		warnings = append(slices.Clone(warnings), *w)
	}
	out = append(out, problemFindings(ConfigWarning, Warning, path, warnings)...)
	for _, name := range sorted(cfg.Upstreams) {
		if cfg.Upstreams[name].Password.Literal() {
			out = append(out, Finding{ID: ConfigSecret, Status: OK, Subject: name, Text: "its password stands in the configuration file",
				Remedy: "password_file, or password_credential with LoadCredential= of systemd, keeps it apart from what people edit and copy."})
		}
	}
	return out
}

func problemFindings(id ID, s Status, path string, list []config.Problem) (out []Finding) {
	for _, p := range list {
		remedy := p.Hint
		if remedy == "" {
			remedy = "Correct it there; docs/configuration.md has every key."
		}
		p.File, p.Hint = "", "" // told beside it
		text := p.String()
		if p.Line > 0 {
			text = fmt.Sprintf("line %d: %s", p.Line, text)
		}
		out = append(out, Finding{ID: id, Status: s, Subject: path, Text: text, Remedy: remedy})
	}
	return out
}
