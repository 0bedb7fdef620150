package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"postern/spool/disk"
)

// Part is an attachment, or what the HTML embeds. FilePart, BytesPart and
// Shared make one.
type Part struct {
	Name string // file name that the reader sees; no path
	Type string // media type, with parameters if any; empty: by the name
	ID   string // Content-ID without < and >; of an Embedded part, empty: its name
	Size int64  // octets that Open gives; -1: not known
	Open func() (io.ReadCloser, error)
	Gzip bool // compressed as it is sent; ".gz" is added to Name

	data   []byte      // what Open gives, where that is in memory
	shared *sharedFile // keeps its encoded form
}

// maxPipe is how many octets of what is no regular file are taken.
const maxPipe = 32 << 20

// FilePart is a file as it is now; it is opened again when the message is
// written. name and mediaType may be empty: the base name of path, and by the
// name. What is no regular file (a pipe) is read at once, up to 32 MiB.
func FilePart(path, name, mediaType string) (Part, error) {
	p, _, err := filePart(path, name, mediaType)
	return p, err
}

func filePart(path, name, mediaType string) (Part, fs.FileInfo, error) {
	f, err := os.Open(path) // whether it may be read is known only then
	if err != nil {
		return Part{}, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return Part{}, nil, err
	case info.IsDir():
		return Part{}, nil, &fs.PathError{Op: "attach", Path: path, Err: errors.New("is a folder")}
	case !info.Mode().IsRegular():
		data, err := io.ReadAll(io.LimitReader(f, maxPipe+1))
		if err == nil && len(data) > maxPipe {
			err = &fs.PathError{Op: "attach", Path: path, Err: errors.New("is no regular file, and gives more than 32 MiB")}
		}
		if name == "" {
			name = filepath.Base(path)
		}
		return BytesPart(name, mediaType, data), nil, err
	}
	return fileLater(path, name, mediaType, info.Size()), info, nil
}

// fileLater is a file that is known to be there.
func fileLater(path, name, mediaType string, size int64) Part {
	if name == "" {
		name = filepath.Base(path)
	}
	return Part{
		Name: name, Type: mediaType, Size: size,
		Open: func() (io.ReadCloser, error) { return openAgain(path) },
	}
}

// openAgain opens what was a regular file. Whoever may change its folder may have
// put a pipe in its place, for which the message would wait.
func openAgain(path string) (io.ReadCloser, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|disk.NoWait, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "attach", Path: path, Err: errors.New("is no regular file any more")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// BytesPart is data itself, which must not change.
func BytesPart(name, mediaType string, data []byte) Part {
	return Part{
		Name: name, Type: mediaType, Size: int64(len(data)), data: data,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

// fault says what of p can't be, and why.
func (p *Part) fault(embedded bool) (field, text string) {
	if p.Name == "" && !embedded {
		return "name", "is empty"
	}
	if text = fileNameFault(p.Name); text != "" {
		return "name", text
	}
	if p.Type != "" {
		if _, text = mediaType(p.Type); text != "" {
			return "type", text
		}
	}
	if embedded || p.ID != "" {
		if text = contentIDFault(p.id()); text != "" {
			return "id", text
		}
	}
	if p.Open == nil {
		return "file", "is nothing that can be read"
	}
	return "", ""
}

func (p *Part) id() string {
	if p.ID == "" {
		return p.Name
	}
	return p.ID
}

// sentName is the name with what Gzip adds.
func (p *Part) sentName() string {
	if p.Gzip && p.Name != "" && !strings.HasSuffix(p.Name, ".gz") {
		return p.Name + ".gz"
	}
	return p.Name
}

// sentType is the media type. Text in memory is known to be UTF-8 or not, and a
// type that was given keeps its own charset.
func (p *Part) sentType() string {
	switch {
	case p.Gzip:
		return gzipType
	case p.Type != "":
		t, _ := mediaType(p.Type)
		return t
	}
	t := typeByName(p.Name)
	if strings.HasPrefix(t, "text/") && p.data != nil && utf8.Valid(p.data) {
		t += "; charset=utf-8"
	}
	return t
}

// form is how the content of p is written.
func (p *Part) form() form {
	switch {
	case p.Gzip:
		return compressed
	case len(p.sentType()) == len(rfc822) && strings.EqualFold(p.sentType(), rfc822):
		return asMessage
	}
	return asBase64
}

// changed is the error of a part that isn't what it was.
func (p *Part) changed(n int64) error {
	return fmt.Errorf("%s has changed while it was sent: %d octets instead of %d", show(p.Name), n, p.Size)
}
