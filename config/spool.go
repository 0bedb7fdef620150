package config

// settleSpool makes of what was read either a folder or a database.
func (d *document) settleSpool(cfg *Config) {
	s := &cfg.Spool
	if !s.Shared() && s.Relay == "" && !s.TokenKey.IsSet() && s.WhenAway == AwayRefuse {
		return
	}
	t := d.top().sub("spool")
	checkTokenKey(t, &s.TokenKey)
	if !s.Shared() {
		t.refuse("is the name of a relay among those that share a database", `with url = "postgres://…"; leave it out otherwise`, "relay")
		t.refuse("says what is done while a database is away", "with url; leave it out otherwise", "when_away")
		t.refuseSecret(s.TokenKey, "encrypts tokens in a database that relays share", "give it to the oauth table of the upstream")
		return
	}
	t.refuse("has no effect with url: the database keeps the queue", "remove it", "dir", "min_free")
	s.Dir, s.MinFree = cfg.StateDir, 0
	if s.Relay == "" {
		s.Relay = cfg.Hostname
	}
	if len(s.Relay) > 50 {
		t.problem("relay", "is longer than 50 bytes", "the name of this machine will do")
	}
	checkName(t, "relay", s.Relay)
}
