package api

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A long body is read as a short one is, with the same refusals: of fields that
// are not known, of what follows, of what is no JSON in the middle of a long text.
func TestLongBodiesAreReadTheSame(t *testing.T) {
	text := strings.Repeat("long \\\"text\\\\ ", 400)
	pad := `"text":"` + strings.Repeat(text, 20) + `"`
	for _, body := range []string{
		`{PAD}`, `{PAD,"subject":"x"}`, `{"attachments":[{"content":"` + strings.Repeat("QUFB", 1000) + `"}],PAD}`,
		`{PAD,"unknown":1}`, `{PAD,"` + strings.Repeat("n", 2000) + `" : 1}`, `{PAD} x`, `{PAD}{}`, `{PAD`, `{PAD,"subject":"` + strings.Repeat("x", 2000),
		`{PAD,"subject":"` + strings.Repeat("x", 2000) + `\q"}`, `{PAD,"subject":"` + strings.Repeat("x", 2000) + "\n\"}", `{PAD,"subject":7}`,
		`{PAD,"attachments":[{"content":"` + strings.Repeat("!", 2000) + `"}]}`, `{PAD,"attachments":[{"content":7}]}`, `"` + strings.Repeat("x", 70_000) + `"`, `{PAD,"to":["a",` + `"b"]}`,
	} {
		body = strings.Replace(body, "PAD", pad, 1)
		var got, want resendMail
		f := decode([]byte(body), &got)
		err := decodeKnown([]byte(body), &want)
		if (f == nil) != (err == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%.40s…%s: %v, by the decoder alone %v", body, body[max(0, len(body)-40):], f, err)
		}
	}
}

// An outline is JSON where the text is, with the same names.
func TestOutline(t *testing.T) {
	piece := rapid.SampledFrom([]string{"{", "}", "[", "]", ",", ":", `"a"`, `"` + strings.Repeat("x", 2000) + `"`, `"` + strings.Repeat(`\\`, 1000) + `"`, `"` + strings.Repeat(`\"`, 1000) + `"`, `"\`, " ", "1", "null", `"open`})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), "")
		short := outline([]byte(text))
		if json.Valid([]byte(text)) && !json.Valid(short) {
			t.Fatalf("%q became %q", text, short)
		}
		if len(short) > len(text) {
			t.Fatalf("%q is longer than %q", short, text)
		}
	})
}

// What is decoded from a long body takes less than the body once more, which is
// what a request counts.
func TestDecodingHoldsWhatIsCounted(t *testing.T) {
	data := strings.Repeat("0123456789abcdef", 512<<10) // 8 MiB
	body := []byte(`{"from":"a@example.com","to":"b@example.org","text":"x","attachments":[{"filename":"a.bin","content":"` + base64.StdEncoding.EncodeToString([]byte(data)) + `"}]}`)
	var before, after runtime.MemStats
	var m resendMail
	runtime.ReadMemStats(&before)
	f := decode(body, &m)
	runtime.ReadMemStats(&after)
	if f != nil || len(m.Attachments) != 1 || string(m.Attachments[0].Content) != data {
		t.Fatalf("%+v", f)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(len(body)) {
		t.Errorf("%d bytes were taken to decode %d", took, len(body))
	}
}
