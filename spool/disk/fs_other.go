//go:build !linux

package disk

func (f *osFile) WriteVec(bufs [][]byte, off int64) (int64, error) {
	var done int64
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+done)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Sync is the File's own, which on macOS is F_FULLFSYNC and on Windows
// FlushFileBuffers.
func (f *osFile) Sync() error { return f.File.Sync() }

// Allocate implements File.
func (f *osFile) Allocate(size int64) error { return f.fill(size) }

func (f *osFile) WriteBehind(int64, int64) {}
