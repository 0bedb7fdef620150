package daemon

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"postern/cmd/alert"
	"postern/cmd/control"
	"postern/cmd/doctor"
	"postern/queue"
	"postern/queue/verdict"
	"postern/spool"
)

// The kinds of troubles. docs/alerts.md has them.
const (
	upstreamParked   = "upstream-parked"
	upstreamDown     = "upstream-down"
	upstreamSlowed   = "upstream-slowed"
	upstreamMissing  = "upstream-missing"
	senderRefused    = "sender-refused"
	mailLate         = "mail-late"
	logDropped       = "log-dropped"
	spoolUnreadable  = "spool-unreadable"
	spoolFailing     = "spool-failing"
	spoolFull        = "spool-full"
	diskSpace        = "disk-space"
	diskInodes       = "disk-inodes"
	diskReadOnly     = "disk-read-only"
	pickupUnusable   = "pickup-unusable"
	bounceKept       = "bounce-kept"
	reloadRefused    = "reload-refused"
	rateUsedUp       = "rate-used-up"
	mailLoop         = "mail-loop"
	clockJumped      = "clock-jumped"
	certificateEnds  = "certificate-ends"
	signInEnds       = "sign-in-ends"
	secretEnds       = "client-secret-ends"
	routeSilent      = "route-silent"
	stormHeld        = "storm"
	databaseUnusable = "database-unusable"
)

// broken is a finding about the whole relay because of which it is not healthy.
func broken(kind, text string) finding {
	return finding{weight: grave, Trouble: alert.Trouble{Key: alert.Key{Kind: kind}, Severity: alert.Critical, Text: text,
		Remedy: "Look at the disk and at the log.", Command: "postern doctor"}}
}

// troubled is a finding about an upstream, with its words and what they mean.
func troubled(w weight, kind, upstream string, l *queue.LaneHealth, since time.Time, text string) finding {
	t := alert.Trouble{Key: alert.Key{Kind: kind, Subject: upstream}, Severity: alert.Critical, Since: since, Text: text,
		Words: control.CauseOf(&l.Cause), Remedy: "Find out at which step it fails.", Command: "postern upstream test " + quoted(upstream)}
	if a, ok := verdict.Advise(&l.Cause); ok {
		t.Meaning, t.Remedy = a.Meaning, a.Remedy
	} else if l.Cause.Code == 0 {
		t.Meaning = unanswered[l.Cause.Stage]
	}
	return finding{t, w}
}

// unanswered is what it means that a session ended at a step without an answer.
var unanswered = map[spool.Stage]string{
	spool.StageResolve: "The name of the host is not found: it is written wrong, or the name server does not answer.",
	spool.StageConnect: "Nobody takes the connection: the server is not running, host or port is wrong, or a firewall is in the way.",
	spool.StageTLS:     "The connection stands, and TLS does not: a certificate is not accepted, or the two know no common version.",
	spool.StageGreet:   "The connection stands, and the server says nothing or hangs up: it is overloaded, or keeps this machine out.",
}

// quoted is a name as a shell takes it for one word.
func quoted(name string) string {
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.', r == '@', r == '+', r == '/':
		default:
			return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
		}
	}
	return name
}

func missing(name string, waiting int) finding {
	text := fmt.Sprintf("%d deliveries wait for the upstream %q, which is not configured", waiting, name)
	if waiting == 1 {
		text = fmt.Sprintf("1 delivery waits for the upstream %q, which is not configured", name)
	}
	f := broken(upstreamMissing, text)
	f.Subject, f.Waiting = name, waiting
	f.Remedy = "Define the upstream again and reload, or remove or bounce its mail."
	f.Command = "postern queue list --upstream " + quoted(name)
	return f
}

func refusedSender(upstream string, r *queue.RefusedSender, now time.Time) finding {
	text := fmt.Sprintf("the upstream %q has refused the sender <%s> for %s: %s", upstream, r.Sender, now.Sub(r.Since).Round(time.Second), control.CauseOf(&r.Cause))
	if r.Waiting > 0 {
		text += fmt.Sprintf("; deliveries that wait: %d", r.Waiting)
	}
	t := alert.Trouble{Key: alert.Key{Kind: senderRefused, Subject: upstream + " <" + r.Sender + ">"}, Severity: alert.Warning, Since: r.Since,
		Text: text, Waiting: r.Waiting, Words: control.CauseOf(&r.Cause),
		Remedy: "Give the account the right to send as this address, or have its mail rewritten or routed to another upstream.", Command: "postern explain --from " + quoted(r.Sender)}
	if a, ok := verdict.AdviseSender(r.Sender, &r.Cause); ok {
		t.Meaning, t.Remedy = a.Meaning, a.Remedy
	}
	return finding{t, lesser}
}

// droppedFor is how long after lines of the log were dropped that is told.
const droppedFor = 10 * time.Minute

