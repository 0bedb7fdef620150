package told

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"testing"
)

func TestRepeats(t *testing.T) {
	var told Secrets
	const secret = "S3cret pässword!"
	told.Add(secret)
	told.Add("short")
	mirrored := []byte(secret)
	slices.Reverse(mirrored)
	for _, text := range []string{
		secret, "it was " + secret + ", wasn't it", "S-3-c-r-e-t-p-ä-s-s-w-o-r-d", "S3CRET\nPäSSWORD",
		string(mirrored), hex.EncodeToString([]byte(secret)), "53 33 63 72 65 74 20 70 c3 a4 73 73 77 6f 72 64 21",
		base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte("\x00u\x00" + secret)),
		base64.StdEncoding.EncodeToString([]byte("\x00us\x00" + secret)),
		base64.StdEncoding.EncodeToString([]byte("\x00use\x00" + secret)),
		base64.URLEncoding.EncodeToString([]byte(secret + secret)),
	} {
		if !told.Repeats([]byte(text)) {
			t.Errorf("%q is shown", text)
		}
	}
	for _, text := range []string{"", "5.7.1 wrong password", "in short: no", "secret"} {
		if told.Repeats([]byte(text)) {
			t.Errorf("%q is not shown", text)
		}
	}
}
