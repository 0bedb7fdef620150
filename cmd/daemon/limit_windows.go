package daemon

// descriptorLimit: Windows has none.
func descriptorLimit() int { return 0 }
