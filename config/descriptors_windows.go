package config

// keepDescriptors has nothing to do: only handles that are named are inherited.
func keepDescriptors() {}
