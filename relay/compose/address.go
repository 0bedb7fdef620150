package compose

// Address is somebody's address with the name that is shown; Name may be
// empty. Both are UTF-8 as a person writes them, not encoded.
type Address struct{ Name, Addr string }

// String is the form that ParseAddress reads.
func (a Address) String() string { panic("not yet") }

// ParseAddress reads "a@b", "<a@b>" or "Name <a@b>", where Name may stand
// between double quotes. A name with a comma, a semicolon or an angle bracket
// has to. Bare local parts ("root") pass; Message.Check refuses them unless
// AllowBareLocal.
func ParseAddress(s string) (Address, error) { panic("not yet") }

// ParseList reads addresses separated by commas or semicolons. Empty ones are
// passed over. The error names the piece that is wrong.
func ParseList(s string) ([]Address, error) { panic("not yet") }

// SplitList cuts a list at its commas and semicolons, outside of double
// quotes and angle brackets. Pieces are trimmed, and none is empty.
func SplitList(s string) []string { panic("not yet") }
