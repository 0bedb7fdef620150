package intake

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// permit has no modes to set here; the directory's ACL governs.
func permit(path string, mode fs.FileMode, group string) error {
	if group != "" {
		return errors.New("group of a socket is not known on Windows; remove group")
	}
	return nil
}

func parent(path string) string { return filepath.Dir(path) }
