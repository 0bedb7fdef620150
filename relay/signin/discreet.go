package signin

// discreet is a Conn to somebody who may repeat what they were told, in any
// disguise. Their replies end in logs, so nothing comes back of them but the
// codes, the words that are known, and the challenge.
type discreet struct{ Conn }

// Begin carries the first step.
func (d discreet) Begin(mechanism string, initial []byte) (Answer, error) {
	a, err := d.Conn.Begin(mechanism, initial)
	a.Reply.Text = known(a.Reply.Text)
	return a, err
}

// Respond carries one step.
func (d discreet) Respond(response []byte) (Answer, error) {
	a, err := d.Conn.Respond(response)
	a.Reply.Text = known(a.Reply.Text)
	return a, err
}
