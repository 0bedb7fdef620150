package eventlog

import (
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/relay/intake"
	"postern/relay/submission"
)

// intakeEvents tells of the listeners.
type intakeEvents struct{ log *Log }

// Intake returns the events of the listeners.
func (l *Log) Intake() intake.Events { return intakeEvents{l} }

func (i intakeEvents) ConnectionOpened(p submission.Client) {
	i.log.metrics.connections.with(p.Listener, "admitted").Inc()
	if i.log.debugs() {
		i.log.debug("connection-opened", client(&p)...)
	}
}

func (i intakeEvents) ConnectionClosed(p submission.Client, why string, lasted time.Duration, accepted int) {
	if i.log.debugs() {
		i.log.debug("connection-closed", client(&p, zap.String("why", why),
			zap.Duration("lasted", lasted), zap.Int("accepted", accepted))...)
	}
}

func (i intakeEvents) ConnectionRefused(p submission.Client, why string) {
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

func (i intakeEvents) Unidentified(p submission.Client, err error) {
	if i.log.mayTell(zapcore.InfoLevel, "client-unidentified", &p) {
		i.log.info("client-unidentified", client(&p, zap.Error(err))...)
	}
}

func (i intakeEvents) TLSFailed(p submission.Client, err error) {
	i.log.metrics.tlsFailed.with(p.Listener).Inc()
	if i.log.mayTell(zapcore.WarnLevel, "tls-failed", &p) {
		i.log.warn("tls-failed", client(&p, zap.Error(err))...)
	}
}

func (i intakeEvents) SignedIn(p submission.Client, mechanism, user string) {
	i.log.metrics.signIns.with(p.Listener, "accepted").Inc()
	if i.log.debugs() {
		p.User = user
		i.log.debug("signed-in", client(&p, zap.String("mechanism", mechanism))...)
	}
}

func (i intakeEvents) SignInFailed(p submission.Client, mechanism, user, why string) {
	i.log.metrics.signIns.with(p.Listener, "refused").Inc()
	if !i.log.mayTell(zapcore.WarnLevel, "sign-in-failed", &p) {
		return
	}
	p.User = user // after p was asked for its origin: anybody can give a name
	i.log.warn("sign-in-failed", client(&p, zap.String("mechanism", mechanism), zap.String("why", why))...)
}

func (i intakeEvents) Abused(p submission.Client, what string) {
	i.log.metrics.abused.with(p.Listener).Inc()
	if i.log.mayTell(zapcore.WarnLevel, "client-abuse", &p) {
		i.log.warn("client-abuse", client(&p, zap.String("what", what))...)
	}
}

func (i intakeEvents) Panicked(p submission.Client, value any, stack []byte) {
	i.log.metrics.panics.with().Inc()
	if !i.log.mayTell(zapcore.ErrorLevel, "defect", &p) {
		return
	}
	i.log.error("defect", client(&p, zap.String("panic", fmt.Sprint(value)), zap.String("stack", stackText(stack)))...)
}
