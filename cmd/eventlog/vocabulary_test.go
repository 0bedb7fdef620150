package eventlog

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"postern/cmd/alert"
	web "postern/cmd/console"
	"postern/cmd/fleet"
	"postern/config/wire"
	"postern/queue"
	"postern/relay/api"
	"postern/relay/capture"
	"postern/relay/intake"
	"postern/relay/oauth"
	"postern/relay/outgoing"
	"postern/relay/pickup"
	"postern/relay/storm"
	"postern/relay/submission"
	"postern/relay/upstream"
	"postern/spool"
	"postern/spool/journal"
	"postern/spool/postgres"
	"postern/spool/standin"
)

var update = flag.Bool("update", false, "print what docs/events.md lacks")

// rooms is every set of events that are methods.
func rooms(l *Log) []any {
	return []any{l.Process()}
}

// filled is a value of type t in which every text is text and nothing is zero.
func filled(t reflect.Type, text string) reflect.Value {
	v := reflect.New(t).Elem()
	switch {
	case t == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1700000000, 0).UTC()))
		return v
	case t == reflect.TypeFor[error]():
		v.Set(reflect.ValueOf(errors.New(text)))
		return v
	case t == reflect.TypeFor[tls.ConnectionState]():
		v.Set(reflect.ValueOf(tls.ConnectionState{Version: tls.VersionTLS13}))
		return v
	}
	switch t.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(3)
	case reflect.Float64:
		v.SetFloat(3)
	case reflect.Interface:
		v.Set(reflect.ValueOf(text))
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(filled(t.Elem(), text))
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).Set(filled(t.Elem(), text))
		}
	case reflect.Func: // whom a client's connection belongs to
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(text))
			return v
		}
		v.Set(reflect.Append(v, filled(t.Elem(), text)))
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				v.Field(i).Set(filled(t.Field(i).Type, text))
			}
		}
		if o, ok := v.Addr().Interface().(*spool.Outcome); ok {
			o.Code, o.Unsupported = 535, false // an answer that is translated
		}
	default:
		panic("an event has a parameter of a kind that this test cannot fill: " + t.String())
	}
	return v
}

