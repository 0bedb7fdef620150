package eventlog

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/relay/api"
)

// API returns what tells of the listeners of HTTP, in the words of the others.
func (l *Log) API() func(api.Event) {
	return func(e api.Event) {
		switch e := e.(type) {
		case *api.Opened:
			l.metrics.connections.with(e.Client.Listener, "admitted").Inc()
			if l.debugs() {
				l.debug("connection-opened", client(e.Client)...)
			}
		case *api.Refused:
			l.metrics.connections.with(e.Client.Listener, "refused").Inc()
			l.tellOf(zapcore.WarnLevel, "connection-refused", e.Client, zap.String("why", e.Why))
		case *api.TLSFailed:
			l.metrics.tlsFailed.with(e.Client.Listener).Inc()
			l.tellOf(zapcore.WarnLevel, "tls-failed", e.Client, zap.Error(e.Err))
		case *api.SignedIn:
			l.metrics.signIns.with(e.Client.Listener, "accepted").Inc()
			if l.debugs() {
				l.debug("signed-in", client(e.Client, zap.String("mechanism", "token"))...)
			}
		case *api.SignInFailed:
			l.metrics.signIns.with(e.Client.Listener, "refused").Inc()
			l.tellOf(zapcore.WarnLevel, "sign-in-failed", e.Client, zap.String("mechanism", "token"), zap.String("why", e.Why))
		case *api.Abused:
			l.metrics.abused.with(e.Client.Listener).Inc()
			l.tellOf(zapcore.WarnLevel, "client-abuse", e.Client, zap.String("what", e.What))
		case *api.Panicked:
			l.metrics.panics.with().Inc()
			if l.mayTell(zapcore.ErrorLevel, "defect", e.Client) {
				l.error("defect", client(e.Client, zap.String("panic", fmt.Sprint(e.Value)), zap.String("stack", stackText(e.Stack)))...)
			}
		case *api.Said:
			if l.mayTell(zapcore.WarnLevel, "library-said", nil) {
				l.warn("library-said", zap.String("text", e.Text))
			}
		}
	}
}
