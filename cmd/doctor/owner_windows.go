package doctor

import "io/fs"

func ownersOf(fs.FileInfo) (uid, gid int) { return -1, -1 }
