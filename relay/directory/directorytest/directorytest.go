// Package directorytest has a directory for tests that does as it is told, be it
// wrong.
package directorytest

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// Directory is a directory that does as it is told.
type Directory struct {
	URL      string
	Asked    atomic.Int64 // connections
	Searches atomic.Int64

	// What follows is set before a directory is made of it.
	Root   map[string][]string
	Search func(c *Asker, base, filter string) // answers a search beside that of the root
	Bind   func(c *Asker, name, password string)
	Silent bool
	TLS    *tls.Config // for StartTLS

	started sync.Once
	listen  net.Listener
}

// Asker is one connection to it.
type Asker struct {
	net.Conn
	id      int64
	Request *ber.Packet
}

func New(t testing.TB) *Directory {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Directory{URL: "ldap://" + l.Addr().String(), listen: l, Root: map[string][]string{"namingContexts": {"dc=x"}}}
	t.Cleanup(func() { _ = l.Close() })
	return f
}

// start has it answer.
func (f *Directory) Start(t testing.TB) { f.started.Do(func() { f.start(t) }) }

func (f *Directory) start(t testing.TB) {
	var all sync.WaitGroup
	var open sync.Map
	all.Go(func() {
		for {
			conn, err := f.listen.Accept()
			if err != nil {
				return
			}
			f.Asked.Add(1)
			open.Store(conn, nil)
			all.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = f.listen.Close()
		open.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		all.Wait()
	})
}

func (f *Directory) serve(conn net.Conn) {
	if f.Silent {
		return
	}
	defer conn.Close()
	c := &Asker{Conn: conn}
	for {
		p, err := ber.ReadPacket(c.Conn)
		if err != nil || len(p.Children) < 2 {
			return
		}
		c.id, _ = p.Children[0].Value.(int64)
		c.Request = p
		op := p.Children[1]
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			if f.Bind != nil {
				f.Bind(c, op.Children[1].Data.String(), op.Children[2].Data.String())
			} else {
				c.Result(ldap.ApplicationBindResponse, 0, "")
			}
		case ldap.ApplicationExtendedRequest:
			if f.TLS == nil {
				c.Result(ldap.ApplicationExtendedResponse, ldap.LDAPResultProtocolError, "no TLS here")
				continue
			}
			c.Result(ldap.ApplicationExtendedResponse, 0, "")
			c.Conn = tls.Server(c.Conn, f.TLS)
		case ldap.ApplicationSearchRequest:
			base := op.Children[0].Data.String()
			if base == "" {
				c.Entry("", f.Root)
				c.Done(0)
				continue
			}
			f.Searches.Add(1)
			filter, _ := ldap.DecompileFilter(op.Children[6])
			f.Search(c, base, filter)
		case ldap.ApplicationUnbindRequest:
			return
		}
	}
}

func (c *Asker) Message(op *ber.Packet) *ber.Packet {
	m := ber.NewSequence("")
	m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, c.id, ""))
	m.AppendChild(op)
	return m
}

func (c *Asker) send(m *ber.Packet) { _, _ = c.Write(m.Bytes()) }

func text(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func (c *Asker) Result(tag ber.Tag, code int, said string) {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	op.AppendChild(text(""))
	op.AppendChild(text(said))
	c.send(c.Message(op))
}

func (c *Asker) Done(code int) { c.Result(ldap.ApplicationSearchResultDone, code, "") }

// page ends one, with a cookie.
func (c *Asker) Page(cookie string) {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultDone, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, 0, ""))
	op.AppendChild(text(""))
	op.AppendChild(text(""))
	m := c.Message(op)
	paging := ldap.NewControlPaging(0)
	paging.SetCookie([]byte(cookie))
	controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
	controls.AppendChild(paging.Encode())
	m.AppendChild(controls)
	c.send(m)
}

func (c *Asker) Entry(dn string, attributes map[string][]string) {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	op.AppendChild(text(dn))
	list := ber.NewSequence("")
	for name, values := range attributes {
		a := ber.NewSequence("")
		a.AppendChild(text(name))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(text(v))
		}
		a.AppendChild(set)
		list.AppendChild(a)
	}
	op.AppendChild(list)
	c.send(c.Message(op))
}

func (c *Asker) Reference(url string) {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultReference, nil, "")
	op.AppendChild(text(url))
	c.send(c.Message(op))
}

func (c *Asker) Person(name, address string) {
	c.Entry("cn="+name+",dc=x", map[string][]string{"cn": {name}, "mail": {address}, "objectClass": {"inetOrgPerson"}})
}
