package history

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/config"
)

// Line is a line of a life, as far as sentences need it. Every field is zero
// where the line has none. Texts can be those of strangers.
type Line struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"`

	ID         string    `json:"id"`
	OldID      string    `json:"old_id"`
	Original   string    `json:"original"`
	From       *string   `json:"from"`
	To         string    `json:"to"`
	Listener   string    `json:"listener"`
	Peer       string    `json:"peer"`
	User       string    `json:"user"`
	Recipients int       `json:"recipients"`
	Size       int64     `json:"size"`
	MessageID  string    `json:"message_id"`
	Repeated   bool      `json:"repeated"`
	Upstream   string    `json:"upstream"`
	Result     string    `json:"result"`
	Stage      string    `json:"stage"`
	Code       int       `json:"code"`
	Enhanced   string    `json:"enhanced"`
	Text       string    `json:"text"`
	Cause      string    `json:"cause"`
	Remote     string    `json:"remote"`
	Next       time.Time `json:"next"`
	Held       bool      `json:"held"`
	Storm      string    `json:"storm"`
	Kind       string    `json:"kind"`
	Operation  string    `json:"operation"`
	Operator   string    `json:"operator"`
	Reason     string    `json:"reason"`

	rest map[string]any
}

// Read reads a line. One that cannot be read is a Line whose Event says so.
func Read(line json.RawMessage) *Line {
	t := &Line{}
	if err := json.Unmarshal(line, t); err != nil {
		return &Line{Event: "a line that cannot be read"}
	}
	_ = json.Unmarshal(line, &t.rest)
	return t
}

// Reply is what the upstream said, or why it said nothing.
func (t *Line) Reply() string {
	var words []string
	if t.Code > 0 {
		words = append(words, fmt.Sprint(t.Code))
	}
	for _, s := range []string{t.Enhanced, t.Text, t.Cause} {
		if s != "" {
			words = append(words, s)
		}
	}
	return strings.Join(words, " ")
}

// Sentence is the line for a person; id is the message whose life it is.
func (t *Line) Sentence(id string) string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	from := ""
	if t.From != nil {
		from = path(*t.From)
	}
	switch t.Event {
	case "message-accepted":
		if t.Repeated {
			return "handed in again with the same key, and not taken twice"
		}
		add("accepted from %s", t.Peer)
		if t.User != "" {
			add(" (%s)", t.User)
		}
		add(" at %s: %s, %s, %s", t.Listener, from, recipients(t.Recipients), config.RoughSize(t.Size))
		if t.MessageID != "" {
			add(", Message-ID %s", t.MessageID)
		}
		if t.Storm != "" {
			add("; on hold as one of too many that are alike (storm %s)", t.Storm)
		}
	case "mail-refused":
		add("refused from %s at %s: %s", t.Peer, t.Listener, from)
		if t.To != "" {
			add(" to %s", path(t.To))
		}
		add(": %s", t.Reply())
	case "delivery-attempt":
		add("%s %s at %s", path(t.To), t.Result, t.Upstream)
		if t.Remote != "" {
			add(" (%s)", t.Remote)
		}
		if t.Result != "delivered" {
			add(", at %s", t.Stage)
		}
		add(": %s", t.Reply())
		if !t.Next.IsZero() {
			add("; again at %s", t.Next.Local().Format(time.DateTime))
		}
		if t.Held {
			add("; held for an operator")
		}
	case "sender-notified":
		if t.Original != id {
			return "it is a notice (" + t.Kind + ") about " + t.Original
		}
		add("%s is told (%s) by the message %s", path(t.To), t.Kind, t.ID)
	case "standin-moved":
		add("moved into the database, where it has this ID; before it had %s", t.OldID)
	case "message-adopted":
		add("%s: adopted from another spool, where it had the ID %s", t.Operator, t.OldID)
	case "operator-decided":
		add("%s: %s for %s", t.Operator, t.Operation, recipients(t.Recipients))
		if t.Reason != "" {
			add(" (%s)", t.Reason)
		}
	default:
		add("%s", t.Event)
		for _, name := range slices.Sorted(maps.Keys(t.rest)) {
			switch name {
			case "time", "level", "event", "id":
			default:
				add(" %s=%v", name, t.rest[name])
			}
		}
	}
	return b.String()
}

func path(address string) string { return "<" + address + ">" }

func recipients(n int) string {
	if n == 1 {
		return "1 recipient"
	}
	return fmt.Sprintf("%d recipients", n)
}
