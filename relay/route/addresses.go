package route

// Addresses are those that match one of some patterns. The nil value has none.
type Addresses struct{ set *addressSet }

// NewAddresses compiles patterns; none match nothing. It fails on what config.Load
// would refuse.
func NewAddresses(patterns []string) (*Addresses, error) {
	set, err := newAddressSet(patterns)
	if err != nil || set == nil {
		return nil, err
	}
	return &Addresses{set}, nil
}

// Has tells whether an address is among them. The empty one is the null
// reverse-path.
func (a *Addresses) Has(address string) bool {
	if a == nil {
		return false
	}
	var room [addressBytes]byte
	one := newAddress(room[:0], address)
	return a.set.matches(&one)
}
