package eventlog

import (
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/config/wire"
)

// cleaning is a core through which no hostile text passes, so that no call
// of the log has to think of it.
type cleaning struct{ zapcore.Core }

func (c *cleaning) With(fields []zap.Field) zapcore.Core {
	return &cleaning{c.Core.With(cleanFields(fields))}
}

func (c *cleaning) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *cleaning) Write(e zapcore.Entry, fields []zap.Field) error {
	e.Message = wire.Line(e.Message)
	return c.Core.Write(e, cleanFields(fields))
}

// cleanFields replaces text in place: zap hands the slice to nobody else.
func cleanFields(fields []zap.Field) []zap.Field {
	for i := range fields {
		f := &fields[i]
		switch f.Type {
		case zapcore.StringType:
			f.String = wire.Line(f.String)
		case zapcore.ErrorType:
			if err, ok := f.Interface.(error); ok {
				*f = zap.String(f.Key, wire.Line(err.Error()))
			}
		case zapcore.BoolType, zapcore.Int64Type, zapcore.Uint64Type,
			zapcore.DurationType, zapcore.TimeType, zapcore.SkipType:
		case zapcore.ArrayMarshalerType:
			if list, ok := f.Interface.(texts); ok {
				for j := range list {
					list[j] = wire.Line(list[j])
				}
				break
			}
			fallthrough
		default:
			// A kind of field that nobody has checked does not get out.
			*f = zap.String(f.Key, "(not shown)")
		}
	}
	return fields
}

// texts is a list of texts as the value of one field.
type texts []string

func (t texts) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	for _, s := range t {
		enc.AppendString(s)
	}
	return nil
}

// list makes a field of several texts. It copies them, since they are cleaned
// in place.
func list(key string, values []string) zap.Field {
	return zap.Array(key, append(texts(nil), values...))
}

// stackText makes a stack one line: " | " stands between its lines. Its end
// is cut where it is long; the place of the panic comes first.
func stackText(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, " | ")
}
