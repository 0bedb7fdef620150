package importer

import (
	"io/fs"
	"os"
)

// keep has nothing to do: access lists are inherited from the folder.
func keep(_ *os.File, _ fs.FileInfo, mode fs.FileMode) fs.FileMode { return mode }
