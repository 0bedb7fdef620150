package wire

import (
	"net/mail"
	"strings"
	"testing"
)

func TestCompleteNames(t *testing.T) {
	for _, c := range []struct{ value, want string }{ // an empty want: nothing is changed
		{" root", " root@d"}, {" root (Cron Daemon)", " root@d (Cron Daemon)"}, {" (Cron, Daemon) root", " (Cron, Daemon) root@d"},
		{" Cron Daemon <root>", " Cron Daemon <root@d>"}, {" \"a, b\" <root>, c", " \"a, b\" <root@d>, c@d"},
		{" a@b, root,\r\n\tc@d", " a@b, root@d,\r\n\tc@d"}, {" \"John Smith\"", " \"John Smith\"@d"}, {" <\"a b\">", " <\"a b\"@d>"},
		{" team: a, <b>; c", " team: a@d, <b@d>; c@d"}, {" a.b", " a.b@d"}, {" < root >", " < root@d >"}, {" ü", " ü@d"},
		{"", ""}, {" a@b", ""}, {" <a@b>", ""}, {" <>", ""}, {" John Smith", ""}, {" undisclosed-recipients:;", ""}, {" <@a,@b:c@d>", ""},
		{" root <", ""}, {" (root", ""}, {" \"root", ""}, {" a@[1.2.3.4", ""}, {" <root> x", ""}, {" <<root>>", ""}, {" root>", ""},
		{" a..b", ""}, {" .", ""}, {" a @ b", ""}, {" \"a\" . b @ c", ""}, {" ]", ""}, {" [1.2.3.4]", ""},
	} {
		got := CompleteNames([]byte(c.value), "d")
		if string(got) != c.want {
			t.Errorf("%q: %q, want %q", c.value, got, c.want)
		}
	}
}

// FuzzCompleteNames: what is added is added, nothing else changes, and what
// could be read before says the same.
func FuzzCompleteNames(f *testing.F) {
	for _, s := range []string{" root (Cron)", " a <b>, c@d", " x: a, b;", " \"a\\\"b\" <c>", " [", " (("} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := CompleteNames([]byte(value), "completed.example")
		if got == nil {
			return
		}
		if strings.ReplaceAll(string(got), "@completed.example", "") != strings.ReplaceAll(value, "@completed.example", "") {
			t.Errorf("%q became %q", value, got)
		}
		if again := CompleteNames(got, "other.example"); again != nil {
			t.Errorf("%q became %q, and then %q", value, got, again)
		}
		before, err := mail.ParseAddressList(value)
		if err != nil {
			return
		}
		after, err := mail.ParseAddressList(string(got))
		if err != nil || len(before) != len(after) {
			t.Errorf("%q became %q: %v", value, got, err)
		}
	})
}
