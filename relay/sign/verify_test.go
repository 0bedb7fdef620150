package sign_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"postern/config"
	"postern/relay/sign"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// keysOf makes the files of two keys of example.com, and their records by name.
func keysOf(t testing.TB) (*config.Config, map[string]string) {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir, records := t.TempDir(), map[string]string{}
	put := func(selector string, key crypto.Signer) config.DKIMKey {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, selector+".pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		record, err := sign.Record(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		records[selector+"._domainkey.example.com"] = record
		return config.DKIMKey{Selector: selector, KeyFile: file}
	}
	keys := []config.DKIMKey{put("r1", rsaKey()), put("e1", ed)}
	cfg := config.Default()
	cfg.DKIM = map[string]*config.DKIM{
		"example.com":   {Domain: "example.com", Keys: keys},
		"*.example.com": {Domain: "example.com", Below: true, Keys: keys[:1]},
	}
	return cfg, records
}

// messages are those whose signatures have to hold.
var messages = map[string]string{
	"plain":        "From: a@example.com\r\nTo: b@example.net\r\nSubject: s\r\n\r\nbody\r\n",
	"empty":        "From: a@example.com\r\n\r\n",
	"blank lines":  "From: a@example.com\r\n\r\n\r\n\r\nx  y\t \r\n\r\n\r\n",
	"no line end":  "From: a@example.com\r\n\r\nbody",
	"folded":       "From: A\r\n B\r\n\t<a@example.com>\r\nsubject:  a \r\n  b\r\nX: y\r\n\r\n  x \r\n",
	"twice":        "From: a@example.com\r\nTo: x@y\r\nTo: z@y\r\nList-Id: <a.b>\r\n\r\nx\r\n",
	"8 bits":       "From: J\xc3\xb6rg <a@example.com>\r\nSubject: \xe4\r\n\r\n\xe4\xf6\xfc\r\n",
	"blank before": "FROM : a@example.com\r\nSUBJECT\t: s\r\n\r\nx\r\n",
	"no fields":    "From: a@example.com\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <a@b>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nCc: c@d\r\n\r\nx\r\n",
	"large":        "From: a@example.com\r\n\r\n" + strings.Repeat("0123456789 0123456789 \r\n\r\n", 2_000),
}

