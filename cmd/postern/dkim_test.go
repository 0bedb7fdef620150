package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"postern/config"
)

func TestDKIMNew(t *testing.T) {
	for _, kind := range []string{"rsa", "ed25519"} {
		file := filepath.Join(t.TempDir(), "m1.pem")
		args := []string{"dkim", "new", "Example.COM", "--selector", "m1", "--type", kind, "--out", file}
		var out, errs strings.Builder
		if code := run(t.Context(), args, nil, &out, &errs); code != exitOK {
			t.Fatalf("%d %s", code, errs.String())
		}
		if !strings.Contains(out.String(), `[dkim."example.com"]`) || !strings.Contains(out.String(), `m1._domainkey.example.com. IN TXT ( "v=DKIM1; k=`+kind) {
			t.Errorf("%s", out.String())
		}
		info, err := os.Stat(file)
		if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if _, err := config.ReadDKIMKey(file); err != nil {
			t.Error(err)
		}
		before, _ := os.ReadFile(file)
		if code := run(t.Context(), args, nil, &out, &errs); code != exitCantCreate {
			t.Errorf("a key was written over: %d", code)
		}
		if after, _ := os.ReadFile(file); string(after) != string(before) {
			t.Error("the key is another one")
		}
	}
	for _, args := range [][]string{{"example.com", "--type", "dsa"}, {"exa mple"}, {"example.com", "--selector", "a b"}, {}} {
		var out, errs strings.Builder
		if code := run(t.Context(), append([]string{"dkim", "new"}, args...), nil, &out, &errs); code != exitUsage {
			t.Errorf("%q: %d", args, code)
		}
	}
}

func TestZoneLine(t *testing.T) {
	line := zoneLine("a.b", strings.Repeat("x", 255)+"y")
	if line != `a.b. IN TXT ( "`+strings.Repeat("x", 255)+`" "y" )` {
		t.Error(line)
	}
}

func TestDKIMLookUp(t *testing.T) {
	const good = "v=DKIM1; k=rsa; p=AAAA"
	for _, c := range []struct {
		found  []string
		err    error
		status string
	}{
		{[]string{good}, nil, "ok"},
		{[]string{"k = rsa ;p=AA AA; t=s"}, nil, "ok"},
		{[]string{"p=AAAA"}, nil, "ok"},
		{[]string{"v=spf1 -all", good}, nil, "wrong"},
		{[]string{"v=DKIM1; k=rsa; p=BBBB"}, nil, "wrong"},
		{[]string{"v=DKIM1; k=ed25519; p=AAAA"}, nil, "wrong"},
		{[]string{"v=DKIM1; p="}, nil, "wrong"},
		{[]string{"v=DKIM1"}, nil, "wrong"},
		{[]string{good + "; h=sha1"}, nil, "wrong"},
		{[]string{good + "; s=other"}, nil, "wrong"},
		{[]string{good + "; s=email; h=sha1:sha256"}, nil, "ok"},
		{nil, nil, "missing"},
		{nil, &net.DNSError{IsNotFound: true}, "missing"},
		{nil, &net.DNSError{IsTimeout: true}, "unknown"},
		{nil, errors.New("x"), "unknown"},
	} {
		r := dkimRecord{Name: "m1._domainkey.example.com", Record: good}
		r.lookUp(t.Context(), func(_ context.Context, name string) ([]string, error) {
			if name != "m1._domainkey.example.com." {
				t.Errorf("asked for %s", name)
			}
			return c.found, c.err
		})
		if r.Status != c.status || r.Text == "" {
			t.Errorf("%q, %v: %s, %s", c.found, c.err, r.Status, r.Text)
		}
	}
}
