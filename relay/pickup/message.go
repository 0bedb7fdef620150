package pickup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"slices"
	"strings"

	"postern/config"
	"postern/config/wire"
	"postern/relay/origin"
	"postern/relay/submission"
)

// Why a file is not taken.
var (
	errKind    = errors.New("it is no regular file")
	errLinks   = errors.New("it has a second name (a hard link), so that its owner may not be who put it here")
	errChanged = errors.New("it has changed")
)

// maxHead is how many bytes of a header are looked at for addresses; more is no
// mail.
const maxHead = 256 << 10

// client is who sends, by the owner of a file.
func (w *watch) client(owner uint32) *submission.Client {
	user := nameOf(owner)
	key := origin.Local(owner)
	return &submission.Client{
		Listener: config.PickupListener, Peer: "pickup:" + wire.Line(user), UnixUser: user, Settings: w.set.message,
		Connection: func() origin.Key { return key },
	}
}

// take hands in one file, and removes it.
func (w *watch) take(ctx context.Context, c *submission.Client, f finding) {
	if max := c.Settings.MaxSize; f.info.Mode().IsRegular() && f.info.Size() > max+maxHead {
		w.setAside(c, f, submission.TooLarge(f.info.Size(), max).Sentence)
		return
	}
	if !f.info.Mode().IsRegular() { // a pipe is not even opened
		w.setAside(c, f, errKind.Error())
		return
	}
	file, key, err := w.folder.open(f.name, f.info)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errChanged), isBusy(err), scarce(err):
		w.again()
		return
	default:
		w.setAside(c, f, "it cannot be read: "+err.Error())
		return
	}
	err = w.submit(ctx, c, f, file, key)
	file.Close()
	var refused *submission.Refusal
	switch {
	case err == nil:
		w.taken()
		if err := w.folder.remove(f.name, identityOf(f.info)); err != nil {
			w.mu.Lock()
			w.left[f.name] = look{identity: identityOf(f.info)}
			w.mu.Unlock()
			w.server.events(&SetAside{c, f.name, "it was handed in, and cannot be removed", err})
		}
	case ctx.Err() != nil, errors.Is(err, errChanged):
		w.again()
	case errors.As(err, &refused) && refused.Temporary() && refused.Enhanced != [3]int{4, 5, 3}: // too many recipients: whenever it comes
		w.later(f, refused)
	case errors.As(err, &refused):
		w.setAside(c, f, refused.Error())
	default:
		w.setAside(c, f, err.Error())
	}
}

// again has the folder read once more.
func (w *watch) again() {
	w.mu.Lock()
	w.more = true
	w.mu.Unlock()
}

// submit hands in the content of an open file. The error is a
// *submission.Refusal, errChanged, or says what is wrong with the file.
func (w *watch) submit(ctx context.Context, c *submission.Client, f finding, file *os.File, key string) error {
	text := wire.NewCRLF(io.LimitReader(file, f.info.Size()))
	head, err := header(text)
	if err != nil {
		return err
	}
	env, rest, err := readEnvelope(head)
	if err != nil {
		return err
	}
	env.Key, env.Written, env.Protocol = key, f.info.ModTime(), "PICKUP" // none is registered (RFC 3848)
	m, err := w.server.submission.Begin(ctx, c, env.Envelope)
	if r := submission.AsRefusal(err); err != nil && r.Enhanced == [3]int{5, 1, 7} && env.From != "" && !strings.Contains(env.From, "@") {
		// As sendmail does it: there is no domain in [submission] to complete it.
		env.From += "@" + w.set.host
		m, err = w.server.submission.Begin(ctx, c, env.Envelope)
	}
	if err != nil {
		return err
	}
	defer m.Discard()
	if !m.Repeated() {
		if err := m.Add(env.to...); err != nil {
			return err
		}
		if _, err := m.Write(rest); err != nil {
			return err
		}
		if _, err := io.Copy(m, text); err != nil {
			return err
		}
		if now, err := file.Stat(); err != nil || identityOf(now) != identityOf(f.info) {
			return errChanged // somebody writes to it
		}
	}
	_, err = m.Commit(ctx)
	return err
}

// header reads until the header is whole, and returns that with whatever of
// the body came along.
func header(t *wire.CRLF) (head []byte, err error) {
	for from, found := 0, false; !found; {
		piece, err := t.Next()
		if err == io.EOF {
			return head, nil
		}
		if err != nil {
			return nil, fmt.Errorf("it cannot be read: %w", err)
		}
		head = append(head, piece...)
		if from, _, found = wire.HeaderEnd(bytes.TrimPrefix(head, bom), from); !found && len(head) > maxHead {
			return nil, errors.New("its header is larger than the limit of 256 KiB")
		}
	}
	return head, nil
}

var bom = []byte("\xEF\xBB\xBF")

// envelope is that of a file.
type envelope struct {
	submission.Envelope
	to []submission.Recipient
}

