package main

import (
	"context"
	"io"
	"sync"
)

// reader is a function that is an io.Reader.
type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

// whileWanted reads in until ctx ends: a terminal or a pipe may be silent for ever. Nothing
// is read before the first Read; then up to 32 KiB beyond what is asked for are.
func whileWanted(ctx context.Context, in io.Reader) io.Reader {
	var begin sync.Once
	out, to := io.Pipe()
	return reader(func(p []byte) (int, error) {
		begin.Do(func() {
			go func() { // where in is silent, it ends with the process
				_, err := io.Copy(to, in)
				to.CloseWithError(err)
			}()
			context.AfterFunc(ctx, func() { to.CloseWithError(ctx.Err()) })
		})
		return out.Read(p)
	})
}
