//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// groupReport is what a run with a group prints. Times are medians, in
// milliseconds, from the start of the program that sends to the last 250 of the
// upstream.
type groupReport struct {
	Recipients int               `json:"recipients"`
	Groups     int               `json:"groups"` // that hold them, in two other ones, in one
	Rounds     int               `json:"rounds"`
	Ways       map[string]*taken `json:"ways"`
}

// taken is how long one way to send took.
type taken struct {
	Done         float64 `json:"last_250_ms"`
	Exit         float64 `json:"program_ended_ms"`
	Transactions int     `json:"transactions"`

	done, exit []time.Duration
}

// membersOfGroup is how many people are in one of the groups at the bottom.
const membersOfGroup = 100

// groupOfGroups sends one message to a group of groups of groups by postern
// send, and to the same people by Python's smtplib, once to the relay and once
// to the upstream itself, in turns.
func (p *plan) groupOfGroups(ctx context.Context, stderr io.Writer) (rep *groupReport, err error) {
	dir, leave, err := p.folder("postern-group-", stderr)
	if err != nil {
		return nil, err
	}
	defer func() { leave(err) }()
	if p.binary == "" {
		if p.binary, err = build(ctx, dir, "postern", static); err != nil {
			return nil, err
		}
	}
	s, err := startSink(newBooks())
	if err != nil {
		return nil, err
	}
	defer s.close()
	s.keeps = true
	d, err := newDaemon(p.binary, dir, dir, s.addr)
	if err != nil {
		return nil, err
	}
	rep = &groupReport{Recipients: p.recipients, Groups: (p.recipients + membersOfGroup - 1) / membersOfGroup, Rounds: p.cycles, Ways: map[string]*taken{}}
	if err := rep.prepare(d); err != nil {
		return rep, err
	}
	if err := d.start(ctx); err != nil {
		return rep, err
	}
	defer d.kill()
	ways := rep.ways(d, s.addr)
	for round := range p.cycles + 1 { // the first one warms up
		for _, w := range ways {
			if err := rep.send(ctx, w, s, round > 0); err != nil {
				return rep, fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	for _, t := range rep.Ways {
		t.Done, t.Exit = millis(median(t.done)), millis(median(t.exit))
	}
	return rep, nil
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// prepare writes the cards, the list of addresses and the program in Python, and
// lets the relay take so many recipients at once.
func (rep *groupReport) prepare(d *daemon) error {
	book := filepath.Join(d.dir, "book")
	if err := os.Mkdir(book, 0o700); err != nil {
		return err
	}
	write := func(uid, more string) error {
		return os.WriteFile(filepath.Join(book, uid+".vcf"), []byte("BEGIN:VCARD\r\nVERSION:4.0\r\nUID:"+uid+"\r\n"+more+"END:VCARD\r\n"), 0o600)
	}
	group := func(name string, members []string) error {
		return write(name, "FN:"+name+"\r\nKIND:group\r\n"+strings.Join(members, ""))
	}
	var addresses strings.Builder
	var inHalf [2][]string
	var members []string
	for i := range rep.Recipients {
		uid, address := fmt.Sprintf("p%05d", i), fmt.Sprintf("person%d@sink.example", i)
		if err := write(uid, fmt.Sprintf("FN:Person Number %d\r\nEMAIL:%s\r\n", i, address)); err != nil {
			return err
		}
		fmt.Fprintf(&addresses, "Person Number %d <%s>\n", i, address)
		members = append(members, "MEMBER:"+uid+"\r\n")
		if len(members) == membersOfGroup || i == rep.Recipients-1 {
			name := fmt.Sprintf("g%d", i/membersOfGroup)
			if err := group(name, members); err != nil {
				return err
			}
			half := i / membersOfGroup % 2
			inHalf[half], members = append(inHalf[half], "MEMBER:"+name+"\r\n"), nil
		}
	}
	for half, of := range inHalf {
		if err := group(fmt.Sprintf("half%d", half), of); err != nil {
			return err
		}
	}
	if err := group("All", []string{"MEMBER:half0\r\n", "MEMBER:half1\r\n"}); err != nil {
		return err
	}
	for name, text := range map[string]string{"addresses": addresses.String(), "send.py": sendInPython} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(d.config())
	if err != nil {
		return err
	}
	most := fmt.Sprintf("max_recipients = %d\n", rep.Recipients+1)
	text = []byte(strings.Replace(strings.Replace(string(text), "users = {", most+"users = {", 1), "auth = \"none\"\n", "auth = \"none\"\nmax_recipients = 100\n", 1))
	text = fmt.Appendf(text, "[http]\n%s[book.all]\nprovider = \"vcards\"\ndir = %q\n", most, book)
	return os.WriteFile(d.config(), text, 0o600)
}

// sendInPython is what a program does that has a list of addresses: it takes the
// server, how many recipients one message may have, and the field that names them.
const sendInPython = `import sys, smtplib
from email.message import EmailMessage
host, port = sys.argv[1].rsplit(':', 1)
most, field = int(sys.argv[2]), sys.argv[3]
people = open(sys.argv[4]).read().splitlines()
m = EmailMessage()
m['From'], m['Subject'] = 'me@client.example', 'To all'
m['To'] = ', '.join(people) if field == 'to' else 'me@client.example'
m.set_content('See you.')
text, bare = m.as_bytes(policy=m.policy.clone(linesep='\r\n')), [p[p.index('<') + 1:-1] for p in people]
s = smtplib.SMTP(host, int(port), local_hostname='client.example')
for i in range(0, len(bare), most):
    s.sendmail('me@client.example', bare[i:i + most], text)
s.quit()
`

// way is one way to send the message.
type way struct {
	name string
	args []string
}

func (rep *groupReport) ways(d *daemon, upstream string) []way {
	python := func(server string, most int, field string) []string {
		return []string{"python3", filepath.Join(d.dir, "send.py"), server, fmt.Sprint(most), field, filepath.Join(d.dir, "addresses")}
	}
	send := func(more ...string) []string {
		return append([]string{d.binary, "send", "--config", d.config(), "--from", "me@client.example", "--subject", "To all", "--body", "See you."}, more...)
	}
	return []way{
		{"postern send --to", send("--to", "group:All")},
		{"smtplib to the relay, To", python(d.addr, rep.Recipients, "to")},
		{"smtplib to the upstream, To", python(upstream, 100, "to")},
		{"postern send --bcc", send("--to", "me@client.example", "--bcc", "group:All")},
		{"smtplib to the relay, Bcc", python(d.addr, rep.Recipients, "bcc")},
		{"smtplib to the upstream, Bcc", python(upstream, 100, "bcc")},
	}
}

// send sends the message, and waits until all of its recipients have it.
func (rep *groupReport) send(ctx context.Context, w way, s *sink, counts bool) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	s.forget()
	want := rep.Recipients
	if strings.HasSuffix(w.name, "--bcc") {
		want++ // me
	}
	began := time.Now()
	if out, err := exec.CommandContext(ctx, w.args[0], w.args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	ended := time.Since(began)
	for {
		all, n := s.all(), 0
		for _, one := range all {
			n += one.recipients
		}
		switch {
		case n > want:
			return fmt.Errorf("%d recipients got it, of %d", n, want)
		case n == want:
			if counts {
				t := rep.Ways[w.name]
				if t == nil {
					t = &taken{}
					rep.Ways[w.name] = t
				}
				t.done, t.exit, t.Transactions = append(t.done, all[len(all)-1].at.Sub(began)), append(t.exit, ended), len(all)
			}
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%d of %d recipients got it", n, want)
		}
		time.Sleep(time.Millisecond)
	}
}