// tell raises every event once with text wherever there is room for text.
func tell(l *Log, text string) {
	for _, room := range rooms(l) {
		v := reflect.ValueOf(room)
		for i := range v.NumMethod() {
			m := v.Method(i)
			args := make([]reflect.Value, m.Type().NumIn())
			for j := range args {
				args[j] = filled(m.Type().In(j), text)
			}
			m.Call(args)
		}
	}
	raise(l.Submission(), text, (*submission.Accepted)(nil), (*submission.Refused)(nil),
		(*submission.Diverted)(nil), (*submission.AliasesRead)(nil), (*submission.AliasesKept)(nil))
	raise(l.Pickup(), text, (*pickup.SetAside)(nil), (*pickup.Unusable)(nil), (*pickup.Usable)(nil), (*pickup.Panicked)(nil))
	raise(l.Queue(), text, (*queue.Attempted)(nil), (*queue.Finished)(nil), (*queue.LaneChanged)(nil), (*queue.Panicked)(nil),
		(*queue.SessionFailed)(nil), (*queue.ConnectionSpent)(nil), (*queue.ConnectionLimited)(nil), (*queue.SenderRefused)(nil),
		(*queue.SenderAccepted)(nil), (*queue.BudgetSpent)(nil), (*queue.StateFailed)(nil), (*queue.Notified)(nil), (*queue.NotNotified)(nil),
		(*queue.InDoubt)(nil), (*queue.Expired)(nil), (*queue.Kept)(nil), (*queue.KeptEnded)(nil), (*queue.MovedOn)(nil),
		(*queue.Operated)(nil), (*queue.ClaimLost)(nil), (*queue.StoreFailed)(nil))
	raise(l.Spool(), text, (*journal.Recovery)(nil), (*journal.Committed)(nil), (*journal.SegmentBegun)(nil), (*journal.SegmentReclaimed)(nil),
		(*journal.RecordSetAside)(nil), (*journal.TornTailCut)(nil), (*journal.WriteFailed)(nil), (*journal.ReadFailed)(nil),
		(*journal.Full)(nil), (*journal.HasRoom)(nil), (*journal.BodiesSwept)(nil))
	raise(l.Database(), text, (*postgres.LaneTaken)(nil), (*postgres.Failed)(nil), (*postgres.Joined)(nil), (*postgres.Behind)(nil), (*postgres.CaughtUp)(nil))
	raise(l.Fleet(), text, (*fleet.Panicked)(nil))
	raise(l.Standin(), text, (*standin.Began)(nil), (*standin.MovedOne)(nil), (*standin.Moved)(nil), (*standin.Failed)(nil))
	raise(l.Intake(), text, (*intake.Opened)(nil), (*intake.Closed)(nil), (*intake.Refused)(nil), (*intake.AcceptFailed)(nil),
		(*intake.Unidentified)(nil), (*intake.TLSFailed)(nil), (*intake.SignedIn)(nil), (*intake.SignInFailed)(nil),
		(*intake.Abused)(nil), (*intake.Panicked)(nil))
	raise(l.API(), text, (*api.Opened)(nil), (*api.Refused)(nil), (*api.TLSFailed)(nil), (*api.SignedIn)(nil),
		(*api.SignInFailed)(nil), (*api.Abused)(nil), (*api.Panicked)(nil), (*api.Said)(nil))
	raise(l.Console(), text, (*web.SignedIn)(nil), (*web.SignedOut)(nil), (*web.SignInFailed)(nil), (*web.Refused)(nil), (*web.TLSFailed)(nil), (*web.CaptureRemoved)(nil), (*web.CaptureReleased)(nil), (*web.Defined)(nil), (*web.BookChanged)(nil), (*web.LoginBegun)(nil), (*web.Failed)(nil))
	raise(l.Capture(), text, (*capture.Stored)(nil), (*capture.Failed)(nil))
	raise(l.Tokens(), text, (*oauth.Obtained)(nil), (*oauth.Failed)(nil), (*oauth.Panicked)(nil))
	raise(l.Storms(), text, (*storm.Began)(nil), (*storm.Ended)(nil), (*storm.Overflow)(nil), (*storm.Digested)(nil), (*storm.NotDigested)(nil), (*storm.NotSaved)(nil))
	raise(l.Alerts(), text, (*alert.Told)(nil), (*alert.Failed)(nil), (*alert.NotSaved)(nil), (*alert.Panicked)(nil))
	raise(l.Upstream(), text, (*upstream.Opened)(nil), (*upstream.Closed)(nil), (*upstream.TLSProblem)(nil),
		(*upstream.Learned)(nil), (*upstream.Stalled)(nil), (*upstream.AddressFailed)(nil), (*upstream.MemoryFailed)(nil))
	raise(l.Outgoing(), text, outgoing.SignatureBroken{}, outgoing.NotSigned{}, outgoing.NotConverted{})
}

// ofClients are the events that the listeners of SMTP and of HTTP have in
// common, field by field.
var ofClients = []string{"connection-opened", "connection-refused", "tls-failed", "signed-in", "sign-in-failed", "client-abuse", "defect", "library-said"}

// raise tells of an event of each of the types.
func raise[E any](tell func(E), text string, types ...any) {
	for _, t := range types {
		tell(filled(reflect.TypeOf(t), text).Interface().(E))
	}
}

