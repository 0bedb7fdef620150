package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// maxFile bounds a file that the configuration names, and the
	// configuration itself, in bytes.
	maxFile = 4 << 20
	// pipePatience is how long a configuration is waited for that comes
	// through a pipe.
	pipePatience = 10 * time.Second
)

// ReadFile reads a file that the configuration names, of at most 4 MiB. It
// never waits: a pipe or a device in its place is an error. It may be called
// concurrently.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a file")
	}
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return readAll(f)
}

// readConfiguration is ReadFile, but for pipes, by which a shell hands over
// what a program writes.
func readConfiguration(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_ = f.SetReadDeadline(time.Now().Add(pipePatience)) // fails for what is not waited for
	return readAll(f)
}

func readAll(f *os.File) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = &os.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("it is larger than %s", FormatSize(maxFile))}
	}
	return b, err
}

// LoadKeyPair is tls.LoadX509KeyPair by ReadFile.
func LoadKeyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}
