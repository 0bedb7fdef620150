package eventlog

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/relay/intake"
	"postern/relay/submission"
)

// Intake returns what tells of the listeners.
func (l *Log) Intake() func(intake.Event) {
	return func(e intake.Event) {
		switch e := e.(type) {
		case *intake.Opened:
			l.metrics.connections.with(e.Client.Listener, "admitted").Inc()
			if l.debugs() {
				l.debug("connection-opened", client(e.Client)...)
			}
		case *intake.Closed:
			if l.debugs() {
				l.debug("connection-closed", client(e.Client, zap.String("why", e.Why),
					zap.Duration("lasted", e.Lasted), zap.Int("accepted", e.Accepted))...)
			}
		case *intake.Refused:
			l.metrics.connections.with(e.Client.Listener, "refused").Inc()
			l.tellOf(zapcore.WarnLevel, "connection-refused", e.Client, zap.String("why", e.Why))
		case *intake.AcceptFailed:
			if l.mayTell(zapcore.ErrorLevel, "accept-failed", nil) {
				l.error("accept-failed", zap.String("listener", e.Listener), zap.Error(e.Err))
			}
		case *intake.Unidentified:
			l.tellOf(zapcore.InfoLevel, "client-unidentified", e.Client, zap.Error(e.Err))
		case *intake.TLSFailed:
			l.metrics.tlsFailed.with(e.Client.Listener).Inc()
			l.tellOf(zapcore.WarnLevel, "tls-failed", e.Client, zap.Error(e.Err))
		case *intake.SignedIn:
			l.metrics.signIns.with(e.Client.Listener, "accepted").Inc()
			if l.debugs() {
				l.debug("signed-in", client(named(e.Client, e.User), zap.String("mechanism", e.Mechanism))...)
			}
		case *intake.SignInFailed:
			l.signInFailed(e)
		case *intake.Abused:
			l.metrics.abused.with(e.Client.Listener).Inc()
			l.tellOf(zapcore.WarnLevel, "client-abuse", e.Client, zap.String("what", e.What))
		case *intake.Panicked:
			l.metrics.panics.with().Inc()
			if l.mayTell(zapcore.ErrorLevel, "defect", e.Client) {
				l.error("defect", client(e.Client, zap.String("panic", fmt.Sprint(e.Value)), zap.String("stack", stackText(e.Stack)))...)
			}
		}
	}
}

func (l *Log) signInFailed(e *intake.SignInFailed) {
	l.metrics.signIns.with(e.Client.Listener, "refused").Inc()
	// It is withheld by the origin of the client: anybody can give a name.
	if l.mayTell(zapcore.WarnLevel, "sign-in-failed", e.Client) {
		l.warn("sign-in-failed", client(named(e.Client, e.User), zap.String("mechanism", e.Mechanism), zap.String("why", e.Why))...)
	}
}

// named is a client with the user that it says it is.
func named(c *submission.Client, user string) *submission.Client {
	other := *c
	other.User = user
	return &other
}

// tellOf writes a line about a client, unless too many of its kind were.
func (l *Log) tellOf(level zapcore.Level, event string, c *submission.Client, more ...zap.Field) {
	if l.mayTell(level, event, c) {
		l.write(level, event, client(c, more...)...)
	}
}
