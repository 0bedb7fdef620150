// Package disk is what a spool asks of its folder: files, names, a lock, room,
// and whether the folder is ours alone. It knows nothing of mail.
//
// FS is the seam at which a test stands in for the disk (spool/simdisk); At is
// the real one.
package disk
