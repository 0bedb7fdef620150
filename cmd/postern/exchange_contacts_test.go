//go:build unix

package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// contact is one of a mailbox; with members it is a distribution list.
type contact struct {
	id, name, address string
	version           int // of what it says
	members           []string
}

// findItem and getItem are what is asked for.
type findItem struct {
	Folders []struct {
		ID string `xml:"Id,attr"`
	} `xml:"ParentFolderIds>DistinguishedFolderId"`
	Named []struct {
		Value string `xml:",attr"`
	} `xml:"Restriction>IsEqualTo>FieldURIOrConstant>Constant"`
	Page struct {
		Most int `xml:"MaxEntriesReturned,attr"`
	} `xml:"IndexedPageItemView"`
}

type getItem struct {
	IDs []struct {
		ID string `xml:"Id,attr"`
	} `xml:"ItemIds>ItemId"`
}

// Properties of MAPI ([MS-OXPROPS]) that DavMail reads: when something was changed,
// the class of a folder, its latest change, the number and the name of an item, and
// the parts of a name.
const (
	lastModified, containerClass, contentTag = "0x3008", "0x3613", "0x670a"
	itemNumber, urlName                      = "0xe23", "0x10f3"
	displayName, givenName, surname          = "0x3001", "0x3a06", "0x3a11"
)

func mapi(tag, kind, value string) string {
	return fmt.Sprintf(`<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="%s" PropertyType="%s"/><t:Value>%s</t:Value></t:ExtendedProperty>`, tag, kind, value)
}

func changedAt(version int) string { return fmt.Sprintf("2026-11-29T10:%02d:00Z", version) }

// state is what tells DavMail whether the items of a folder have changed.
func (e *exchange) state(folder string) string {
	changed, class := 0, "IPF.Note"
	if folder == "contacts" {
		class = "IPF.Contact"
		for _, c := range *e.contacts.Load() {
			changed += c.version + 1
		}
	}
	return mapi(lastModified, "SystemTime", changedAt(changed)) + mapi(contentTag, "SystemTime", changedAt(changed)) + mapi(containerClass, "String", class)
}

func (c *contact) item(number int) string {
	kind, first, family := "Contact", "", ""
	if first, family, _ = strings.Cut(c.name, " "); c.members != nil {
		kind = "DistributionList"
	}
	text := fmt.Sprintf(`<t:%s><t:ItemId Id="%s" ChangeKey="%d"/>`, kind, c.id, c.version) +
		mapi(itemNumber, "Integer", fmt.Sprint(number)) + mapi(urlName, "String", c.id+".EML") + mapi(lastModified, "SystemTime", changedAt(c.version)) +
		mapi(displayName, "String", c.name) + mapi(givenName, "String", first) + mapi(surname, "String", family)
	if c.members == nil {
		text += `<t:EmailAddresses><t:Entry Key="EmailAddress1">` + c.address + `</t:Entry></t:EmailAddresses>`
	} else {
		text += "<t:Members>"
		for _, m := range c.members {
			text += fmt.Sprintf(`<t:Member Key="%s"><t:Mailbox><t:Name>%[1]s</t:Name><t:EmailAddress>%[1]s</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType><t:MailboxType>OneOff</t:MailboxType></t:Mailbox><t:Status>Normal</t:Status></t:Member>`, m)
		}
		text += "</t:Members>"
	}
	return text + "</t:" + kind + ">"
}

// find answers with the items of a folder, or with that of a name.
func (e *exchange) find(w http.ResponseWriter, asked *findItem) {
	var items []string
	if len(asked.Folders) == 1 && asked.Folders[0].ID == "contacts" {
		for i, c := range *e.contacts.Load() {
			if len(asked.Named) == 0 || asked.Named[0].Value == c.id+".EML" {
				items = append(items, c.item(i+1))
			}
		}
	}
	slices.Reverse(items) // the highest number first
	soap(w, "FindItem", "NoError", fmt.Sprintf(`<m:RootFolder TotalItemsInView="%d" IncludesLastItemInRange="true"><t:Items>%s</t:Items></m:RootFolder>`, len(items), strings.Join(items, "")))
}

func (e *exchange) get(w http.ResponseWriter, asked *getItem) {
	for i, c := range *e.contacts.Load() {
		if len(asked.IDs) == 1 && asked.IDs[0].ID == c.id {
			soap(w, "GetItem", "NoError", "<m:Items>"+c.item(i+1)+"</m:Items>")
			return
		}
	}
	soap(w, "GetItem", "ErrorItemNotFound", "")
}
