package eventlog

import (
	"time"

	"go.uber.org/zap/zapcore"

	"postern/relay/origin"
	"postern/relay/submission"
)

// withheldFor is how long lines of strangers are counted together.
const withheldFor = time.Minute

// withheld bounds the lines that anybody can cause who may connect. What is
// told about a message that was accepted never comes here, nor does a metric.
type withheld struct {
	lines *origin.Lines
	timer *time.Timer // runs while lines has something to End
}

func newWithheld(end func()) withheld {
	w := withheld{lines: origin.NewLines(), timer: time.AfterFunc(withheldFor, end)}
	w.timer.Stop()
	return w
}

// mayTell reports whether a line that p causes is to be written; nil: nobody
// can say who does. kind is the event, and what else is to be told apart.
func (l *Log) mayTell(level zapcore.Level, kind string, p *submission.Client) bool {
	switch {
	case l.debugs():
		return true // debug is for looking on, and tells everything
	case !l.enabled(level):
		return false
	}
	var from origin.Key
	if p != nil {
		from = p.Origin()
	}
	told, first := l.withheld.lines.Take(from, kind)
	if first {
		l.withheld.timer.Reset(withheldFor)
	}
	if !told {
		l.metrics.withheld.with().Inc()
	}
	return told
}

// tellWithheld tells how many lines were not written, and begins anew.
func (l *Log) tellWithheld() {
	l.withheld.timer.Stop()
	for _, u := range l.withheld.lines.End() {
		l.Process().LinesWithheld(u.Origin, u.Kind, u.Count)
	}
}
