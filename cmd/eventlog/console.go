package eventlog

import (
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// console writes a line for a person: time, level, message, then key=value.
// It is only given the kinds of fields that cleaning lets through.
type console struct {
	zapcore.Encoder // for With, which this program does not use
	pool            buffer.Pool
}

func newConsole() zapcore.Encoder {
	return console{
		Encoder: zapcore.NewConsoleEncoder(zapcore.EncoderConfig{}),
		pool:    buffer.NewPool(),
	}
}

func (c console) Clone() zapcore.Encoder { return c }

func (c console) EncodeEntry(e zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	b := c.pool.Get()
	b.AppendTime(e.Time, "2006-01-02 15:04:05.000")
	b.AppendByte(' ')
	level := e.Level.CapitalString()
	b.AppendString(level)
	for i := len(level); i < 6; i++ {
		b.AppendByte(' ')
	}
	b.AppendString(e.Message)
	for i := range fields {
		f := &fields[i]
		if f.Type == zapcore.SkipType {
			continue
		}
		b.AppendByte(' ')
		b.AppendString(f.Key)
		b.AppendByte('=')
		appendValue(b, f)
	}
	b.AppendByte('\n')
	return b, nil
}

func appendValue(b *buffer.Buffer, f *zapcore.Field) {
	switch f.Type {
	case zapcore.StringType:
		b.AppendString(quoted(f.String))
	case zapcore.BoolType:
		b.AppendBool(f.Integer == 1)
	case zapcore.Int64Type:
		b.AppendInt(f.Integer)
	case zapcore.Uint64Type:
		b.AppendUint(uint64(f.Integer))
	case zapcore.DurationType:
		b.AppendString(time.Duration(f.Integer).String())
	case zapcore.TimeType:
		t := time.Unix(0, f.Integer)
		if loc, ok := f.Interface.(*time.Location); ok {
			t = t.In(loc)
		}
		b.AppendTime(t, time.RFC3339)
	case zapcore.ArrayMarshalerType:
		if list, ok := f.Interface.(texts); ok {
			b.AppendString(quoted(strings.Join(list, ", ")))
		}
	}
}

// quoted puts quotes where a reader could not tell where the value ends.
func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " =\"") {
		return strconv.Quote(s)
	}
	return s
}
