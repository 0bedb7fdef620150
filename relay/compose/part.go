package compose

import "io"

// Part is an attachment, or what the HTML embeds. FilePart, BytesPart and
// Shared make one.
type Part struct {
	Name string // file name that the reader sees; no path
	Type string // media type, with parameters if any; empty: by the name
	ID   string // Content-ID without < and >; of an Embedded part, empty: its name
	Size int64  // octets that Open gives; -1: not known
	Open func() (io.ReadCloser, error)
	Gzip bool // compressed as it is sent; ".gz" is added to Name

	shared *sharedFile // its encoded form is kept
}

type sharedFile struct{}

// FilePart is a file as it is now; it is opened again when the message is
// written. name and mediaType may be empty: the base name of path, and by the
// name. What is no regular file (a pipe) is read at once, up to 64 MiB.
func FilePart(path, name, mediaType string) (Part, error) { panic("not yet") }

// BytesPart is data itself, which must not change.
func BytesPart(name, mediaType string, data []byte) Part { panic("not yet") }

// Shared keeps the encoded form of files that many messages attach, so that
// each is read and encoded once. It may be used by several goroutines.
type Shared struct{}

// NewShared makes one that keeps at most limit octets; those used longest ago
// go first. 0: 8 MiB.
func NewShared(limit int64) *Shared { panic("not yet") }

// FilePart is as the function FilePart. Files of up to 1 MiB are kept from
// the second message on, until their size or time of change differs.
func (s *Shared) FilePart(path, name, mediaType string) (Part, error) { panic("not yet") }
