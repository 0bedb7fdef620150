package eventlog

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/config"
	"postern/relay/memory"
	"postern/spool"
)

// Process tells of the process itself: its start, its configuration, its end.
type Process struct{ log *Log }

// Process returns the events of the process.
func (l *Log) Process() Process { return Process{l} }

// Starting is the first line.
func (p Process) Starting(version, config string, pid int) {
	p.log.info("starting", zap.String("version", version), zap.String("config", config), zap.Int("pid", pid))
}

// AsRoot warns that the process has rights that it does not need.
func (p Process) AsRoot(hint string) {
	p.log.warn("running-as-root", zap.String("hint", hint))
}

// ConfigWarning tells of a doubtful thing in the configuration.
func (p Process) ConfigWarning(w config.Problem) {
	p.log.problem(zapcore.WarnLevel, "config-warning", w)
}

// Capturing tells that mail for these upstreams does not leave the machine.
func (p Process) Capturing(upstreams []string, maildir string) {
	p.log.info("mail-stays-here", list("upstreams", upstreams), zap.String("maildir", maildir))
}

// Listening tells that a socket is open; what is "smtp", "control" or "metrics".
func (p Process) Listening(what, name, address, tls string) {
	p.log.info("listening", zap.String("what", what), some("listener", name),
		zap.String("address", address), zap.String("tls", tls))
}

// LogDropped tells that so many lines were dropped since then, because nobody
// took them.
func (p Process) LogDropped(lines int, since time.Time) {
	p.log.warn("log-lines-dropped", zap.Int("lines", lines), moment("since", since))
}

// HistoryFailed tells that the history of messages can't be written for now.
func (p Process) HistoryFailed(err error) {
	p.log.error("history-failed", zap.Error(err))
}

// LinesWithheld tells that so many more lines of a kind were not written, in a
// minute or less, because those that the origin had caused already were enough.
func (p Process) LinesWithheld(origin, kind string, count int) {
	p.log.warn("lines-withheld", some("origin", origin), zap.String("kind", kind), zap.Int("count", count))
}

// Confined tells where alone this process can write; empty: anywhere that its
// user can.
func (p Process) Confined(folders []string) {
	p.log.info("confined", zap.Bool("confined", len(folders) > 0), list("writable", folders))
}

// Ready tells that everything runs, after so long a start.
func (p Process) Ready(took time.Duration) { p.log.info("ready", zap.Duration("took", took)) }

// StartFailed tells why the process ends without having started, with this
// exit code.
func (p Process) StartFailed(text, hint string, code int) {
	p.log.error("start-failed", zap.String("text", text), some("hint", hint), zap.Int("exit_code", code))
}

// Reloaded tells of a new configuration in force. Kept names what is
// different in the file and only changes at a restart.
func (p Process) Reloaded(config, operator string, kept []string) {
	p.log.metrics.reloads.with("taken").Inc()
	p.log.info("config-reloaded", zap.String("config", config), zap.String("operator", operator), list("kept", kept))
}

// ReloadRefused tells that a configuration was not taken.
func (p Process) ReloadRefused(config, operator string, problems int, reason string) {
	p.log.metrics.reloads.with("refused").Inc()
	p.log.error("config-refused", zap.String("config", config), zap.String("operator", operator),
		zap.Int("problems", problems), zap.String("reason", reason))
}

// ConfigProblem tells one reason why.
func (p Process) ConfigProblem(w config.Problem) {
	p.log.problem(zapcore.ErrorLevel, "config-problem", w)
}

// ForgotTLS tells that an operator had what was remembered about the TLS of
// an upstream forgotten; facts are empty where they could not be read.
func (p Process) ForgotTLS(upstream, operator string, facts memory.Facts) {
	way := ""
	if facts.Way != nil {
		way = facts.Way.String()
	}
	p.log.info("upstream-tls-forgotten", zap.String("upstream", upstream), zap.String("operator", operator),
		moment("offered", facts.Offered), moment("valid", facts.Valid), some("way", way))
}

// Adopted tells that a message of another relay's spool is in this one. old was
// its ID there.
func (p Process) Adopted(id, old spool.ID, env *spool.Envelope, operator string) {
	p.log.info("message-adopted", zap.String("id", id.String()), zap.String("old_id", old.String()), zap.String("from", env.From),
		zap.Int("recipients", len(env.Recipients)), moment("accepted", env.Accepted), zap.String("operator", operator))
}

// PartFailed tells that a part of the process ended by itself, or badly.
func (p Process) PartFailed(part string, err error) {
	p.log.error("part-failed", zap.String("part", part), zap.Error(err))
}

// ControlFailed tells that the control socket, the one for those who may look
// or the address of the metrics could not accept a connection, or that a bug
// ended an answer.
func (p Process) ControlFailed(text string) {
	if p.log.mayTell(zapcore.ErrorLevel, "control-failed", nil) {
		p.log.error("control-failed", zap.String("error", stackText([]byte(text))))
	}
}

// LibrarySaid tells what a library would have written to standard error by
// itself. Words of strangers can be in it, and nobody can say whose.
func (p Process) LibrarySaid(text string) {
	if p.log.mayTell(zapcore.WarnLevel, "library-said", nil) {
		p.log.warn("library-said", zap.String("text", stackText([]byte(text))))
	}
}

// Stopping tells why the process begins to end.
func (p Process) Stopping(why string, grace time.Duration) {
	p.log.info("stopping", zap.String("why", why), zap.Duration("grace", grace))
}

// Stopped is the last line. In order means that nothing was cut off.
func (p Process) Stopped(took time.Duration, inOrder bool) {
	p.log.tellWithheld()
	p.log.info("stopped", zap.Duration("took", took), zap.Bool("in_order", inOrder))
}

func (l *Log) problem(level zapcore.Level, event string, w config.Problem) {
	l.write(level, event, zap.String("file", w.File), zap.Int("line", w.Line), zap.String("key", w.Key),
		zap.String("text", w.Text), zap.String("hint", w.Hint))
}
