package sendmail

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"postern/cmd/control"
	"postern/config/wire"
)

// Queue prints what is queued as Postfix's mailq does, which monitoring reads.
type Queue struct {
	Out io.Writer

	last     string // ID of the message before
	messages int
	size     int64
	err      error
}

// Entry prints one delivery. Those of one message follow each other.
func (q *Queue) Entry(e *control.Entry) error {
	if q.last != e.ID {
		if q.messages == 0 {
			q.print("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n")
		} else {
			q.print("\n")
		}
		q.last = e.ID
		q.messages++
		q.size += e.Size
		state := map[control.State]string{control.Active: "*", control.Held: "!"}[e.State]
		from := wire.Line(e.From)
		if e.Unreadable {
			from = "-"
		} else if from == "" {
			from = "MAILER-DAEMON"
		}
		q.print("%-11s%-1s %8d %s  %s\n", e.ID, state, e.Size, e.Accepted.Local().Format("Mon Jan _2 15:04:05"), from)
	}
	if why := reason(e); why != "" {
		q.print("(%s)\n", why)
	}
	for _, to := range e.To {
		q.print("%41s%s\n", "", wire.Line(to))
	}
	return q.err
}

// reason is why a delivery has not happened; empty: it was not tried.
func reason(e *control.Entry) string {
	if e.Waits != "" {
		return wire.Line(e.Waits)
	}
	if e.Last == nil {
		return ""
	}
	var parts []string
	if e.Last.Code > 0 {
		parts = append(parts, strconv.Itoa(e.Last.Code))
	}
	for _, s := range []string{e.Last.Enhanced, e.Last.Text, e.Last.Cause} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return wire.Line(strings.Join(parts, " "))
}

// End prints the sum.
func (q *Queue) End() error {
	switch q.messages {
	case 0:
		q.print("Mail queue is empty\n")
	case 1:
		q.print("\n-- %d Kbytes in 1 Request.\n", (q.size+1023)/1024)
	default:
		q.print("\n-- %d Kbytes in %d Requests.\n", (q.size+1023)/1024, q.messages)
	}
	return q.err
}

func (q *Queue) print(format string, args ...any) {
	if q.err == nil {
		_, q.err = fmt.Fprintf(q.Out, format, args...)
	}
}
