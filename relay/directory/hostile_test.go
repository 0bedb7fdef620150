package directory

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/config"
	"postern/relay/directory/directorytest"
)

// tlv is an element of LDAP of less than 64 KiB.
func tlv(tag byte, parts ...string) string {
	content := strings.Join(parts, "")
	if n := len(content); n > 127 {
		return string([]byte{tag, 0x82, byte(n >> 8), byte(n)}) + content
	}
	return string([]byte{tag, byte(len(content))}) + content
}

// odd are operations that are well-formed BER and not what LDAP has; RFC 4511 §4.
var odd = map[string]string{
	"nothing":               "",
	"empty":                 tlv(0x61),
	"done, empty":           tlv(0x65),
	"entry, empty":          tlv(0x64),
	"entry, name only":      tlv(0x64, tlv(4, "cn=x")),
	"entry, name of parts":  tlv(0x64, tlv(0x30, tlv(4, "x")), tlv(0x30)),
	"entry, odd attribute":  tlv(0x64, tlv(4, "cn=x"), tlv(0x30, tlv(0x30), tlv(4, "y"), tlv(0x30, tlv(4, "cn")), tlv(0x30, tlv(4, "cn"), tlv(4, "x")))),
	"reference, empty":      tlv(0x73),
	"reference, odd":        tlv(0x73, tlv(2, "x"), tlv(0x30)),
	"primitive":             tlv(0x41, "x"),
	"null":                  tlv(5),
	"result of text":        tlv(0x61, tlv(4, "0"), tlv(4), tlv(4)),
	"result, huge code":     tlv(0x61, tlv(10, "\x7f\xff\xff\xff\xff\xff\xff\xff"), tlv(4), tlv(4)),
	"result, longer code":   tlv(0x61, tlv(10, strings.Repeat("\x7f", 60)), tlv(4), tlv(4)),
	"result, negative code": tlv(0x61, tlv(10, "\x80"), tlv(4), tlv(4)),
	"result, no code":       tlv(0x61, tlv(10), tlv(4), tlv(4)),
	"result, one part":      tlv(0x61, tlv(10, "\x00")),
	"result, wrong parts":   tlv(0x61, tlv(10, "\x00"), tlv(0x30), tlv(0x30)),
	"referral, odd":         tlv(0x61, tlv(10, "\x0a"), tlv(4), tlv(4), tlv(0xa3, tlv(4, "ldap://evil.test"), tlv(2))),
	"done, referral":        tlv(0x65, tlv(10, "\x0a"), tlv(4), tlv(4), tlv(0xa3, tlv(4, "ldap://evil.test"))),
	"sasl, odd":             tlv(0x61, tlv(10, "\x0e"), tlv(4), tlv(4), tlv(0xa7, tlv(4, "x"))),
	"controls, empty":       tlv(0x65, tlv(10, "\x00"), tlv(4), tlv(4)) + tlv(0xa0),
	"controls, odd":         tlv(0x65, tlv(10, "\x00"), tlv(4), tlv(4)) + tlv(0xa0, tlv(4, "x"), tlv(0x30), tlv(0x30, tlv(2, "\x01"))),
	"pages, no value":       tlv(0x65, tlv(10, "\x00"), tlv(4), tlv(4)) + tlv(0xa0, tlv(0x30, tlv(4, ldap.ControlTypePaging))),
	"pages, odd value":      tlv(0x65, tlv(10, "\x00"), tlv(4), tlv(4)) + tlv(0xa0, tlv(0x30, tlv(4, ldap.ControlTypePaging), tlv(4, tlv(0x30)))),
	"pages, no sequence":    tlv(0x65, tlv(10, "\x00"), tlv(4), tlv(4)) + tlv(0xa0, tlv(0x30, tlv(4, ldap.ControlTypePaging), tlv(4, "\x30\x7f"))),
	"password policy":       tlv(0x61, tlv(10, "\x00"), tlv(4), tlv(4)) + tlv(0xa0, tlv(0x30, tlv(4, "1.3.6.1.4.1.42.2.27.8.5.1"), tlv(4, tlv(0x30, tlv(0xa0, tlv(0x80)))))),
	"expiring password":     tlv(0x61, tlv(10, "\x00"), tlv(4), tlv(4)) + tlv(0xa0, tlv(0x30, tlv(4, "2.16.840.1.113730.3.4.5"), tlv(4, "x"))),
	"disconnection":         tlv(0x78, tlv(10, "\x34"), tlv(4), tlv(4), tlv(0x8a, "1.3.6.1.4.1.1466.20036")),
	"a request":             tlv(0x60, tlv(2, "\x03"), tlv(4), tlv(0x80)),
}

