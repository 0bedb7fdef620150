package eventlog

import (
	"fmt"
	"io"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Options say how the log is written.
type Options struct {
	Level    string // debug | info | warn | error
	Format   string // auto | json | console
	Terminal bool   // the writer is a terminal: auto means console
}

// Log writes events and counts them. Its methods may be called concurrently.
type Log struct {
	zap     *zap.Logger
	level   zap.AtomicLevel
	metrics *metrics
}

// New makes a log that writes to w. Every line is one Write, made before the
// event's method returns: what was told before a crash is in the log. An
// error names the option that is wrong.
func New(w io.Writer, o Options) (*Log, error) {
	level := zap.NewAtomicLevel()
	if err := setLevel(level, o.Level); err != nil {
		return nil, err
	}
	var enc zapcore.Encoder
	switch {
	case o.Format == "json" || o.Format == "auto" && !o.Terminal:
		enc = zapcore.NewJSONEncoder(zapcore.EncoderConfig{
			TimeKey:        "time",
			LevelKey:       "level",
			MessageKey:     "event",
			EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
			EncodeLevel:    zapcore.LowercaseLevelEncoder,
			EncodeDuration: zapcore.SecondsDurationEncoder,
		})
	case o.Format == "console" || o.Format == "auto":
		enc = newConsole()
	default:
		return nil, fmt.Errorf("log.format %q is none of auto, json and console", Clean(o.Format))
	}
	core := zapcore.NewCore(enc, &writer{w: w}, level)
	return &Log{zap: zap.New(&cleaning{core}), level: level, metrics: newMetrics()}, nil
}

// SetLevel changes the level of a running log.
func (l *Log) SetLevel(level string) error { return setLevel(l.level, level) }

func setLevel(to zap.AtomicLevel, name string) error {
	switch name {
	case "debug", "info", "warn", "error":
		level, err := zapcore.ParseLevel(name)
		to.SetLevel(level)
		return err
	}
	return fmt.Errorf("log.level %q is none of debug, info, warn and error", Clean(name))
}

// Level is the level in force.
func (l *Log) Level() string { return l.level.String() }

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

// writer serialises lines. It holds nothing back: a line that waits in a
// buffer is the one that is missing after a crash.
type writer struct {
	mu sync.Mutex
	w  io.Writer
}

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

func (w *writer) Sync() error { return nil }