// readEnvelope reads the fields of head that make an envelope: X-Sender and
// X-Receiver, as Microsoft's servers have them in their pickup and replay
// folders, else those that recipients see. rest is head without the former.
func readEnvelope(head []byte) (e *envelope, rest []byte, err error) {
	head = bytes.TrimPrefix(head, bom)
	end, _, found := wire.HeaderEnd(head, 0)
	if !found {
		end = len(head)
	}
	e = &envelope{}
	var (
		sender, receivers int
		seen              = map[string][]string{}
		kept              int
		failed            error
	)
	wire.EachField(head[:end], func(name, value []byte, start, stop int) {
		lower := strings.ToLower(string(name))
		text := strings.TrimSpace(wire.Unfold(value))
		var read error
		switch lower {
		case "x-sender":
			sender++
			read = e.sender(text)
		case "x-receiver":
			receivers++
			read = e.receiver(text)
		case "x-postern-remark":
			e.Remark = wire.Text(text, 400)
		case "from", "sender", "to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc":
			seen[lower] = append(seen[lower], text)
			return
		default:
			return
		}
		if read != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", wire.Line(string(name)), read)
		}
		rest = append(rest, head[kept:start]...)
		kept = stop
	})
	rest = append(rest, head[kept:]...)
	switch {
	case failed != nil:
		return nil, nil, failed
	case sender > 1:
		return nil, nil, errors.New("it has more than one X-Sender")
	case sender == 0:
		if err := e.author(seen); err != nil {
			return nil, nil, err
		}
	}
	if receivers == 0 {
		if err := e.visible(seen); err != nil {
			return nil, nil, err
		}
	}
	return e, rest, nil
}

// path reads "<address> PARAMETERS", with a name before it, or without
// brackets.
func path(text string) (name, address, params string, err error) {
	quoted, at := false, -1
	for i := 0; i < len(text) && at < 0; i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			at = i
		}
	}
	if at < 0 {
		address, params, _ = strings.Cut(text, " ")
		return "", address, strings.TrimSpace(params), nil
	}
	address, params, fault := wire.CutPath(text[at:], false)
	if fault != wire.NoFault {
		return "", "", "", fmt.Errorf("%s is not an address", wire.Quote(text))
	}
	return strings.TrimSpace(text[:at]), address, strings.TrimSpace(params), nil
}

func (e *envelope) sender(text string) error {
	name, address, params, err := path(text)
	if err != nil {
		return err
	}
	if e.Name, err = new(mime.WordDecoder).DecodeHeader(strings.Trim(name, `"`)); err != nil {
		e.Name = ""
	}
	e.Name = wire.Text(strings.ReplaceAll(e.Name, `\`, ""), 100)
	if address != "" {
		if e.From, err = e.mailbox(address); err != nil {
			return err
		}
	}
	for p, ok := range wire.Parameters(params) {
		switch {
		case ok && p.Key == "RET":
			e.Return, ok = submission.ReadReturn(p.Value)
		case ok && p.Key == "ENVID":
			e.EnvelopeID, ok = submission.ReadEnvelopeID(p.Value, true)
		case ok && slices.Contains([]string{"BODY", "AUTH", "SIZE"}, p.Key): // the content tells, and nobody else's word counts
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("%s is not understood", wire.Quote(params))
		}
	}
	return nil
}

func (e *envelope) receiver(text string) error {
	_, address, params, err := path(text)
	if err != nil {
		return err
	}
	var to submission.Recipient
	if to.Address, err = e.mailbox(address); err != nil {
		return err
	}
	for p, ok := range wire.Parameters(params) {
		switch {
		case ok && p.Key == "NOTIFY":
			to.Notify, ok = submission.ReadNotify(p.Value)
		case ok && p.Key == "ORCPT":
			to.ORcpt, ok = submission.ReadORcpt(p.Value, true)
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("%s is not understood", wire.Quote(params))
		}
	}
	e.to = append(e.to, to)
	return nil
}

func (e *envelope) mailbox(text string) (string, error) {
	address, utf8, ok := wire.Mailbox(text)
	if !ok {
		return "", fmt.Errorf("%s is not an address", wire.Quote(text))
	}
	e.SMTPUTF8 = e.SMTPUTF8 || utf8
	return address, nil
}

// author is the sender where there is no X-Sender.
func (e *envelope) author(seen map[string][]string) error {
	field := "from"
	if len(seen["sender"]) > 0 {
		field = "sender"
	}
	for _, list := range seen[field] {
		all, err := wire.Addresses(list)
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		if len(all) > 0 {
			e.From, err = e.mailbox(all[0])
			return err
		}
	}
	return errors.New("it has no sender: neither X-Sender nor From")
}

// visible are the recipients where there is no X-Receiver.
func (e *envelope) visible(seen map[string][]string) error {
	if len(seen["resent-to"])+len(seen["resent-cc"])+len(seen["resent-bcc"]) > 0 {
		return errors.New("it is sent anew (Resent-): name the recipients by X-Receiver")
	}
	for _, field := range []string{"to", "cc", "bcc"} {
		for _, list := range seen[field] {
			all, err := wire.Addresses(list)
			if err != nil {
				return fmt.Errorf("%s: %w", field, err)
			}
			for _, one := range all {
				address, err := e.mailbox(one)
				if err != nil {
					return fmt.Errorf("%s: %w", field, err)
				}
				e.to = append(e.to, submission.Recipient{Address: address})
			}
		}
	}
	if len(e.to) == 0 {
		return errors.New("it has no recipient: neither X-Receiver nor To, Cc or Bcc")
	}
	return nil
}
