package step

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/relay/compose"
)

func TestReplacement(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "failed.csv")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	content := func() string {
		b, _ := os.ReadFile(path)
		files, _ := os.ReadDir(dir)
		if len(files) != 1 {
			t.Errorf("%d files are left", len(files))
		}
		return string(b)
	}
	r, err := newReplacement(path)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(r, "half")
	if err := r.end(errors.New("no room")); err == nil || content() != "before" {
		t.Errorf("%v, %q", err, content())
	}
	if r, err = newReplacement(path); err != nil {
		t.Fatal(err)
	}
	io.WriteString(r, "after")
	if err := r.end(nil); err != nil || content() != "after" {
		t.Errorf("%v, %q", err, content())
	}
	// What is no file is not replaced by one.
	if _, err := newReplacement(os.DevNull); err == nil {
		t.Error("a device was taken")
	}
	if _, err := newReplacement(dir); err == nil {
		t.Error("a folder was taken")
	}
}

// A picture that the HTML names ten thousand times is not put in so often.
func TestPicturesOfThePreviewAreBounded(t *testing.T) {
	part := compose.BytesPart("a.png", "image/png", make([]byte, 1<<20))
	part.ID = "a"
	m := &compose.Message{HTML: strings.Repeat(`<img src="cid:a">`, 10_000), Embedded: []compose.Part{part}}
	if got := len(withPictures(m, m.HTML)); got != len(m.HTML) {
		t.Errorf("%d bytes", got)
	}
	m.HTML = `<img src="cid:a">`
	if got := len(withPictures(m, m.HTML)); got < 1<<20 {
		t.Errorf("one picture is not shown: %d bytes", got)
	}
}
