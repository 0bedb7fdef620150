//go:build unix

package main

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// exchange answers those requests of Exchange Web Services that DavMail makes for
// its LDAP and CardDAV, in the shapes that Microsoft documents ([MS-OXWSRSLNM],
// [MS-OXWSFOLD], [MS-OXWSCVTID], [MS-OXWSCONT], [MS-OXWSDLIST]): a mailbox with
// contacts and an address list, for one user with a password.
type exchange struct {
	*httptest.Server
	list     []onList
	contacts atomic.Pointer[[]contact]
	stall    atomic.Bool   // names are not answered
	ended    chan struct{} // the test has
}

// onList is somebody of the address list.
type onList struct{ name, address, kind string }

func newExchange(t *testing.T, list ...onList) *exchange {
	e := &exchange{list: list, ended: make(chan struct{})}
	e.contacts.Store(&[]contact{})
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	t.Cleanup(func() { close(e.ended) })
	return e
}

func (e *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user != "alice@corp.example" || password != "s3cret" {
		w.Header().Set("WWW-Authenticate", `Basic realm="exchange"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var asked struct {
		Body struct {
			GetFolder *struct {
				IDs []struct {
					ID string `xml:"Id,attr"`
				} `xml:"FolderIds>DistinguishedFolderId"`
			}
			ConvertId    *struct{}
			FindItem     *findItem
			GetItem      *getItem
			ResolveNames *struct{ UnresolvedEntry string }
		}
	}
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = xml.Unmarshal(text, &asked)
	}
	b := &asked.Body
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case b.GetFolder != nil && len(b.GetFolder.IDs) == 1:
		name := b.GetFolder.IDs[0].ID
		soap(w, "GetFolder", "NoError", "<m:Folders><t:Folder><t:FolderId Id=\""+name+"\" ChangeKey=\"1\"/><t:DisplayName>"+name+"</t:DisplayName>"+e.state(name)+"</t:Folder></m:Folders>")
	case b.ConvertId != nil:
		soap(w, "ConvertId", "NoError", `<m:AlternateId xsi:type="t:AlternateIdType" Format="EwsId" Id="root" Mailbox="alice@corp.example"/>`)
	case b.FindItem != nil:
		e.find(w, b.FindItem)
	case b.GetItem != nil:
		e.get(w, b.GetItem)
	case b.ResolveNames != nil:
		if e.stall.Load() {
			select {
			case <-e.ended:
			case <-r.Context().Done():
			}
			return
		}
		e.resolve(w, b.ResolveNames.UnresolvedEntry)
	default:
		soap(w, "GetFolder", "ErrorInvalidRequest", "")
	}
}

// resolve is the ambiguous name resolution of Exchange, which ends at 100.
func (e *exchange) resolve(w http.ResponseWriter, text string) {
	text = strings.ToLower(strings.TrimPrefix(text, "smtp:"))
	var found []onList
	for _, l := range e.list {
		words := append(strings.Fields(strings.ToLower(l.name)), strings.ToLower(l.name), l.address)
		if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, text) }) {
			found = append(found, l)
		}
	}
	last := len(found) <= 100
	found = found[:min(100, len(found))]
	var b strings.Builder
	fmt.Fprintf(&b, `<m:ResolutionSet TotalItemsInView="%d" IncludesLastItemInRange="%t">`, len(found), last)
	for _, l := range found {
		first, family, _ := strings.Cut(l.name, " ")
		fmt.Fprintf(&b, `<t:Resolution><t:Mailbox><t:Name>%s</t:Name><t:EmailAddress>%s</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType><t:MailboxType>%s</t:MailboxType></t:Mailbox>`+
			`<t:Contact><t:DisplayName>%[1]s</t:DisplayName><t:GivenName>%[4]s</t:GivenName><t:EmailAddresses><t:Entry Key="EmailAddress1">SMTP:%[2]s</t:Entry></t:EmailAddresses>`+
			`<t:ContactSource>ActiveDirectory</t:ContactSource><t:Surname>%[5]s</t:Surname></t:Contact></t:Resolution>`, l.name, l.address, cmp.Or(l.kind, "Mailbox"), first, family)
	}
	b.WriteString("</m:ResolutionSet>")
	switch len(found) {
	case 0:
		soap(w, "ResolveNames", "ErrorNameResolutionNoResults", "")
	case 1:
		soap(w, "ResolveNames", "NoError", b.String())
	default:
		soap(w, "ResolveNames", "ErrorNameResolutionMultipleResults", b.String())
	}
}

func soap(w http.ResponseWriter, what, code, inner string) {
	class := "Success"
	switch {
	case code != "NoError" && inner != "":
		class = "Warning"
	case code != "NoError":
		class = "Error"
	}
	const of = "http://schemas.microsoft.com/exchange/services/2006/"
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:t="%stypes" xmlns:m="%[1]smessages" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">`+
		`<s:Header><t:ServerVersionInfo MajorVersion="15" MinorVersion="1" MajorBuildNumber="2507" MinorBuildNumber="6" Version="V2017_07_11"/></s:Header>`+
		`<s:Body><m:%sResponse><m:ResponseMessages><m:%[2]sResponseMessage ResponseClass="%s"><m:ResponseCode>%s</m:ResponseCode>%s</m:%[2]sResponseMessage></m:ResponseMessages></m:%[2]sResponse></s:Body></s:Envelope>`,
		of, what, class, code, inner)
}
