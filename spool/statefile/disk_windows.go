package statefile

import (
	"io/fs"
	"os"
)

const syncsFolders = false // NTFS logs its directories

func inherits(*os.Root) bool { return false }

// inherit has nothing to do: access lists are inherited.
func inherit(*os.File, *os.Root) error { return nil }

func inheritFolder(_, _ *os.Root) error { return nil }

func ours(string, fs.FileInfo, fs.FileInfo) error { return nil }

func private(_, _ fs.FileInfo) error { return nil }
