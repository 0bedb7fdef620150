package config

const noWait = 0 // a file there is no pipe

// keepDescriptors has nothing to do: only handles that are named are inherited.
func keepDescriptors() {}

// CheckOwner finds nothing wrong: files have no such owners here.
func (c *Config) CheckOwner() error { return nil }

func checkSecretOwner(string, ...string) error { return nil }
