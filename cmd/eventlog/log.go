// Package eventlog is the one vocabulary of events: what the packages have to
// tell, as log lines on standard error and as Prometheus metrics.
//
// Each package declares its events as types, and takes a function that is told
// of them, which a method of Log makes. What the process itself has to tell are
// methods of Process. Every event has one fixed message and fixed fields,
// written down in docs/events.md; a test compares that page with what the code
// emits.
//
// The package never decides anything, never writes a secret, and never writes
// a raw control byte: all text passes clean on its way out, whoever wrote it.
package eventlog

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/config/wire"
)

// Options say how the log is written.
type Options struct {
	Level    string // debug | info | warn | error
	Format   string // auto | json | console
	Terminal bool   // the writer is a terminal: auto means console
}

// Log writes events and counts them. Its methods may be called concurrently.
type Log struct {
	zap      *zap.Logger
	out      *lines
	json     bool
	level    zap.AtomicLevel
	metrics  *metrics
	sink     *sink
	withheld withheld
}

// New makes a log that writes to w. Every line is one Write, made before the
// event's method returns as long as w takes it without waiting: what was told
// before a crash is in the log. A w that has stopped taking lines holds nobody
// up: they wait in a buffer, and are dropped and counted beyond it. An error
// names the option that is wrong.
func New(w io.Writer, o Options) (*Log, error) {
	level := zap.NewAtomicLevel()
	if err := setLevel(level, o.Level); err != nil {
		return nil, err
	}
	inJSON := o.Format == "json" || o.Format == "auto" && !o.Terminal
	json := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey:        "time",
		LevelKey:       "level",
		MessageKey:     "event",
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder,
	})
	enc := json
	switch {
	case inJSON:
	case o.Format == "console" || o.Format == "auto":
		enc = newConsole()
	default:
		return nil, fmt.Errorf("log.format %q is none of auto, json and console", wire.Line(o.Format))
	}
	out := newSink(w)
	core := &lines{level: level, enc: enc, json: json, sink: out}
	l := &Log{zap: zap.New(&cleaning{core}), out: core, json: inJSON, level: level, metrics: newMetrics(), sink: out}
	out.lost = l.Process().LogDropped
	l.withheld = newWithheld(l.tellWithheld)
	l.metrics.withheld.with() // it is there from the start, as 0
	l.metrics.logDropped(func() float64 { return float64(out.lag().Dropped) })
	l.metrics.historyDropped(core.lost)
	return l, nil
}

// JSON says whether its lines are JSON.
func (l *Log) JSON() bool { return l.json }

// SetLevel changes the level of a running log.
func (l *Log) SetLevel(level string) error { return setLevel(l.level, level) }

func setLevel(to zap.AtomicLevel, name string) error {
	switch name {
	case "debug", "info", "warn", "error":
		level, err := zapcore.ParseLevel(name)
		to.SetLevel(level)
		return err
	}
	return fmt.Errorf("log.level %q is none of debug, info, warn and error", wire.Line(name))
}

// enabled reports whether events of a level are written, for events that come
// so often that their fields should not be made for nothing.
func (l *Log) enabled(level zapcore.Level) bool { return l.level.Enabled(level) }

func (l *Log) debugs() bool { return l.enabled(zapcore.DebugLevel) }

func (l *Log) write(level zapcore.Level, event string, fields ...zap.Field) {
	if ce := l.zap.Check(level, event); ce != nil {
		ce.Write(fields...)
	}
}

// fieldLists are for the events of every message, whose fields would be a
// quarter of all that the relay allocates.
var fieldLists = sync.Pool{New: func() any { return new(fieldList) }}

type fieldList [24]zap.Field

// writeOften is write for what fill adds to an empty list of fields; the list
// is used again.
func (l *Log) writeOften(level zapcore.Level, event string, fill func([]zap.Field) []zap.Field) {
	ce := l.zap.Check(level, event)
	if ce == nil {
		return
	}
	list := fieldLists.Get().(*fieldList)
	ce.Write(fill(list[:0])...)
	fieldLists.Put(list)
}

