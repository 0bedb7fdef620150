// Package strict tells whether only root and those who run this relay can
// change what lies at a path, as sshd's StrictModes does: the thing itself and
// every folder and link on the way to it. It imports nothing of ours, so that
// every package that opens files may ask it.
package strict

// Unsafe is a thing that somebody else can change or exchange.
type Unsafe struct {
	Path string // of the thing, which may be a folder above what was asked for
	Text string // what is wrong: "has mode 0777: …"
	// Remedy is a command line.
	Remedy string
}

func (u *Unsafe) Error() string { return u.Path + " " + u.Text }
