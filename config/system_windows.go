package config

const noWait = 0 // a file there is no pipe

// CheckOwner finds nothing wrong: files have no such owners here.
func (c *Config) CheckOwner() error { return nil }

func checkSecretOwner(string, ...string) error { return nil }