// judgeLog says whether the log is taken.
func (d *daemon) judgeLog(now time.Time) (all []finding) {
	lag := d.log.Lag()
	d.lag.Lock()
	defer d.lag.Unlock()
	if lag.Dropped > d.lag.dropped {
		d.lag.dropped, d.lag.at = lag.Dropped, now
	}
	const remedy = "Look at what reads standard error of the daemon: journald, a log collector, a pipe, a full disk."
	switch {
	case !lag.Stuck.IsZero():
		f := broken(logDropped, fmt.Sprintf("nobody has taken the lines of the log for %s; %d were dropped since the start", now.Sub(lag.Stuck).Round(time.Second), lag.Dropped))
		f.Severity, f.Since, f.Remedy, f.Command = alert.Warning, lag.Stuck, remedy, "postern status --health"
		all = append(all, f)
	case d.lag.dropped > 0 && now.Sub(d.lag.at) < droppedFor:
		all = append(all, finding{Trouble: alert.Trouble{Key: alert.Key{Kind: logDropped}, Severity: alert.Warning, Since: d.lag.at,
			Text: fmt.Sprintf("%d lines of the log were dropped since the start, the last at %s", lag.Dropped, d.lag.at.Format(time.TimeOnly)), Remedy: remedy, Command: "postern status --health"}})
	}
	return all
}

// judgeSpool says what the spool, its disk and the pickup folder suffer from. unread is
// why what waits could not be asked for; nil: it could.
func (d *daemon) judgeSpool(ctx context.Context, unread error) (all []finding) {
	usage, err := d.store.Usage(ctx)
	if s := d.away(ctx); s != nil && s.Accepting && cmp.Or(err, unread) != nil {
		all = append(all, d.judgeDatabase(s.Messages, cmp.Or(err, unread)))
	} else if unread != nil {
		all = append(all, broken(spoolUnreadable, fmt.Sprintf("the spool cannot be read: %v", unread)))
	} else if err != nil {
		all = append(all, broken(spoolUnreadable, fmt.Sprintf("the spool cannot tell how full it is: %v", err)))
	}
	if err := d.pickup.Trouble(); err != nil {
		all = append(all, finding{weight: lesser, Trouble: alert.Trouble{Key: alert.Key{Kind: pickupUnusable}, Severity: alert.Warning,
			Text:   fmt.Sprintf("the pickup folder cannot be used: %v", err),
			Remedy: "What programs leave there is not sent. Give the folder back to the daemon.", Command: "postern doctor"}})
	}
	if usage.Kept > 0 {
		all = append(all, finding{weight: lesser, Trouble: alert.Trouble{Key: alert.Key{Kind: bounceKept}, Severity: alert.Warning, Text: keptWords(usage.Kept), Waiting: usage.Kept,
			Remedy: "Read why they failed; release or remove them. Where a sender's address is wrong, correct the program that uses it.", Command: "postern queue list --held"}})
	}
	if usage.Failing != nil {
		f := broken(spoolFailing, fmt.Sprintf("the spool cannot be written: %v; new mail is answered 451", usage.Failing))
		f.Remedy = "Look at the disk: dmesg and smartctl. What is in the spool is safe as far as the disk is."
		all = append(all, f)
	}
	return append(all, judgeRoom(&usage)...)
}

// judgeDatabase says why the database of the queue is not used, where something
// stands in for it.
func (d *daemon) judgeDatabase(waiting int, err error) finding {
	why, lasts := d.database.Unopened()
	if !lasts {
		f := broken(spoolUnreadable, fmt.Sprintf("the database of the queue does not answer; new mail is accepted on this machine, where %d wait: %v", waiting, err))
		f.Remedy = "Bring the database back: nothing goes out before. What waits here is lost with this machine's disk."
		return f
	}
	f := broken(databaseUnusable, fmt.Sprintf("%v; new mail is accepted on this machine, where %d wait", why, waiting))
	f.Remedy = "Mend that: nothing goes out before, and it is seen by itself. What waits here is lost with this machine's disk."
	return f
}

// judgeRoom says whether the spool takes mail.
func judgeRoom(u *spool.Usage) []finding {
	f := broken(spoolFull, "the spool is full: new mail is answered 452")
	f.Remedy = "Find out why mail does not go, make room on the disk, or raise spool.max_size."
	f.Command = "postern status"
	switch {
	case u.Full && u.MaxMessages > 0 && u.Messages >= u.MaxMessages:
		f.Text = fmt.Sprintf("the spool holds spool.max_messages = %d: new mail is answered 452", u.MaxMessages)
		f.Remedy = "Find out why mail does not go, or raise spool.max_messages."
	case u.Full:
	default:
		return nil
	}
	return []finding{f}
}

// diskKinds are the findings of the doctor about a disk that are alerts.
var diskKinds = map[doctor.ID]string{doctor.SpoolFileSystem: diskReadOnly, doctor.SpoolSpace: diskSpace, doctor.SpoolInodes: diskInodes}

// judgeDisk says what is wrong with the file system of the spool, also before
// mail is refused for it.
func judgeDisk(dir string, minFree int64) (all []alert.Trouble) {
	for _, f := range doctor.Disk(dir, minFree) {
		t := alert.Trouble{Key: alert.Key{Kind: diskKinds[f.ID], Subject: dir}, Severity: alert.Critical, Text: "the disk of the spool: " + f.Text, Remedy: f.Remedy, Command: "df -h " + quoted(dir)}
		switch {
		case f.ID == doctor.SpoolInodes:
			t.Command = "df -i " + quoted(dir)
		case f.ID == doctor.SpoolFileSystem:
			t.Command = "dmesg --level=err,warn"
		}
		if f.Status == doctor.Warning && f.ID != doctor.SpoolFileSystem { // what it lies on was known when it was chosen
			t.Severity = alert.Warning
		} else if f.Status != doctor.Failed {
			continue
		}
		all = append(all, t)
	}
	return all
}
