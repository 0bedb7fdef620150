package eventlog

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	web "postern/cmd/console"
	"postern/relay/submission"
)

// consoleListener is the way in of who uses the web console, for what is
// withheld of the lines that one origin causes.
const consoleListener = "console"

// Console returns what tells of the web console. What its users do to messages
// and upstreams is told by the queue, under their names.
func (l *Log) Console() func(web.Event) {
	return func(e web.Event) {
		switch e := e.(type) {
		case *web.SignedIn:
			l.metrics.signIns.with(consoleListener, "accepted").Inc()
			l.info("console-signed-in", zap.String("peer", e.Client.Peer), zap.String("user", e.User), zap.String("role", string(e.Role)))
		case *web.SignedOut:
			l.info("console-signed-out", zap.String("peer", e.Client.Peer), zap.String("user", e.User))
		case *web.SignInFailed:
			l.metrics.signIns.with(consoleListener, "refused").Inc()
			if l.mayTell(zapcore.WarnLevel, "console-sign-in-failed", fromConsole(&e.Client)) {
				l.warn("console-sign-in-failed", zap.String("peer", e.Client.Peer), zap.String("user", e.User), zap.String("why", e.Why))
			}
		case *web.Refused:
			if l.mayTell(zapcore.WarnLevel, "console-refused", fromConsole(&e.Client)) {
				l.warn("console-refused", zap.String("peer", e.Client.Peer), zap.String("why", e.Why))
			}
		case *web.TLSFailed:
			l.metrics.tlsFailed.with(consoleListener).Inc()
			if l.mayTell(zapcore.WarnLevel, "console-tls-failed", fromConsole(&e.Client)) {
				l.warn("console-tls-failed", zap.String("peer", e.Client.Peer), zap.Error(e.Err))
			}
		case *web.CaptureRemoved:
			l.info("captured-removed", zap.String("captured", e.Name), zap.String("operator", operatorOf(e.User)), zap.String("peer", e.Client.Peer))
		case *web.CaptureReleased:
			l.metrics.accepted.with(consoleListener).Inc()
			l.metrics.totals.accepted.Add(1)
			l.metrics.acceptedRecipients.with(consoleListener).Add(float64(e.Recipients))
			l.info("captured-released", id(e.ID), zap.String("from", e.From), zap.Int("recipients", e.Recipients), zap.String("upstream", e.Upstream),
				zap.String("captured", e.Name), zap.String("operator", operatorOf(e.User)), zap.String("peer", e.Client.Peer))
		case *web.LoginBegun:
			l.info("login-begun", zap.String("upstream", e.Upstream), zap.String("operator", operatorOf(e.User)), zap.String("peer", e.Client.Peer))
		case *web.Defined:
			l.info("definition-changed", zap.String("kind", e.Kind), zap.String("name", e.Name), zap.String("file", e.File), zap.Bool("removed", e.Removed), zap.Bool("by_hand", e.ByHand),
				zap.String("operator", operatorOf(e.User)), zap.String("peer", e.Client.Peer))
		case *web.BookChanged:
			l.info("book-changed", zap.String("book", e.Book), zap.String("what", e.What), zap.String("who", e.Who),
				zap.String("operator", operatorOf(e.User)), zap.String("peer", e.Client.Peer))
		case *web.Failed:
			if l.mayTell(zapcore.ErrorLevel, "console-failed", nil) {
				l.error("console-failed", zap.String("error", stackText([]byte(e.Text))))
			}
		}
	}
}

// operatorOf is what the log calls a user of the console.
func operatorOf(user string) string { return consoleListener + ":" + user }

func fromConsole(c *web.Client) *submission.Client {
	return &submission.Client{Listener: consoleListener, Peer: c.Peer, Connection: c.Connection}
}
