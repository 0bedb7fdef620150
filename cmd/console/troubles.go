package console

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/cmd/alert"
	"postern/config"
)

// stormKind is the kind of a trouble that is a storm.
const stormKind = "storm"

// mostTroubles is how many troubles are shown, the worst first.
const mostTroubles = 20

// troubled is what needs a person, and who is told of it.
type troubled struct {
	Open      []trouble
	Omitted   int
	Receivers string // their names; empty: nobody is told
}

// trouble is one of them, as `postern alert list` shows it.
type trouble struct {
	State, Class, Text string
	Facts              []shownSetting
	Command            string // what to type; empty: there is none
}

// troubles are those that who asks may know of: of a book that they may not see
// they are for those who define.
func (s *Server) troubles(r *request) *troubled {
	list := slices.DeleteFunc(slices.Clone(s.Alerts.List()), func(o alert.Open) bool {
		if o.Kind == stormKind { // it has a subject, and a list of its own
			return !r.may(config.RoleOperate)
		}
		book, ok := strings.CutPrefix(o.Subject, "book ") // as daemon.judgeEnds names it
		return ok && !r.may(config.RoleDefine) && !s.sees(r, book)
	})
	receivers, now := s.Alerts.Receivers(), time.Now()
	out := &troubled{Omitted: max(0, len(list)-mostTroubles), Receivers: strings.Join(receivers, ", ")}
	for i := range list[:len(list)-out.Omitted] {
		out.Open = append(out.Open, inFacts(&list[i], receivers, now))
	}
	return out
}

func inFacts(o *alert.Open, receivers []string, now time.Time) trouble {
	t := trouble{State: string(o.Severity), Class: "warning", Text: o.Text}
	switch {
	case !o.Over.IsZero():
		t.State, t.Class = "over", "ok"
	case o.Severity == alert.Critical:
		t.Class = "failed"
	}
	for _, l := range o.Lines(now) {
		if l[0] == "command" {
			t.Command = l[1]
			continue
		}
		t.Facts = append(t.Facts, shownSetting{strings.ToUpper(l[0][:1]) + l[0][1:], l[1]})
	}
	if len(receivers) > 0 {
		t.Facts = append(t.Facts, shownSetting{"Told", o.KnownTo(receivers)})
	}
	return t
}

// testAlerts has each receiver told that this is a test, and says what became of
// it. One test runs at a time, and takes half a minute at most.
func (s *Server) testAlerts(w http.ResponseWriter, r *request) {
	select {
	case s.telling <- struct{}{}:
		defer func() { <-s.telling }()
	default:
		s.say(w, r, "A test of the alerts is under way: wait for its end.")
		return
	}
	tried := s.Alerts.Try(r.Context(), "")
	if len(tried) == 0 {
		s.say(w, r, "Nobody would be told: there is no alert.")
		return
	}
	said := make([]string, 0, len(tried))
	for i := range tried {
		result := "was told"
		if tried[i].Error != "" {
			result = "could not be told: " + tried[i].Error
		}
		said = append(said, fmt.Sprintf("%s %s.", tried[i].Receiver, result))
	}
	s.say(w, r, "A test of the alerts: "+strings.Join(said, " "))
}
