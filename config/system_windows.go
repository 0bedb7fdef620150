package config

import "os/exec"

const noWait = 0 // a file there is no pipe

// keepDescriptors has nothing to do: only handles that are named are inherited.
func keepDescriptors() {}

// apart has nothing to do: there are no such groups of processes.
func apart(*exec.Cmd) (kill func()) { return func() {} }

// CheckOwner finds nothing wrong: files have no such owners here.
func (c *Config) CheckOwner() error { return nil }

func checkSecretOwner(string, ...string) error { return nil }
