package postgres

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"postern/spool/disk"
)

// record is a line of the outbox's file.
type record struct {
	End   *ending   `json:"end,omitempty"`
	Doubt *doubtful `json:"doubt,omitempty"`
}

// outboxFile is a file of lines: the checksum of a record (CRC-32, IEEE, eight hexadecimal
// digits), a blank, the record in JSON. A last line that is not whole was never
// promised to anybody. One that is damaged elsewhere is left out, and the file
// set aside.
type outboxFile struct {
	path string // empty: there is none

	mu   sync.Mutex // guards what follows, and the order of records
	f    *os.File   // nil: not opened yet
	size int64
}

// errOutbox: there is something in the file that this program has not written.
var errOutbox = errors.New("what waited for the database is damaged")

// errFull: a record is not in the file, since it, or the file, would be larger than
// what is read.
var errFull = fmt.Errorf("what waits for the database is more than is kept in its file: %d MiB together, %d MiB for a record", maxOutbox>>20, maxRecord>>20)

// append writes a record, which is durable then. An errFull: it is not written. mu is
// held.
func (o *outboxFile) append(r record) error {
	if o.path == "" {
		return nil
	}
	if o.f == nil {
		if err := o.open(); err != nil {
			return err
		}
	}
	line, err := r.line()
	if err != nil {
		return err
	}
	if len(line) > maxRecord || o.size+int64(len(line)) > maxOutbox { // it would not be read
		return errFull
	}
	if _, err := o.f.WriteAt(line, o.size); err != nil {
		return err
	}
	if err := o.f.Sync(); err != nil {
		return err
	}
	o.size += int64(len(line))
	return nil
}

func (r record) line() ([]byte, error) {
	text, err := json.Marshal(r)
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(text), text), err
}

// open makes the file, and cuts off what a crash has left behind its last line.
func (o *outboxFile) open() error {
	folder, err := disk.OpenFolder(filepath.Dir(o.path))
	if err != nil {
		return err
	}
	defer folder.Close()
	// Whoever adopts a queue may be root, and the folder is of the user of a relay.
	name := filepath.Base(o.path)
	f, err := disk.OpenFile(folder, name, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = folder.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return err
	}
	err = f.Truncate(o.size)
	if err == nil {
		err = disk.At(filepath.Dir(o.path)).SyncDir(".")
	}
	if err != nil {
		f.Close()
		return err
	}
	o.f = f
	return nil
}

// maxOutbox is how large the file may be, and maxRecord a line of it, in bytes: no
// more is written.
const (
	maxOutbox = 1 << 30
	maxRecord = 16 << 20
)

// readLine is the next line; io.EOF where it has no end.
func readLine(b *bufio.Reader) (line []byte, err error) {
	for {
		part, err := b.ReadSlice('\n')
		line = append(line, part...)
		if err != bufio.ErrBufferFull {
			return line, err
		}
		if len(line) > maxRecord {
			return nil, errors.New("a line of what waited for the database has no end")
		}
	}
}

// read returns what the file holds. After an errOutbox that is what could be
// read.
func (o *outboxFile) read() (list []record, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.path == "" {
		return nil, nil
	}
	folder, err := disk.OpenFolder(filepath.Dir(o.path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	f, err := disk.OpenFile(folder, filepath.Base(o.path), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := folder.Lstat(filepath.Base(o.path)); there == nil {
			return nil, err // a link to nothing
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	damaged := 0
	for b := bufio.NewReader(io.LimitReader(f, maxOutbox+1)); ; {
		line, err := readLine(b)
		if err == io.EOF {
			break // without an end it is no line
		}
		if o.size > maxOutbox {
			return nil, fmt.Errorf("%s is larger than %d MiB", o.path, maxOutbox>>20)
		}
		if err != nil {
			return list, err
		}
		if r, ok := parseRecord(line); ok {
			list = append(list, r)
		} else {
			damaged++
		}
		o.size += int64(len(line))
	}
	if damaged == 0 {
		return list, nil
	}
	aside := o.path + ".bad"
	if err := os.Rename(o.path, aside); err != nil {
		return list, err
	}
	o.size = 0
	for _, r := range list {
		if err := o.append(r); err != nil {
			return list, err
		}
	}
	return list, fmt.Errorf("%w: %d lines of %s were left out", errOutbox, damaged, aside)
}

func parseRecord(line []byte) (r record, ok bool) {
	sum, text, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if !ok || err != nil || crc32.ChecksumIEEE(text) != uint32(want) {
		return r, false
	}
	return r, json.Unmarshal(text, &r) == nil
}

// empty makes it empty. mu is held.
func (o *outboxFile) empty() error {
	if o.path == "" || o.size == 0 {
		return nil
	}
	if o.f == nil {
		if err := o.open(); err != nil {
			return err
		}
	}
	if err := o.f.Truncate(0); err != nil {
		return err
	}
	o.size = 0
	return o.f.Sync()
}

func (o *outboxFile) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f != nil {
		o.f.Close()
		o.f = nil
	}
}