func (l *Log) debug(event string, f ...zap.Field) { l.write(zapcore.DebugLevel, event, f...) }
func (l *Log) info(event string, f ...zap.Field)  { l.write(zapcore.InfoLevel, event, f...) }
func (l *Log) warn(event string, f ...zap.Field)  { l.write(zapcore.WarnLevel, event, f...) }
func (l *Log) error(event string, f ...zap.Field) { l.write(zapcore.ErrorLevel, event, f...) }

// Keeper takes the lines about messages.
type Keeper interface {
	// Add takes a line in JSON with its end. It does not keep it, and must not
	// wait.
	Add(line []byte)
	// Dropped is how many of them it could not take.
	Dropped() int64
}

// Keep has the lines about messages given to k as well, from level info on
// whatever the level of the log is.
func (l *Log) Keep(k Keeper) { l.out.keep.Store(&k) }

// lost counts the lines that the keeper could not take.
func (l *lines) lost() float64 {
	if k := l.keep.Load(); k != nil {
		return float64((*k).Dropped())
	}
	return 0
}

// Watcher takes every line.
type Watcher interface {
	// Add takes a line in JSON with its end. It does not keep it, and must not
	// wait.
	Add(line []byte)
}

// Watch has every line from level info on given to w as well, whatever the level
// of the log is.
func (l *Log) Watch(w Watcher) { l.out.watch.Store(&w) }

// lines is the core that makes lines of entries, and writes them to a sink.
type lines struct {
	level zap.AtomicLevel
	enc   zapcore.Encoder
	json  zapcore.Encoder // enc itself where that is JSON
	sink  *sink
	keep  atomic.Pointer[Keeper]  // nil: nobody
	watch atomic.Pointer[Watcher] // nil: nobody
}

// Enabled implements zapcore.LevelEnabler.
func (l *lines) Enabled(level zapcore.Level) bool {
	return l.level.Enabled(level) || level >= zapcore.InfoLevel && (l.keep.Load() != nil || l.watch.Load() != nil)
}

// aboutMessage reports whether an event is one of the life of a message, or of
// mail that was not taken.
func aboutMessage(e *zapcore.Entry, fields []zapcore.Field) bool {
	for i := range fields {
		if key := fields[i].Key; key == "id" || key == "original" {
			return true
		}
	}
	return e.Message == "mail-refused" || e.Message == "mail-diverted"
}

// With is not used by this program: every event has its fields.
func (l *lines) With([]zapcore.Field) zapcore.Core { return l }

func (l *lines) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if l.Enabled(e.Level) {
		return ce.AddCore(e, l)
	}
	return ce
}

func (l *lines) Write(e zapcore.Entry, fields []zapcore.Field) error {
	keep, watch := l.keep.Load(), l.watch.Load()
	if e.Level < zapcore.InfoLevel || keep != nil && !aboutMessage(&e, fields) {
		keep = nil
	}
	if e.Level < zapcore.InfoLevel {
		watch = nil
	}
	others := func(line []byte) {
		if keep != nil {
			(*keep).Add(line)
		}
		if watch != nil {
			(*watch).Add(line)
		}
	}
	written := l.level.Enabled(e.Level)
	if (keep != nil || watch != nil) && (l.json != l.enc || !written) {
		line, err := l.json.EncodeEntry(e, fields)
		if err != nil {
			return err
		}
		others(line.Bytes())
		line.Free()
		keep, watch = nil, nil
	}
	if !written {
		return nil
	}
	line, err := l.enc.EncodeEntry(e, fields)
	if err != nil {
		return err
	}
	l.sink.write(line.Bytes(), e.Level < zapcore.InfoLevel)
	others(line.Bytes())
	line.Free()
	return nil
}

func (l *lines) Sync() error { return nil }

// Lag tells how the log keeps up.
func (l *Log) Lag() Lag { return l.sink.lag() }

// Close waits until what was told is written, for so long at most.
func (l *Log) Close(limit time.Duration) {
	l.tellWithheld()
	l.sink.close(limit)
}
