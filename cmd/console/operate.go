package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"postern/cmd/control"
	"postern/queue"
	"postern/spool"
)

// done are the operations in the past, for what is said after them.
var done = map[control.Op]string{
	control.OpRetry: "to be tried at once", control.OpHold: "on hold", control.OpRelease: "released",
	control.OpRemove: "removed", control.OpBounce: "returned to the sender",
}

var errNoID = errors.New("this is no ID of a message")

// maxReason is how long the reason of a bounce may be, in bytes.
const maxReason = 500

// act does something to the messages that a form names.
func (s *Server) act(w http.ResponseWriter, r *request) {
	op := control.Op(r.PathValue("op"))
	if done[op] == "" {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such operation"))
		return
	}
	var sel queue.Select
	for _, text := range r.PostForm["id"] {
		id, err := spool.ParseID(text)
		if err != nil {
			s.fail(w, r, http.StatusBadRequest, errNoID)
			return
		}
		sel.IDs = append(sel.IDs, id)
	}
	reason := strings.Join(strings.Fields(r.PostForm.Get("reason")), " ") // of a field in which Enter sends nothing
	switch {
	case len(sel.IDs) == 0:
		s.say(w, r, "No message was chosen.")
		return
	case op == control.OpBounce && reason == "":
		s.say(w, r, "Nothing was done: a bounce needs a reason, which its sender reads.")
		return
	case len(reason) > maxReason:
		s.fail(w, r, http.StatusBadRequest, fmt.Errorf("the reason is longer than %d bytes", maxReason))
		return
	}
	result, err := control.Do(r.Context(), s.Queue, op, sel, r.operator(), reason)
	if err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, err)
		return
	}
	s.say(w, r, outcome(op, &result))
}

// outcome says what an operation came to.
func outcome(op control.Op, result *queue.Result) string {
	text := count(result.Done) + " " + done[op] + "."
	for _, part := range []struct {
		ids  []spool.ID
		text string
	}{
		{result.Busy, "is under way at this moment: try again."}, {result.Missing, "is not in the queue any more."},
		{result.Held, "is on hold: release it first."}, {result.Scheduled, "is not to go out yet."},
		{result.Senderless, "has no sender to be returned to: remove it instead."},
		{result.Unreadable, "cannot be read, and was set aside: remove it where it is still in the queue."},
	} {
		if n := len(part.ids); n > 0 {
			text += " " + count(n) + " " + part.text
		}
	}
	return text
}

func count(n int) string {
	if n == 1 {
		return "1 message:"
	}
	return fmt.Sprintf("%d messages:", n)
}

// say leads back to the page that the form was on, which begins with a text.
func (s *Server) say(w http.ResponseWriter, r *request, text string) {
	s.sessions.say(r.secret, text)
	http.Redirect(w, r.Request, local(r.PostForm.Get("back")), http.StatusSeeOther)
}

// local is a path of this console, and no other site's.
func local(back string) string {
	u, err := url.Parse(back)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.Contains(back, `\`) {
		return "/"
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String()
}

// reload puts the configuration file in force.
func (s *Server) reload(w http.ResponseWriter, r *request) {
	loaded, err := s.Relay.Reload(r.Context(), r.operator())
	var rejected *control.Rejected
	switch {
	case errors.As(err, &rejected):
		text := "The configuration was not replaced: "
		for i := range rejected.Problems {
			text += rejected.Problems[i].String() + " "
		}
		s.say(w, r, text)
	case err != nil:
		s.say(w, r, "The configuration was not replaced: "+err.Error())
	default:
		text := "The configuration is in force."
		for i := range loaded.Warnings {
			text += " " + loaded.Warnings[i].String()
		}
		s.say(w, r, strings.Join(append([]string{text}, loaded.Kept...), " "))
	}
}
