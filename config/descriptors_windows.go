package config

const noWait = 0 // a file there is no pipe

// keepDescriptors has nothing to do: only handles that are named are inherited.
func keepDescriptors() {}
