package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Alert is somebody who is told when something needs a person. One of URL,
// Alertmanager, Command and Mail says how.
type Alert struct {
	Name string // in the log and in what is kept of alerts; no other has it
	// URL is the address of one of AlertServices, as shoutrrr writes it. It holds
	// secrets, and is shown nowhere.
	URL Secret
	// Alertmanager is the address of one: "http://127.0.0.1:9093", with a path
	// before /api/v2 where there is one. Username, where it is not empty, and
	// Password sign in to it.
	Alertmanager string
	Username     string
	Password     Secret
	Command      []string // a program and its arguments; nil: none
	Mail         AlertMail
	// Severity is from what on it is told.
	Severity AlertSeverity
	After    time.Duration // how long a trouble lasts before it is told; 0: at once
	Repeat   time.Duration // how long until an open trouble is told again; 0: never
}

// AlertMail is mail to people, by upstreams of its own. Empty: none.
type AlertMail struct {
	To       []string
	From     string   // empty: the first of To
	Upstream []string // names, in the order in which they are tried
}

// AlertSeverity is how bad a trouble is.
type AlertSeverity string

// The severities.
const (
	AlertWarning  AlertSeverity = "warning"  // mail still goes, or will soon not
	AlertCritical AlertSeverity = "critical" // mail does not go
)

// maxAlerts bounds who is told.
const maxAlerts = 20

// alertWays are the keys of which each receiver has one.
var alertWays = []string{urlKey, "alertmanager", "command", "mail"}

// AlertServices are what the url of an [[alert]] can begin with, before ":" or
// "+": the services of shoutrrr but for its mail, which waits for nothing, and its
// log.
var AlertServices = []string{"bark", "discord", "generic", "googlechat", "gotify", "hangouts", "ifttt", "join", "lark", "matrix", "mattermost",
	"notifiarr", "ntfy", "opsgenie", "pagerduty", "pushbullet", "pushover", "rocketchat", "signal", "slack", "teams", "telegram", "wecom", "zulip"}

func (a *Alert) keys() []key {
	return slices.Concat([]key{
		{name: "name", value: text.at(&a.Name), unset: "its number", help: "What the receiver is called in the log and in postern alert."},
	}, secretKeys(&a.URL, urlKey, "The address of a service, such as ntfy://ntfy.sh/topic", secretKinds...), []key{
		{name: "alertmanager", value: alertmanagerAddress.at(&a.Alertmanager), unset: "none", help: "The address of an Alertmanager, without the path of its API."},
		{name: "username", value: text.at(&a.Username), unset: "none", help: "The name to sign in with to the Alertmanager."},
	}, secretKeys(&a.Password, passwordKey, "The password of the Alertmanager", secretKinds...), []key{
		{name: "command", value: commandLine.at(&a.Command), unset: "none", help: "A program that gets alerts as JSON on its standard input."},
		{name: "mail", value: section{keys: a.Mail.keys()}, hidden: len(a.Mail.To) == 0, help: "Mail to people, by upstreams of its own."},
		{name: "severity", value: choice(&a.Severity, AlertWarning, AlertCritical), def: "warning", help: "From what on something is told."},
		{name: "after", value: duration(&a.After, 0, time.Hour), def: "2m", help: "How long a trouble has to last before it is told."},
		{name: "repeat", value: duration(&a.Repeat, 0, 365*24*time.Hour), def: "24h", help: "How long until a trouble that lasts is told again; 0 is never."},
	})
}

func (m *AlertMail) keys() []key {
	return []key{
		{name: "to", value: alertList.at(&m.To), unset: "must be given", help: "Who gets the mail."},
		{name: "from", value: ownAddress.at(&m.From), unset: "the first of to", help: "The address that it comes from."},
		{name: "upstream", value: textList.at(&m.Upstream), unset: "must be given", help: "Names of the upstreams that it goes by, in the order in which they are tried."},
	}
}

var (
	alertmanagerAddress = kind[string]{name: "url", parse: readAlertmanager, format: unlessEmpty}
	commandLine         = kind[[]string]{name: "command", parse: readCommandLine, format: showCommandLine, secret: true}
	alertList           = kind[[]string]{name: "addresses", parse: listOf(func(f field, s string) (string, bool) { return readOwnAddress(f, s) }), format: unlessNone}
)

