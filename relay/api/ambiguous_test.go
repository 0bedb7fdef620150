package api

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What two readers would take for different things is refused.
func TestAmbiguousRequests(t *testing.T) {
	r := newRig(t, "")
	form := func(header string) call {
		return call{path: "/v1/messages", kind: "multipart/form-data; boundary=x", body: "--x\r\nContent-Disposition: form-data; name=\"from\"\r\n" + header + "\r\n\r\na@example.com\r\n--x--\r\n"}
	}
	for name, c := range map[string]struct {
		call
		want int
		text string
	}{
		"a name twice":           {call{path: "/emails", body: `{"from":"a@example.com","to":"b@example.org","subject":"x","text":"y","from":"c@example.com"}`}, 422, "from: is given twice"},
		"in another case":        {call{path: "/emails", body: `{"from":"a@example.com","to":"b@example.org","subject":"x","text":"y","FROM":"c@example.com"}`}, 422, "FROM: is given twice"},
		"by a look-alike":        {call{path: "/emails", body: `{"from":"a@example.com","to":"b@example.org","\u017fubject":"z","subject":"x","text":"y"}`}, 422, "subject: is given twice"},
		"escaped":                {call{path: "/emails", body: `{"from":"a@example.com","to":"b@example.org","subject":"x","text":"y","\u0066rom":"c@example.com"}`}, 422, "from: is given twice"},
		"within a list":          {call{path: "/emails/batch", body: `[{"from":"a@example.com","to":"b@example.org","subject":"x","text":"y","headers":{"X-A":"1","x-a":"2"}}]`}, 422, "x-a: is given twice"},
		"the same in two":        {call{path: "/emails/batch", body: `[{"from":"a@example.com","to":"b@example.org","subject":"x","text":"{\"y\":1,\"y\":2}"},{"from":"a@example.com","to":"b@example.org","subject":"x","text":"y"}]`}, 200, "id"},
		"no UTF-8":               {call{path: "/emails", body: "{\"from\":\"a@example.com\",\"to\":\"b@example.org\",\"subject\":\"\xff\",\"text\":\"y\"}"}, 422, "not UTF-8"},
		"an empty Origin":        {call{path: "/emails", body: good, header: []string{"Origin: "}}, 403, "web pages"},
		"Node.js":                {call{path: "/emails", body: good, header: []string{"Sec-Fetch-Mode: cors"}}, 200, "id"},
		"two tokens":             {call{path: "/emails", body: good, header: []string{"X-Postmark-Server-Token: " + secret}}, 403, ""},
		"an encoded part":        {form("Content-Transfer-Encoding: base64"), 422, "Content-Transfer-Encoding"},
		"a part that says 8bit":  {form("Content-Transfer-Encoding: 8bit"), 422, "to: "},
		"a part that says 7-bit": {form("Content-Transfer-Encoding: 7bit"), 422, "to: "},
	} {
		if a := r.do(c.call); a.status != c.want || !strings.Contains(a.body, c.text) {
			t.Errorf("%s: %d %s, want %d %s", name, a.status, a.body, c.want, c.text)
		}
	}
}

// What follows a body whose length is told twice is no request: a proxy in front
// may take it for the rest of the body.
func TestNothingFollowsAChunkedBody(t *testing.T) {
	r := newRig(t, "")
	c := r.dial(false)
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(good), good)
	next := "GET /emails/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + secret + "\r\n\r\n"
	fmt.Fprintf(c, "POST /emails HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%s%s",
		secret, mediaJSON, len(chunks)+len(next), chunks, next)
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	if rest, _ := io.ReadAll(in); !res.Close || len(rest) > 0 {
		t.Errorf("%s, then %q", res.Status, rest)
	}
}

func FuzzTwice(f *testing.F) {
	for _, s := range []string{good, `{"a":1,"A":2}`, `[{"a":{"b":1},"b":[{"a":1}]}]`, `{"a":"\"","a\"":1}`, `}]{"`, `{"\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if name := twice(b); name != "" && len(name) > len(b) {
			t.Errorf("%q", name)
		}
	})
}