// Answers that are nearly LDAP, to the sign-in and to a search: each ends with
// an error or an answer, in time, and never a panic or a password elsewhere.
func TestOddAnswers(t *testing.T) {
	t.Parallel()
	for name, op := range odd {
		for _, bind := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s bind=%v", name, bind), func(t *testing.T) {
				t.Parallel()
				f := directorytest.New(t)
				answer := func(c *asker) {
					id := byte(c.Request.Children[0].Value.(int64))
					_, _ = c.Write([]byte(tlv(0x30, tlv(2, string(id)), op)))
					_ = c.Close()
				}
				f.Search = func(c *asker, _, _ string) { answer(c) }
				if bind {
					f.Bind = func(c *asker, _, _ string) { answer(c) }
				}
				d := at(t, func(s *config.Directory) {
					s.Account = config.Account{Auth: config.MechanismSimple, Username: "cn=me", Password: secret(t, "chalk")}
				}, f)
				began := time.Now()
				a, err := d.Find(t.Context(), "ali", 10)
				if took := time.Since(began); took > connectTimeout+2*time.Second {
					t.Errorf("it took %v", took)
				}
				var away *Away
				if err != nil && (!errors.As(err, &away) || strings.Contains(err.Error(), "chalk")) || err == nil && len(a.Entries) > 1 {
					t.Errorf("%v, %v", a, err)
				}
				if err != nil {
					t.Log(err)
				}
			})
		}
	}
}

// A server that talks without end in place of an answer, to the sign-in and to
// StartTLS, is heard for the time of a connection, in little memory.
func TestTalksWithoutEnd(t *testing.T) {
	t.Parallel()
	notice := tlv(0x30, tlv(2, "\x00"), odd["disconnection"])
	for name, c := range map[string]struct {
		first, more string
		pause       time.Duration
	}{
		"notices":              {"", notice, 0},
		"notices now and then": {"", notice, 50 * time.Millisecond},
		"entries":              {"", tlv(0x30, tlv(2, "\x01"), tlv(0x64, tlv(4, "cn="+strings.Repeat("x", 60_000)), tlv(0x30))), 0},
		"a byte now and then":  {"\x30\x84\x00\x10\x00\x00", "x", 50 * time.Millisecond},
		"empty messages":       {"", "\x30\x00", 0},
	} {
		for _, mode := range []config.DirectoryTLS{config.DirectoryTLSOff, config.DirectoryTLSVerify} {
			t.Run(fmt.Sprint(name, " ", mode), func(t *testing.T) {
				t.Parallel()
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				var serving sync.WaitGroup
				serving.Go(func() {
					for {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						serving.Go(func() {
							defer conn.Close()
							_, _ = conn.Read(make([]byte, 4096))
							for _, err := io.WriteString(conn, c.first); err == nil; _, err = io.WriteString(conn, c.more) {
								time.Sleep(c.pause)
							}
						})
					}
				})
				t.Cleanup(func() {
					_ = l.Close()
					serving.Wait()
				})
				d := open(t, config.Directory{
					TLS: mode, Schema: config.SchemaAuto, Timeout: time.Second, Servers: servers(t, "ldap://"+l.Addr().String()),
					Account: config.Account{Auth: config.MechanismSimple, Username: "cn=me", Password: secret(t, "chalk")},
				})
				d.most = 4 << 20
				began := time.Now()
				_, err = d.Find(t.Context(), "ali", 10)
				var away *Away
				if took := time.Since(began); !errors.As(err, &away) || took > 2*connectTimeout+2*time.Second {
					t.Errorf("%v after %v", err, took)
				}
				t.Log(time.Since(began).Round(time.Millisecond), err)
			})
		}
	}
}
