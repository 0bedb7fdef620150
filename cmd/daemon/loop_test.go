package daemon

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/relay/submission"
)

// TestLoops: what goes in a circle is told of until an hour after the last one,
// and other refusals are not.
func TestLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l loops
		passed := 0
		observe := l.observe(func(submission.Event) { passed++ })
		refused := func(detail int) {
			observe(&submission.Refused{Client: &submission.Client{Listener: "lan"}, From: "a@example.com", Refusal: &submission.Refusal{Code: 554, Enhanced: [3]int{5, 4, detail}}})
		}
		refused(1)
		observe(&submission.Accepted{Client: &submission.Client{}})
		if found := l.judge(time.Now()); found != nil {
			t.Errorf("%+v", found)
		}
		begun := time.Now()
		refused(6)
		time.Sleep(50 * time.Minute)
		refused(6)
		time.Sleep(59 * time.Minute)
		if found := l.judge(time.Now()); len(found) != 1 || !found[0].Since.Equal(begun) || !strings.HasPrefix(found[0].Text, "2 messages were refused") || !strings.Contains(found[0].Text, "<a@example.com> at the listener lan") {
			t.Errorf("%+v", found)
		}
		time.Sleep(time.Minute)
		if found := l.judge(time.Now()); found != nil {
			t.Errorf("an hour later: %+v", found)
		}
		refused(6)
		if found := l.judge(time.Now()); len(found) != 1 || !strings.HasPrefix(found[0].Text, "a message was refused because it goes in a circle, from <a@") || !found[0].Since.Equal(time.Now()) {
			t.Errorf("again: %+v", found)
		}
		if passed != 5 {
			t.Errorf("%d events are passed on, not 5", passed)
		}
	})
}