func signed(t testing.TB, cfg *config.Config, text string) string {
	t.Helper()
	keys, err := sign.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	header, body, _ := strings.Cut(text, "\r\n\r\n")
	fields, err := sign.NewBench().Sign(keys.For("a@example.com"), &sign.Message{ID: 1, Header: []byte(header + "\r\n"), Body: strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return string(fields) + text
}

// The library's own verifier takes what its signer makes of the fields that are
// given to it.
func TestVerifies(t *testing.T) {
	cfg, records := keysOf(t)
	for name, text := range messages {
		whole := signed(t, cfg, text)
		found, err := dkim.VerifyWithOptions(strings.NewReader(whole), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
			return []string{records[name]}, nil
		}})
		if err != nil || len(found) != 2 || found[0].Err != nil || found[1].Err != nil || found[0].Domain != "example.com" {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
		for line := range strings.SplitSeq(whole[:len(whole)-len(text)], "\r\n") {
			if len(line) > 998 {
				t.Errorf("%s: a line of %d octets", name, len(line))
			}
		}
	}
}

// dkimpy (Debian's python3-dkim and python3-nacl), which shares no code with us,
// takes both signatures, and neither once a From was added or the body changed.
func TestVerifiesIndependently(t *testing.T) {
	python := "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import dkim, nacl").Run(); err != nil {
		if os.Getenv("POSTERN_REQUIRE_INTEROP") == "1" {
			t.Fatal("needs python3-dkim and python3-nacl")
		}
		t.Skip("needs python3-dkim and python3-nacl")
	}
	cfg, records := keysOf(t)
	dir := t.TempDir()
	script := "import dkim, sys\nrecords = {}\n"
	for name, record := range records {
		script += fmt.Sprintf("records[%q] = b%q\n", name+".", record)
	}
	script += `
def txt(name, timeout=5):
    return records.get(name.decode() if isinstance(name, bytes) else name)
for f in sys.argv[1:]:
    d = dkim.DKIM(open(f, "rb").read())
    def verify(i):
        try:
            return d.verify(i, txt)
        except dkim.ValidationError: # the body is another
            return False
    print(f.rsplit("/", 1)[1], verify(0), verify(1))
`
	args := []string{"-c", script}
	put := func(name, text string) {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	want := map[string]string{}
	for name, text := range messages {
		if strings.Contains(name, "blank before") {
			continue // dkimpy reads no such fields
		}
		name = strings.ReplaceAll(name, " ", "-")
		whole := signed(t, cfg, text)
		put(name, whole)
		want[name] = "True True"
		put(name+"-From", "From: z@evil.example\r\n"+whole)
		put(name+"-body", whole+"more\r\n")
		want[name+"-From"], want[name+"-body"] = "False False", "False False"
	}
	out, err := exec.CommandContext(t.Context(), python, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		name, result, _ := strings.Cut(strings.TrimSpace(line), " ")
		if want[name] != result {
			t.Errorf("%s: %s, want %s", name, result, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not told of: %v", want)
	}
}

// counted is a body of which it is known how often it was read.
type counted struct {
	io.Reader
	reads *atomic.Int32
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF {
		c.reads.Add(1)
	}
	return n, err
}

// However many sessions send a message at a time, it is signed once; another
// header or another encoding is another form.
func TestSignedOnce(t *testing.T) {
	cfg, _ := keysOf(t)
	keys, err := sign.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	bench, domain := sign.NewBench(), keys.For("a@example.com")
	var reads atomic.Int32
	message := func(header string) *sign.Message {
		return &sign.Message{ID: 7, Header: []byte(header), Body: counted{strings.NewReader("x\r\n"), &reads}}
	}
	var all sync.WaitGroup
	var first atomic.Pointer[[]byte]
	for range 20 {
		all.Go(func() {
			fields, err := bench.Sign(domain, message("From: a@example.com\r\n"))
			if !first.CompareAndSwap(nil, &fields) && !bytes.Equal(*first.Load(), fields) || err != nil {
				t.Errorf("%q, %v", fields, err)
			}
		})
	}
	all.Wait()
	if reads.Load() != 1 {
		t.Errorf("signed %d times", reads.Load())
	}
	seven := message("From: a@example.com\r\n")
	seven.Converted = 1
	for i, m := range []*sign.Message{message("From: b@example.com\r\n"), seven, {ID: 8, Header: []byte("From: a@example.com\r\n"), Body: counted{strings.NewReader(""), &reads}}} {
		if _, err := bench.Sign(domain, m); err != nil || reads.Load() != int32(i+2) {
			t.Errorf("%d: read %d times, %v", i, reads.Load(), err)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

// What could not be read is not remembered, and what is remembered is bounded.
func TestFailureIsNotRemembered(t *testing.T) {
	cfg, _ := keysOf(t)
	cfg.DKIM["example.com"].Keys = cfg.DKIM["example.com"].Keys[1:] // Ed25519 is fast
	keys, err := sign.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	bench, domain, header := sign.NewBench(), keys.For("a@example.com"), []byte("From: a@example.com\r\n")
	if _, err := bench.Sign(domain, &sign.Message{ID: 1, Header: header, Body: broken{}}); err == nil || err.Error() != "the disk is gone" {
		t.Errorf("error %v", err)
	}
	if fields, err := bench.Sign(domain, &sign.Message{ID: 1, Header: header, Body: strings.NewReader("x\r\n")}); err != nil || len(fields) == 0 {
		t.Errorf("%q, %v", fields, err)
	}
	long := strings.NewReader(strings.Repeat("\r\n", 1<<20))
	if _, err := bench.Sign(domain, &sign.Message{ID: 2, Header: header, Body: long}); !errors.Is(err, sign.ErrEmptyLines) {
		t.Errorf("error %v", err)
	}
}

func TestFor(t *testing.T) {
	cfg, _ := keysOf(t)
	keys, err := sign.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]int{
		"a@example.com": 2, "a@EXAMPLE.com": 2, "a@x.example.com": 1, "a@y.x.example.com": 1,
		"a@other.example": 0, "a@notexample.com": 0, "": 0, "root": 0, "a@com": 0, "a@.example.com": 0,
	} {
		got := 0
		if d := keys.For(address); d != nil {
			got = len(d.Selectors())
		}
		if got != want {
			t.Errorf("%s: %d keys, want %d", address, got, want)
		}
	}
	if (*sign.Keys)(nil).For("a@b") != nil {
		t.Error("no keys, and a domain")
	}
}

// A record of a real key is what RFC 6376 §3.6.1 and RFC 8463 §4 say.
func TestRecord(t *testing.T) {
	record, err := sign.Record(rsaKey().Public())
	rest, ok := strings.CutPrefix(record, "v=DKIM1; k=rsa; p=")
	der, err2 := base64.StdEncoding.DecodeString(rest)
	if key, err3 := x509.ParsePKIXPublicKey(der); err != nil || !ok || err2 != nil || err3 != nil || !rsaKey().PublicKey.Equal(key) {
		t.Errorf("%q, %v %v %v", record, err, err2, err3)
	}
	// RFC 8463 appendix A.
	public, _ := base64.StdEncoding.DecodeString("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
	if got, _ := sign.Record(ed25519.PublicKey(public)); got != "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" {
		t.Errorf("%q", got)
	}
}

func BenchmarkSign(b *testing.B) {
	cfg, _ := keysOf(b)
	for i, name := range []string{"RSA-2048", "Ed25519"} {
		one := config.Default()
		one.DKIM = map[string]*config.DKIM{"example.com": {Domain: "example.com", Keys: cfg.DKIM["example.com"].Keys[i : i+1]}}
		keys, err := sign.New(one)
		if err != nil {
			b.Fatal(err)
		}
		for _, size := range []int{1 << 10, 100 << 10} {
			b.Run(fmt.Sprintf("%s/%dKB", name, size>>10), func(b *testing.B) {
				bench, body := sign.NewBench(), strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78)
				for n := uint64(0); b.Loop(); n++ {
					m := sign.Message{Header: []byte(fmt.Sprintf("From: a@example.com\r\nSubject: %d\r\n", n)), Body: strings.NewReader(body)}
					if _, err := bench.Sign(keys.For("a@example.com"), &m); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
