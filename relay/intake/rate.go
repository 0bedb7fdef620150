package intake

import (
	"time"

	smtp "github.com/emersion/go-smtp"

	"postern/relay/origin"
)

// What a rate counts.
const (
	messages   = false
	recipients = true
)

// overRate counts one message, or one recipient, and is the reply where the
// client has sent as many as it may. Who has signed in is counted as that
// user, wherever from.
func (s *session) overRate(what bool) *smtp.SMTPError {
	cfg := s.peer.settings.cfg
	if len(cfg.Rate) == 0 {
		return nil
	}
	from := s.peer.origin()
	if s.peer.User != "" {
		from = origin.User(s.peer.User)
	}
	for _, r := range cfg.Rate {
		if r.Recipients != what {
			continue
		}
		if _, ok := s.peer.settings.shared.rates.Take(from, cfg.Name+" "+r.String(), 1, r.Count, r.Per, time.Now()); !ok {
			return say(450, 4, 7, 1, "more mail than this server takes from you ("+r.String()+"), try again later")
		}
	}
	return nil
}
