package eventlog

import (
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/relay/intake"
)

// intakeEvents tells of the doors.
type intakeEvents struct{ log *Log }

// Intake returns the events of the doors.
func (l *Log) Intake() intake.Events { return intakeEvents{l} }

// client is whoever is at the other end of a connection.
func client(p *intake.PeerInfo, more ...zap.Field) []zap.Field {
	return append(appendClient(make([]zap.Field, 0, 6+len(more)), p), more...)
}

func appendClient(fields []zap.Field, p *intake.PeerInfo) []zap.Field {
	fields = append(fields, zap.String("listener", p.Listener), zap.String("peer", p.Peer))
	for _, f := range [...]struct{ key, value string }{
		{"helo", p.Helo}, {"user", p.User}, {"unix_user", p.UnixUser}, {"tls", p.TLS},
	} {
		if f.value != "" {
			fields = append(fields, zap.String(f.key, f.value))
		}
	}
	return fields
}

func (i intakeEvents) ConnectionOpened(p intake.PeerInfo) {
	i.log.metrics.connections.with(p.Listener, "admitted").Inc()
	if i.log.debugs() {
		i.log.debug("connection-opened", client(&p)...)
	}
}

func (i intakeEvents) ConnectionClosed(p intake.PeerInfo, why string, lasted time.Duration, accepted int) {
	if i.log.debugs() {
		i.log.debug("connection-closed", client(&p, zap.String("why", why),
			zap.Duration("lasted", lasted), zap.Int("accepted", accepted))...)
	}
}

func (i intakeEvents) ConnectionRefused(p intake.PeerInfo, why string) {
	i.log.metrics.connections.with(p.Listener, "refused").Inc()
	if i.log.mayTell(zapcore.WarnLevel, "connection-refused", &p) {
		i.log.warn("connection-refused", client(&p, zap.String("why", why))...)
	}
}

func (i intakeEvents) AcceptFailed(listener string, err error) {
	if i.log.mayTell(zapcore.ErrorLevel, "accept-failed", nil) {
		i.log.error("accept-failed", zap.String("listener", listener), zap.Error(err))
	}
}

func (i intakeEvents) Unidentified(p intake.PeerInfo, err error) {
	if i.log.mayTell(zapcore.InfoLevel, "client-unidentified", &p) {
		i.log.info("client-unidentified", client(&p, zap.Error(err))...)
	}
}

func (i intakeEvents) TLSFailed(p intake.PeerInfo, err error) {
	i.log.metrics.tlsFailed.with(p.Listener).Inc()
	if i.log.mayTell(zapcore.WarnLevel, "tls-failed", &p) {
		i.log.warn("tls-failed", client(&p, zap.Error(err))...)
	}
}

func (i intakeEvents) SignedIn(p intake.PeerInfo, mechanism, user string) {
	i.log.metrics.signIns.with(p.Listener, "accepted").Inc()
	if i.log.debugs() {
		p.User = user
		i.log.debug("signed-in", client(&p, zap.String("mechanism", mechanism))...)
	}
}

func (i intakeEvents) SignInFailed(p intake.PeerInfo, mechanism, user, why string) {
	i.log.metrics.signIns.with(p.Listener, "refused").Inc()
	if !i.log.mayTell(zapcore.WarnLevel, "sign-in-failed", &p) {
		return
	}
	p.User = user // after p was asked for its origin: anybody can give a name
	i.log.warn("sign-in-failed", client(&p, zap.String("mechanism", mechanism), zap.String("why", why))...)
}

func (i intakeEvents) MailRefused(p intake.PeerInfo, r intake.Refusal) {
	code := strconv.Itoa(r.Code)
	i.log.metrics.refused.with(p.Listener, r.Stage, code).Inc()
	// The stage and the code, so that recipients whom no route takes don't hide
	// a disk that fails.
	if !i.log.mayTell(zapcore.WarnLevel, "mail-refused "+r.Stage+" "+code, &p) {
		return
	}
	fields := client(&p, zap.String("stage", r.Stage), zap.Int("code", r.Code),
		zap.String("enhanced", r.Enhanced), zap.String("text", r.Text), zap.String("from", r.From))
	if r.To != "" {
		fields = append(fields, zap.String("to", r.To))
	}
	if r.Cause != nil {
		fields = append(fields, zap.NamedError("cause", r.Cause))
	}
	i.log.warn("mail-refused", fields...)
}

func (i intakeEvents) MessageAccepted(p intake.PeerInfo, a intake.Accepted) {
	m := i.log.metrics
	m.accepted.with(p.Listener).Inc()
	m.acceptedRecipients.with(p.Listener).Add(float64(a.Recipients))
	m.acceptedBytes.with(p.Listener).Add(float64(a.Size))
	m.acceptance.with(p.Listener).Observe(a.Took.Seconds())
	i.log.writeOften(zapcore.InfoLevel, "message-accepted", func(fields []zap.Field) []zap.Field {
		return append(appendClient(fields, &p), id(a.ID), zap.String("from", a.From),
			zap.Int("recipients", a.Recipients), zap.Int64("size", a.Size),
			zap.String("message_id", a.MessageID), zap.Duration("took", a.Took))
	})
}

func (i intakeEvents) Abused(p intake.PeerInfo, what string) {
	i.log.metrics.abused.with(p.Listener).Inc()
	if i.log.mayTell(zapcore.WarnLevel, "client-abuse", &p) {
		i.log.warn("client-abuse", client(&p, zap.String("what", what))...)
	}
}

func (i intakeEvents) Panicked(p intake.PeerInfo, value any, stack []byte) {
	i.log.metrics.panics.with().Inc()
	if !i.log.mayTell(zapcore.ErrorLevel, "defect", &p) {
		return
	}
	i.log.error("defect", client(&p, zap.String("panic", fmt.Sprint(value)), zap.String("stack", stackText(stack)))...)
}
