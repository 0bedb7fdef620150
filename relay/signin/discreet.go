package signin

// discreet is a Conn to an upstream that may repeat what it was told, in any
// disguise. Its replies end in logs, so nothing comes back of them but the
// codes, the words that are known, and the challenge.
type discreet struct{ Conn }

// Exchange carries one line.
func (d discreet) Exchange(line []byte) (Reply, error) {
	r, err := d.Conn.Exchange(line)
	r.Text = known(r.Text)
	if r.Code != 334 {
		r.Raw = ""
	}
	return r, err
}
