package api

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern/relay/addressbook"
)

// schema is what is looked at of one in openapi.json.
type schema struct {
	Ref        string            `json:"$ref"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Enum       []any             `json:"enum"`
}

type description struct {
	Paths map[string]map[string]struct {
		RequestBody struct {
			Content map[string]struct{ Schema schema }
		}
	}
	Components struct{ Schemas map[string]schema }
}

// openapi.json says what the code does: routes with their bodies, the fields of
// each request and answer, and the names of failures.
func TestOpenAPI(t *testing.T) {
	r := newRig(t, "")
	a := r.do(call{method: "GET", path: "/openapi.json"})
	var d description
	if err := json.Unmarshal([]byte(a.body), &d); err != nil || a.status != 200 {
		t.Fatalf("%d: %v", a.status, err)
	}
	routes := map[string][]string{}
	for path, methods := range d.Paths {
		for method, op := range methods {
			routes[strings.ToUpper(method)+" "+path] = slices.Sorted(maps.Keys(op.RequestBody.Content))
		}
	}
	for _, row := range table {
		name := row.method + " " + row.path
		got, ok := routes[name]
		if want := slices.Sorted(slices.Values(row.media)); !ok || !slices.Equal(got, want) {
			t.Errorf("%s takes %v, the description says %v", name, want, got)
		}
		delete(routes, name)
	}
	for name := range routes {
		t.Errorf("%s is described, and there is no such route", name)
	}
	for name, v := range map[string]any{
		"Mail": resendMail{}, "Attachment": resendAttachment{}, "Template": resendTemplate{}, "Accepted": accepted{}, "Batch": batchAnswer{},
		"Status": emailStatus{}, "Recipient": recipientStatus{}, "Error": answer{}, "PostmarkMail": postmarkMail{},
		"PostmarkAttachment": postmarkAttachment{}, "PostmarkAnswer": postmarkAnswer{}, "SendGridMail": sendgridMail{},
		"SendGridPersonalization": sendgridPersonalization{}, "SendGridAddress": sendgridAddress{}, "SendGridAttachment": sendgridAttachment{},
		"BookQuestion": bookQuestion{}, "BookAddresses": bookAddresses{}, "BookAddress": bookAddress{}, "BookFault": addressbook.Fault{},
		"BookEntry": addressbook.Entry{}, "BookFound": addressbook.Found{}, "BookMember": addressbook.Member{}, "BookExpansion": addressbook.Expansion{},
	} {
		got := slices.Sorted(maps.Keys(d.Components.Schemas[name].Properties))
		if want := jsonFields(reflect.TypeOf(v)); !slices.Equal(got, want) {
			t.Errorf("%s has %v, the description says %v", name, want, got)
		}
		delete(d.Components.Schemas, name)
	}
	delete(d.Components.Schemas, "Notify") // a text, or a list of such
	delete(d.Components.Schemas, "Form")   // TestGoldens and TestFailuresOfDialects have its fields
	for name := range d.Components.Schemas {
		t.Errorf("%s is described, and compared with nothing", name)
	}
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		t.Fatal(err)
	}
	var described []string
	for _, v := range d.Components.Schemas["Error"].Properties["name"].Enum {
		described = append(described, v.(string))
	}
	if !slices.Equal(described, names) {
		t.Errorf("the names of failures are %v, the description says %v", names, described)
	}
}

// jsonFields are the names that a struct has in JSON.
func jsonFields(t reflect.Type) (out []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			out = append(out, name)
		} else {
			out = append(out, f.Name)
		}
	}
	slices.Sort(out)
	return out
}

// The list of names is whole: each that the code can answer is in it.
func TestEveryNameIsListed(t *testing.T) {
	for _, f := range []*failure{missingKey, wrongKey, tooManyGuesses, noMemory, defect, unknownMessage, unavailable, invalid("")} {
		if !slices.Contains(names, f.name) {
			t.Errorf("%s is not listed", f.name)
		}
	}
}
