package intake

import (
	"os"

	"github.com/coreos/go-systemd/v22/activation"
)

// systemdFiles takes the sockets that systemd handed over, by their
// FileDescriptorName. It takes them once: a second call finds none.
func systemdFiles() map[string][]*os.File {
	m := map[string][]*os.File{}
	for _, f := range activation.Files(true) {
		m[f.Name()] = append(m[f.Name()], f)
	}
	return m
}
