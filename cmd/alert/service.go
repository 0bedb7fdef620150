package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime/metrics"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"postern/config"
)

// Service is a service of others, such as Slack or ntfy, by a URL of shoutrrr.
// What speaks to it is a process of its own (Serve), which ends with ctx: that
// library knows no end of waiting and no bound of what it is answered.
type Service struct {
	Address config.Secret
	// Program is this one; it is called with ServeArguments.
	Program string
}

// ServeArguments make the program call Serve.
var ServeArguments = []string{"alert", "send"}

// job is what Serve reads, and result what it writes.
type job struct {
	Address string `json:"address"`
	Title   string `json:"title"`
	Text    string `json:"text"`
}

type result struct {
	Error string `json:"error"` // empty: it was told
}

// connecting are the variables by which a process finds the way out.
var connecting = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// Send implements Receiver.
func (s *Service) Send(ctx context.Context, from string, due []Open) error {
	address, err := s.Address.Read(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	text, err := json.Marshal(&job{address, Title(from, due), brief(from, due, now, room(address))})
	if err != nil {
		return err
	}
	out, err := config.RunCommand(ctx, append([]string{s.Program}, ServeArguments...), connecting, bytes.NewReader(text))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the service did not answer in time: %w", ctx.Err())
	case err != nil:
		return fmt.Errorf("what speaks to the service %w", err)
	}
	var r result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return errors.New("what speaks to the service said nothing that can be read")
	}
	if r.Error != "" {
		return errors.New(withoutSecrets(address, harmless(r.Error)))
	}
	return nil
}

// Bounds of texts, in bytes: what most services take of one message.
const (
	usualRoom = 3000
	smallRoom = 900
)

// room is how much a service takes.
func room(address string) int {
	if service, _, _ := strings.Cut(address, ":"); service == "pushover" || service == "bark" {
		return smallRoom
	}
	return usualRoom
}

// brief is Text of as many troubles as there is room for.
func brief(from string, due []Open, now time.Time, limit int) string {
	for n := len(due); n > 1; n-- {
		text := Text(from, due[:n], now)
		if n < len(due) {
			text += fmt.Sprintf("\nand %d more: postern alert list\n", len(due)-n)
		}
		if len(text) <= limit {
			return text
		}
	}
	return cut(Text(from, due[:1], now), limit)
}

const (
	// maxJob bounds what Serve reads, and maxMemory what it may use, in bytes.
	maxJob    = 256 << 10
	maxMemory = 128 << 20
	// weighEvery is how often that is looked at.
	weighEvery = 5 * time.Millisecond
)

// Serve reads a job, tells the service, and writes what became of it. It is for
// a process of its own, which it ends where a service answers without end.
func Serve(in io.Reader, out io.Writer) error {
	go func() {
		for sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}; ; time.Sleep(weighEvery) {
			if metrics.Read(sample); sample[0].Value.Uint64() > maxMemory {
				os.Exit(1)
			}
		}
	}()
	var j job
	if err := json.NewDecoder(io.LimitReader(in, maxJob)).Decode(&j); err != nil {
		return errors.New("there is no job on standard input: the daemon calls this command")
	}
	http.DefaultTransport = stay{http.DefaultTransport}
	var r result
	if err := serve(&j); err != nil {
		r.Error = withoutSecrets(j.Address, harmless(err.Error()))
	}
	return json.NewEncoder(out).Encode(&r)
}

// stay takes a redirect for an error: what an alert says, and often an address
// that is a secret, would go to wherever it leads, also into the network of
// this machine.
type stay struct{ next http.RoundTripper }

func (s stay) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err == nil && resp.StatusCode/100 == 3 {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("answered %s, which is not followed; correct the address", resp.Status)
	}
	return resp, err
}

// titled are the services that have a title beside the text.
var titled = []string{"bark", "discord", "generic", "gotify", "join", "matrix", "ntfy", "opsgenie", "pushbullet", "pushover", "slack", "teams", "telegram"}

func serve(j *job) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a bug of the library for this service: %v", v)
		}
	}()
	scheme, _, _ := strings.Cut(j.Address, ":")
	name, _, _ := strings.Cut(scheme, "+")
	if !slices.Contains(config.AlertServices, name) {
		return errors.New("no service is known by the beginning of the address")
	}
	service, err := (&router.ServiceRouter{}).Locate(j.Address)
	if err != nil {
		return err
	}
	params := types.Params{}
	if slices.Contains(titled, name) {
		params.SetTitle(j.Title)
	} else {
		j.Text = j.Title + "\n\n" + j.Text
	}
	return service.Send(j.Text, &params)
}

// hosted are the services whose address has a host that is no secret.
var hosted = []string{"bark", "generic", "gotify", "matrix", "mattermost", "ntfy", "opsgenie", "rocketchat", "signal", "zulip"}

// leastSecret is how long a part of an address is at least to be one, in bytes.
const leastSecret = 4

// withoutSecrets is text without any part of an address: names, passwords,
// paths and values can each be a secret, in whatever order a library has put
// them.
func withoutSecrets(address, text string) string {
	scheme, rest, _ := strings.Cut(address, ":")
	name, _, _ := strings.Cut(scheme, "+")
	if plain, err := url.PathUnescape(rest); err == nil {
		rest += " " + plain
	}
	keep := ""
	if at, err := url.Parse(address); err == nil && slices.Contains(hosted, name) {
		keep = strings.ToLower(at.Host)
	}
	parts := strings.FieldsFunc(rest, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	slices.SortFunc(parts, func(a, b string) int { return len(b) - len(a) })
	for _, part := range slices.Compact(parts) {
		if part = strings.ToLower(part); len(part) >= leastSecret && !strings.Contains(keep, part) {
			text = replaceFold(text, part, "[secret]")
		}
	}
	return text
}

// replaceFold replaces old, in lower case, wherever it stands in s in any case.
func replaceFold(s, old, by string) string {
	lower := strings.ToLower(s)
	if len(lower) != len(s) { // letters whose cases differ in length
		s = lower
	}
	var b strings.Builder
	for {
		i := strings.Index(lower, old)
		if i < 0 {
			return b.String() + s
		}
		b.WriteString(s[:i] + by)
		s, lower = s[i+len(old):], lower[i+len(old):]
	}
}