// readAlertmanager reads an address without anything that is secret.
func readAlertmanager(f field, v any) (string, bool) {
	s, ok := readText(f, v)
	if !ok {
		return "", false
	}
	at, err := url.Parse(s)
	switch {
	case err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Hostname() == "" || at.RawQuery != "" || at.Fragment != "":
		return "", f.problem("is not the address of an Alertmanager", `such as "http://127.0.0.1:9093"`)
	case at.User != nil:
		return "", f.problem("holds a name or a password", "write them as username and password, or password_file")
	}
	return s, true
}

func readCommandLine(f field, v any) ([]string, bool) {
	s := &secretSource{}
	ok := readCommand(f, v, s)
	return s.args, ok
}

// showCommandLine hides the arguments, which can be secret.
func showCommandLine(args []string) any {
	if len(args) == 0 {
		return nil
	}
	return redacted
}

func (c *Config) alertTables() value {
	return tableList[Alert]{
		place: &c.Alerts, keys: (*Alert).keys, check: (*Alert).check, most: maxAlerts,
		fresh: func(i int, _ *table) Alert {
			a := Alert{Name: fmt.Sprintf("alert %d", i+1)}
			setDefaults(a.keys())
			return a
		},
		name:  func(a *Alert) (string, bool) { return a.Name, true },
		apart: "names tell receivers apart in the log",
	}
}

func (a *Alert) check(t *table) {
	if t.got["name"] && len(a.Name) > 100 {
		t.problem("name", "is longer than 100 bytes", "")
	}
	var ways []string
	for _, way := range alertWays {
		if t.has(way) || way == urlKey && anySecret(t, way) {
			ways = append(ways, way)
		}
	}
	switch {
	case len(ways) == 0:
		t.problem("", "says nothing about who is told", `set one of url, alertmanager, command and mail`)
	case len(ways) > 1:
		t.problem(ways[1], "stands beside "+ways[0], "write an [[alert]] of its own for each")
	}
	if a.URL.source != nil && a.URL.source.kind == secretLiteral {
		checkService(t, a.URL.source.value)
	}
	if !t.has("alertmanager") {
		t.refuse("has no effect without alertmanager", "remove it", "username")
		t.refuseSecret(a.Password, "has no effect without alertmanager", "remove it")
	} else {
		t.refuse("has no effect beside alertmanager", "set repeat_interval in the Alertmanager", "repeat")
		if a.Password.IsSet() != t.has("username") {
			t.problem(t.firstGiven("username"), "a name goes with a password", "set both username and password_file, or neither")
		}
	}
	if _, isTable := t.values["mail"].(map[string]any); isTable {
		mail := t.sub("mail")
		mail.need("to", `such as to = ["ops@example.com"]`)
		mail.need("upstream", "name an upstream other than the one whose trouble is to be told")
	}
}

// checkService looks at the beginning of an address, and says nothing of the
// rest.
func checkService(t *table, address string) {
	scheme, _, found := strings.Cut(address, "://")
	name, _, _ := strings.Cut(scheme, "+")
	switch {
	case found && slices.Contains(AlertServices, name):
	case found && (name == "http" || name == "https"):
		t.problem(urlKey, "is the address of no known service", "for a webhook that takes any text write generic+"+name+"://…")
	default:
		t.problem(urlKey, "begins with no known service", "one of "+strings.Join(AlertServices, ", ")+", and ://")
	}
}

// checkAlerts compares the receivers with the upstreams. It marks those that
// they use.
func (d *document) checkAlerts(cfg *Config, upstreams names, used map[string]bool) {
	for i := range cfg.Alerts {
		m := &cfg.Alerts[i].Mail
		path := joinIndex("alert", i) + ".mail"
		d.checkRouteUpstreams(upstreams, path, m.Upstream, used)
		if len(m.To) > maxArchive {
			d.problem(path+".to", fmt.Sprintf("has %d addresses, and there can be %d", len(m.To), maxArchive), "a list of recipients may stand for more")
		}
		if len(m.Upstream) == 1 && len(cfg.Upstreams) == 1 && upstreams.has(m.Upstream[0]) {
			d.warn(path+".upstream", "there is no other upstream than "+strconv.Quote(m.Upstream[0])+": nobody is told when it fails", "add another receiver, or an upstream of another provider")
		}
	}
}
