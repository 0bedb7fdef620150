package upstream

import (
	"errors"
	"io"
	"syscall"

	"postern/config/wire"
	"postern/spool"
)

// outcomeOf is what a reply says, as it says it.
func outcomeOf(stage spool.Stage, r *reply) spool.Outcome {
	o := spool.Outcome{Stage: stage, Code: r.code, Enhanced: r.enhanced, Text: wire.Text(string(r.text), maxText)}
	return o
}

// broken ends a session before its time.
type broken struct {
	outcome spool.Outcome // what it means for the transaction under way
	err     error
	// gone: the connection was closed, or a 421 came (RFC 5321 §3.8); false:
	// it stalled, or nobody knows any more what it says.
	gone bool
	ours bool // the trouble is on our side
	// stalled: commands sent ahead had no answer in time. A session that waits
	// for each may do better.
	stalled bool
	// rushed: they were refused because they were sent ahead.
	rushed bool
	// astray: replies and commands no longer belong together, so that what was
	// read of the round may have been meant for others.
	astray bool
}

func (b *broken) Error() string { return b.outcome.Text + ": " + b.outcome.Cause }

// lost is a connection on which reading or writing failed.
func lost(stage spool.Stage, text string, err error) *broken {
	return &broken{
		outcome: spool.Outcome{Stage: stage, Text: text, Cause: describe(err)},
		err:     err,
		gone: errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
			errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
			errors.Is(err, syscall.ECONNABORTED),
	}
}

// answered is a reply after which the session cannot go on: 421, or a code
// that has no place where it came.
func answered(stage spool.Stage, r *reply) *broken {
	return &broken{outcome: outcomeOf(stage, r), gone: r.code == 421, astray: r.code != 421}
}

// fault tells the queue about it. What it means for messages they were told
// by their outcomes; this one is about the session.
func (b *broken) fault(target string) *spool.Fault {
	o := b.outcome
	o.Remote = target
	o.Unsupported = false
	o.Stage = min(o.Stage, spool.StageMail)
	return &spool.Fault{Outcome: o, Err: b.err}
}
