package eventlog

import (
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/config"
	"postern/relay/submission"
)

// Submission returns what tells of messages that were accepted and refused.
func (l *Log) Submission() func(submission.Event) {
	return func(e submission.Event) {
		switch e := e.(type) {
		case *submission.Accepted:
			l.messageAccepted(e)
		case *submission.Refused:
			l.mailRefused(e)
		case *submission.Diverted:
			l.mailDiverted(e)
		case *submission.AliasesRead:
			l.info("aliases-read", zap.String("file", e.File), zap.Int("names", e.Names))
		case *submission.AliasesKept:
			l.warn("aliases-kept", zap.String("file", e.File), zap.Int("names", e.Names), zap.String("text", e.Err.Error()))
		}
	}
}

// shownRecipients bounds the recipients of a line.
const shownRecipients = 20

func (l *Log) mailDiverted(e *submission.Diverted) {
	l.metrics.diverted.with(e.Instead).Add(float64(len(e.To)))
	to := e.To[:min(len(e.To), shownRecipients)]
	fields := client(e.Client, zap.String("from", e.From), zap.String("route", e.Route), zap.String("instead", e.Instead),
		zap.Int("recipients", len(e.To)), zap.String("to", strings.Join(to, ", ")))
	if e.ID != 0 {
		fields = append(fields, id(e.ID))
	}
	if e.Copy {
		fields = append(fields, zap.Bool("copy", true))
	}
	if e.Copy && e.Instead == string(config.OtherwiseRefuse) { // an archive lacks something
		l.warn("mail-diverted", fields...)
		return
	}
	l.info("mail-diverted", fields...)
}

func (l *Log) mailRefused(e *submission.Refused) {
	p, r := e.Client, e.Refusal
	code := strconv.Itoa(r.Code)
	l.metrics.refused.with(p.Listener, string(e.Stage), code).Inc()
	// The stage and the code, so that recipients whom no route takes don't hide
	// a disk that fails.
	if !l.mayTell(zapcore.WarnLevel, "mail-refused "+string(e.Stage)+" "+code, p) {
		return
	}
	fields := client(p, zap.String("stage", string(e.Stage)), zap.Int("code", r.Code),
		zap.String("enhanced", r.Status()), zap.String("text", r.Sentence), zap.String("from", e.From))
	if r.Recipient != "" {
		fields = append(fields, zap.String("to", r.Recipient))
	}
	if r.Cause != nil {
		fields = append(fields, zap.NamedError("cause", r.Cause))
	}
	l.warn("mail-refused", fields...)
}

func (l *Log) messageAccepted(e *submission.Accepted) {
	p, m := e.Client, l.metrics
	if e.Repeated {
		m.repeated.with(p.Listener).Inc()
	} else {
		m.accepted.with(p.Listener).Inc()
		m.totals.accepted.Add(1)
		m.acceptedRecipients.with(p.Listener).Add(float64(e.Recipients))
		m.acceptedBytes.with(p.Listener).Add(float64(e.Size))
		m.acceptance.with(p.Listener).Observe(e.Took.Seconds())
	}
	if e.Storm != 0 {
		m.stormHeld.with(p.Listener).Inc()
	}
	l.writeOften(zapcore.InfoLevel, "message-accepted", func(fields []zap.Field) []zap.Field {
		fields = append(appendClient(fields, p), id(e.ID), zap.String("from", e.From),
			zap.Int("recipients", e.Recipients), zap.Int64("size", e.Size),
			zap.String("message_id", e.MessageID), zap.Duration("took", e.Took))
		if e.Copies > 0 {
			fields = append(fields, zap.Int("copies", e.Copies))
		}
		if e.Archived != "" {
			fields = append(fields, zap.String("archived", e.Archived))
		}
		if e.Repeated {
			fields = append(fields, zap.Bool("repeated", true))
		}
		if e.Storm != 0 {
			fields = append(fields, zap.String("storm", e.Storm.String()))
		}
		if e.Remark != "" {
			fields = append(fields, zap.String("remark", e.Remark))
		}
		if !e.Written.IsZero() {
			fields = append(fields, zap.Duration("lay", time.Since(e.Written)))
		}
		return fields
	})
}

// client is whoever is at the other end of a connection.
func client(p *submission.Client, more ...zap.Field) []zap.Field {
	return append(appendClient(make([]zap.Field, 0, 6+len(more)), p), more...)
}

func appendClient(fields []zap.Field, p *submission.Client) []zap.Field {
	fields = append(fields, zap.String("listener", p.Listener), zap.String("peer", p.Peer))
	for _, f := range [...]struct{ key, value string }{
		{"helo", p.Helo}, {"user", p.User}, {"unix_user", p.UnixUser}, {"tls", p.TLSVersion()},
	} {
		if f.value != "" {
			fields = append(fields, zap.String(f.key, f.value))
		}
	}
	return fields
}
