package sendmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"

	"postern/cmd/step"
	"postern/config/alias"
	"postern/config/wire"
	"postern/relay/submission"
)

// Exit codes of sysexits.h.
const (
	Usage       = 64 // there is no recipient
	DataErr     = 65 // the message, or an address
	NoInput     = 66 // standard input
	NoUser      = 67 // a name of the address books leads to nobody, or to two
	Unavailable = 69 // refused for good
	Software    = 70
	CantCreate  = 73
	TempFail    = 75 // try again later
	NoPerm      = 77
	Config      = 78
)

// Failure ends the command: an exit code, and a sentence for people.
type Failure struct {
	Code int
	Text string
	err  error // a *step.Refusal, or nil
}

func (f *Failure) Unwrap() error { return f.err }

func (f *Failure) Error() string { return f.Text }

// Place is where the relay of this machine is found.
type Place struct {
	Socket string // where it takes mail by HTTP; empty: it has no such socket
	Pickup string // the folder for mail while it is away; empty: there is none
	Host   string // what this machine is called
}

// Deliver hands in the message of in. nil: it is durable. The error is a
// *Failure.
func (p *Place) Deliver(ctx context.Context, f *Flags, in io.Reader) error {
	if in == nil {
		return unreadable(errors.New("there is none"))
	}
	to, err := f.recipients()
	if err != nil {
		return err
	}
	if len(to) == 0 && !f.FromHeader {
		return &Failure{Code: Usage, Text: "there is no recipient: name one, or give -t for those of the header"}
	}
	from, err := f.sender()
	if err != nil {
		return err
	}
	m, err := read(in, f.IgnoreDots, f.FromHeader)
	if m != nil {
		defer m.Close()
	}
	if err != nil {
		return err
	}
	to = append(to, m.to...)
	if len(to) == 0 {
		return &Failure{Code: Usage, Text: "the header names nobody (To, Cc, Bcc), and neither does the command line"}
	}
	return p.handIn(ctx, &step.Finished{
		From: from, To: unique(to), Name: wire.Text(f.Name, maxName), Notify: f.Notify, Return: f.Return, EnvelopeID: f.EnvelopeID,
		Remark: f.remark(), Size: m.Size(), Body: m,
	})
}

// maxName bounds the name of a sender, in bytes.
const maxName = 100

// unique is a list without repetitions.
func unique(list []string) (out []string) {
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

// recipients are those of the command line.
func (f *Flags) recipients() (to []string, err error) {
	for _, list := range f.Operands {
		if name := strings.TrimSpace(list); alias.IsBook(name) && !strings.ContainsAny(name, "@;") && !wire.HasControl(name) {
			to = append(to, wire.QuoteLocal(name)) // no group of RFC 5322 §3.4
			continue
		}
		all, err := wire.Addresses(list)
		if err != nil {
			return nil, &Failure{Code: DataErr, Text: err.Error()}
		}
		to = append(to, all...)
	}
	return to, nil
}

// Envelope is the sender and the recipients of the command line.
func (f *Flags) Envelope() (from string, to []string, err error) {
	if from, err = f.sender(); err == nil {
		to, err = f.recipients()
	}
	return from, to, err
}

// sender is the reverse-path: of -f, else the user's as the kernel knows it.
func (f *Flags) sender() (string, error) {
	if !f.Given {
		return UserName(), nil
	}
	if text := strings.TrimSpace(f.From); text == "" || text == "<>" {
		return "", nil
	}
	all, err := wire.Addresses(f.From)
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("%s is not one address", wire.Quote(f.From))
	}
	if err != nil {
		return "", &Failure{Code: DataErr, Text: "-f: " + err.Error()}
	}
	return all[0], nil
}

// UserName is the name of the user who runs this.
func UserName() string {
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		return u.Username
	}
	if u, err := user.Current(); err == nil { // Windows
		return u.Username[strings.LastIndexByte(u.Username, '\\')+1:]
	}
	return strconv.Itoa(os.Getuid())
}

// handIn gives a message to the relay or, while that is away, leaves it in the
// pickup folder.
func (p *Place) handIn(ctx context.Context, m *step.Finished) error {
	if p.Socket == "" {
		return p.away(m, errors.New("this relay has no socket for the users of this machine (http.socket)"))
	}
	relay := step.Socket(p.Socket, 0)
	defer relay.Close()
	_, refused := relay.HandIn(ctx, m)
	if refused != nil && p.bareSender(m, refused) {
		_, refused = relay.HandIn(ctx, m)
	}
	switch {
	case refused == nil:
		return nil
	case refused.Away && !errors.Is(refused, fs.ErrPermission):
		return p.away(m, refused)
	}
	return failureOf(refused)
}

// bareSender completes a sender that was refused since it has no domain, and
// there is none for the relay to add. Mail of cron is not lost over that.
func (p *Place) bareSender(m *step.Finished, r *step.Refusal) bool {
	if r.Enhanced != "5.1.7" || m.From == "" || strings.Contains(m.From, "@") {
		return false
	}
	note := fmt.Sprintf("sender %s completed with the name of this machine: set domain in [submission]", m.From)
	m.Remark = strings.TrimPrefix(m.Remark+"; "+note, "; ")
	m.From += "@" + p.Host
	return true
}

// failureOf is the exit code of a refusal.
func failureOf(r *step.Refusal) *Failure {
	f := &Failure{Code: Unavailable, Text: r.Error(), err: r}
	switch {
	case errors.Is(r, fs.ErrPermission):
		f.Code = NoPerm
	case r.Temporary:
		f.Code = TempFail
	case r.Enhanced == "5.1.1" || r.Enhanced == "5.1.4":
		f.Code = NoUser
	case r.Enhanced == "5.1.3" || r.Enhanced == "5.1.7":
		f.Code = DataErr
	}
	return f
}

func isNotify(s string) bool { _, ok := submission.ReadNotify(s); return ok }
func isReturn(s string) bool { _, ok := submission.ReadReturn(s); return ok }
func isEnvelopeID(s string) bool {
	_, ok := submission.ReadEnvelopeID(wire.EncodeXtext(s), false)
	return ok && !wire.HasControl(s)
}
