package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"postern/cmd/alert"
	"postern/cmd/control"
	"postern/config"
	"postern/queue"
	"postern/spool/statefile"
)

const (
	// alertsFile is what is known of alerts, in the folder "alerts" of the state.
	alertsFile = "open"
	// maxAlertsFile bounds it, in bytes.
	maxAlertsFile = 4 << 20
)

// openAlerts prepares what watches for troubles and tells the receivers.
func (d *daemon) openAlerts(cfg *config.Config) {
	folder := &statefile.Folder{Dir: filepath.Join(cfg.StateDir, "alerts")}
	book := &alert.Book{}
	text, err := folder.Read(alertsFile, maxAlertsFile)
	if err == nil {
		err = json.Unmarshal(text, book)
	}
	tell := d.log.Alerts()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		book = &alert.Book{}
		tell(&alert.NotSaved{Err: fmt.Errorf("what was told before cannot be read, and is told again: %w", err)})
	}
	d.alerts = alert.New(book, alert.Options{
		Wrong: d.troubles, Undecided: d.undecided, From: d.Hostname, Events: tell,
		Targets: func() []alert.Target { return d.state.Load().alerts },
		Save: func(b *alert.Book) error {
			text, err := json.Marshal(b)
			if err == nil {
				err = folder.Prepare()
			}
			if err == nil {
				err = folder.Write(alertsFile, text)
			}
			return err
		},
	})
}

// troubles is all that somebody has to look at.
func (d *daemon) troubles() (all []alert.Trouble) {
	now := time.Now()
	for _, f := range d.findings(now) {
		if f.Kind != "" {
			all = append(all, f.Trouble)
		}
	}
	spool := &d.state.Load().cfg.Spool
	all = append(all, judgeDisk(spool.Dir, spool.MinFree)...)
	if r := d.refused.Load(); r != nil {
		all = append(all, *r)
	}
	all = append(all, d.clock.look(now, uptime())...)
	all = append(all, d.loops.judge(now)...)
	all = append(all, d.silence.judge(d.state.Load().cfg.Routes, now)...)
	return append(all, d.judgeEnds(now)...)
}

// undecided tells of which troubles nobody knows whether they are over: those of
// an upstream that is configured and was not tried since the start.
func (d *daemon) undecided(k alert.Key) bool {
	name := k.Subject
	switch k.Kind {
	case upstreamParked, upstreamDown:
	case senderRefused:
		name, _, _ = strings.Cut(name, " <")
	default:
		return false
	}
	if d.state.Load().cfg.Upstreams[name] == nil {
		return false
	}
	l := d.queue.Health()[name]
	return l.State == queue.Paused || l.State == queue.Up && l.LastSuccess.IsZero()
}

// targets are the receivers of a configuration.
func (d *daemon) targets(cfg *config.Config) (list []alert.Target) {
	for i := range cfg.Alerts {
		a := &cfg.Alerts[i]
		t := alert.Target{Name: a.Name, Least: alert.Severity(a.Severity), After: a.After, Repeat: a.Repeat}
		switch {
		case a.URL.IsSet():
			t.Receiver = &alert.Service{Address: a.URL, Program: d.program}
		case a.Alertmanager != "":
			t.Receiver = alert.Alertmanager{Address: a.Alertmanager, Username: a.Username, Password: a.Password}
			t.Repeat, t.Steady = alert.Resend, true
		case a.Command != nil:
			t.Receiver = alert.Command(a.Command)
		default:
			t.Receiver = &alert.Mail{AlertMail: a.Mail, Create: d.queue.Create, Obstacle: d.obstacle}
		}
		list = append(list, t)
	}
	return list
}

// obstacle says why no mail goes by any of some upstreams at present; "": it
// does.
func (d *daemon) obstacle(upstreams []string) string {
	lanes := d.queue.Health()
	var states []string
	for _, name := range upstreams {
		state := lanes[name].State
		if state == queue.Up || state == queue.Slowed {
			return ""
		}
		states = append(states, fmt.Sprintf("the upstream %q is %s", name, state))
	}
	return strings.Join(states, ", ")
}

// reloadFailed notes that a configuration was not taken.
func (d *daemon) reloadFailed(path string, err error) {
	d.refused.Store(&alert.Trouble{Key: alert.Key{Kind: reloadRefused}, Severity: alert.Warning, Since: time.Now(),
		Text:   "a reload was refused, and the configuration from before is in force: " + refusal(err),
		Remedy: "Correct the file and reload. A restart would fail.", Command: "postern check --config " + quoted(path)})
}

// refusal is why, in a line: the first problem of a file that has several.
func refusal(err error) string {
	var rejected *control.Rejected
	if !errors.As(err, &rejected) || len(rejected.Problems) == 0 {
		return firstLine(err.Error())
	}
	first := firstLine(rejected.Problems[0].String())
	if n := len(rejected.Problems) - 1; n > 0 {
		first += fmt.Sprintf(" (and %d more)", n)
	}
	return first
}

func firstLine(s string) string {
	line, _, more := strings.Cut(s, "\n")
	if more {
		line += " …"
	}
	return line
}
