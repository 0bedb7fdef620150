package doctor

import (
	"fmt"
	"slices"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/queue"
)

// Lane says how it stands with up in a running daemon; st is nil where none
// answers.
func Lane(up *config.Upstream, st *control.Status) []Finding {
	if st == nil {
		return []Finding{{ID: UpstreamLane, Status: Skipped, Subject: up.Name, Text: "no daemon answers: this is what one with this configuration would meet"}}
	}
	for i := range st.Lanes {
		l := &st.Lanes[i]
		if l.Upstream == up.Name {
			return append(settings(up, l), lane(l))
		}
	}
	return []Finding{{ID: UpstreamSettings, Status: Warning, Subject: up.Name,
		Text: "the running daemon does not know this upstream yet", Remedy: "`postern reload`"}}
}

// settings compares what the daemon uses with what was read here.
func settings(up *config.Upstream, l *control.Lane) []Finding {
	if l.Settings == up.Digest() {
		return nil
	}
	return []Finding{{ID: UpstreamSettings, Status: Warning, Subject: up.Name,
		Text:   "the running daemon still uses other settings for this upstream than the file has, which are the ones tried here",
		Remedy: "`postern reload`"}}
}

// lane judges the state of one lane.
func lane(l *control.Lane) Finding {
	f := Finding{ID: UpstreamLane, Status: OK, Subject: l.Upstream, Facts: map[string]any{"state": l.State, "queued": l.Queued}}
	since := ""
	if l.Since != nil {
		since = " since " + l.Since.Local().Format(time.DateTime)
	}
	waiting := count(l.Queued, "delivery waits", "deliveries wait")
	switch l.State {
	case queue.Up:
		f.Text = "mail goes; " + waiting
		if len(l.RefusedSenders) > 0 {
			f.Status = Warning
			f.Text += fmt.Sprintf("; it refuses %s at present: %s", count(len(l.RefusedSenders), "sender", "senders"), orNothing(bracketed(l.RefusedSenders)))
			f.Remedy = fmt.Sprintf("`postern upstream test %s --from ADDRESS`", l.Upstream)
			if l.Advice != nil {
				f.Text, f.Remedy = f.Text+". "+l.Advice.Meaning, l.Advice.Remedy
			}
		}
		return f
	case queue.Waiting:
		f.Status, f.Text = Warning, fmt.Sprintf("out of reach or overloaded%s: %s; %s", since, l.Reason, waiting)
		f.Remedy = "It is tried again by itself."
	case queue.Parked:
		f.Status, f.Text = Failed, fmt.Sprintf("parked%s: %s; %s", since, l.Reason, waiting)
		f.Remedy = fmt.Sprintf("`postern upstream test %s` tells more; `postern upstream resume %s` tries again at once.", l.Upstream, l.Upstream)
	case queue.Paused:
		f.Status, f.Text = Warning, fmt.Sprintf("paused by an operator%s; %s", since, waiting)
		f.Remedy = fmt.Sprintf("`postern upstream resume %s`", l.Upstream)
	case queue.Missing:
		f.Status, f.Text = Failed, "no upstream of this name is configured; "+waiting
		f.Remedy = "Configure it again, or `postern queue remove` or `bounce` its mail."
	}
	if a := l.Advice; a != nil {
		f.Text += ". " + a.Meaning
		f.Remedy = a.Remedy
	}
	return f
}

// bracketed is senders with the null one as it is written.
func bracketed(senders []string) []string {
	shown := slices.Clone(senders)
	for i, s := range shown {
		if s == "" {
			shown[i] = "<>"
		}
	}
	return shown
}