// emitted is the vocabulary of the code: event → fields.
func emitted(t *testing.T) map[string][]string {
	t.Helper()
	var out bytes.Buffer
	l, err := New(&out, Options{Level: "debug", Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	tell(l, "x")
	events := map[string][]string{}
	for line := range strings.Lines(out.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		name := fields["event"].(string)
		for _, own := range []string{"event", "level", "time"} {
			if _, ok := fields[own]; !ok {
				t.Errorf("%s has no %s", name, own)
			}
			delete(fields, own)
		}
		names := slices.Sorted(maps.Keys(fields))
		if events[name] != nil && !(slices.Contains(ofClients, name) && slices.Equal(events[name], names)) {
			t.Errorf("%s is emitted by two methods", name)
		}
		events[name] = names
	}
	return events
}

// documented is the vocabulary of docs/events.md: rows of the form
// | `event` | level | `field` `field` | meaning |
func documented(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (?:debug|info|warn|error)[a-z, ]* \\| ([^|]*) \\| [^|]+ \\|$")
	word := regexp.MustCompile("`([a-z_]+)`")
	events := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		fields := []string{}
		for _, f := range word.FindAllStringSubmatch(m[2], -1) {
			fields = append(fields, f[1])
		}
		slices.Sort(fields)
		if events[m[1]] != nil {
			t.Errorf("%s stands twice in docs/events.md", m[1])
		}
		events[m[1]] = fields
	}
	return events
}

func TestPageAndCodeAgreeOnEvents(t *testing.T) {
	code, page := emitted(t), documented(t)
	for name, fields := range code {
		if !slices.Equal(page[name], fields) {
			t.Errorf("docs/events.md: %s\n page %v\n code %v", name, page[name], fields)
			if *update {
				fmt.Printf("| `%s` | info | `%s` | |\n", name, strings.Join(fields, "` `"))
			}
		}
	}
	for name := range page {
		if code[name] == nil {
			t.Errorf("docs/events.md has %s, which nothing emits", name)
		}
	}
}

func TestPageAndCodeAgreeOnMetrics(t *testing.T) {
	l, err := New(&bytes.Buffer{}, Options{Level: "error", Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	tell(l, "x")
	l.Queue()(&queue.Attempted{Outcome: spool.Outcome{Verdict: spool.Delivered}})
	l.Submission()(&submission.Accepted{Client: &submission.Client{}})
	code := map[string]bool{}
	for _, name := range scrape(l) {
		if strings.HasPrefix(name, "postern_") {
			code[name] = true
		}
	}
	page, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(postern_[a-z_]+)` ")
	names := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		names[m[1]] = true
	}
	for name := range code {
		if !names[name] {
			t.Errorf("docs/events.md lacks %s", name)
		}
	}
	for name := range names {
		if !code[name] {
			t.Errorf("docs/events.md has %s, which nothing counts", name)
		}
	}
}

// TestHostileTextReachesNobody raises every event with text that would clear
// a terminal, forge a line, turn the reading direction or break the encoding.
func TestHostileTextReachesNobody(t *testing.T) {
	hostile := "a\x00b\x1b[2J\r\nforged=\"1\"\x7f\u0085\u009b2J\u202e\u2028\xff\xfe" + strings.Repeat("y", 5000)
	for _, format := range []string{"json", "console"} {
		t.Run(format, func(t *testing.T) {
			var out bytes.Buffer
			l, err := New(&out, Options{Level: "debug", Format: format})
			if err != nil {
				t.Fatal(err)
			}
			tell(l, "x")
			want := strings.Count(out.String(), "\n")
			out.Reset()
			tell(l, hostile)
			text := out.String()
			if n := strings.Count(text, "\n"); n != want || n < 30 {
				t.Errorf("%d lines for %d events", n, want)
			}
			if !utf8.ValidString(text) {
				t.Error("the log is not UTF-8")
			}
			for line := range strings.Lines(text) {
				if at := strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !wire.Visible(r) }); at >= 0 {
					t.Errorf("%q in %q", line[at:min(at+4, len(line))], line[:min(len(line), 80)])
				}
				if len(line) > 30000 {
					t.Errorf("a line of %d bytes", len(line))
				}
				if format == "json" && !json.Valid([]byte(line)) {
					t.Errorf("not JSON: %.80s", line)
				}
			}
		})
	}
}
