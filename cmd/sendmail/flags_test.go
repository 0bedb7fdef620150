package sendmail

import (
	"reflect"
	"strings"
	"testing"
)

// What programs pass was captured from them (Debian 12); each line is their
// argv.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		argv string
		want Flags
	}{
		{"-FCronDaemon -i -B8BITMIME -oem root", Flags{Name: "CronDaemon", IgnoreDots: true, Operands: []string{"root"}}},
		{"-FAnacron -i -B8BITMIME root", Flags{Name: "Anacron", IgnoreDots: true, Operands: []string{"root"}}},
		{"-t -i -fshop@example.com", Flags{FromHeader: true, IgnoreDots: true, From: "shop@example.com", Given: true}},
		{"-f a@example.com -i b@example.org c@example.org", Flags{From: "a@example.com", Given: true, IgnoreDots: true, Operands: []string{"b@example.org", "c@example.org"}}},
		{"-oem -oi -f a@example.com -N failure,delay -R hdrs -- -b@example.org", Flags{IgnoreDots: true, From: "a@example.com", Given: true,
			Notify: "failure,delay", Return: "hdrs", Operands: []string{"-b@example.org"}}},
		{"-oi -f a@example.com -t", Flags{IgnoreDots: true, From: "a@example.com", Given: true, FromHeader: true}},
		{"-t -oi -oem -fa@example.com", Flags{FromHeader: true, IgnoreDots: true, From: "a@example.com", Given: true}},
		{"-ti", Flags{FromHeader: true, IgnoreDots: true}},
		{"-bm -t", Flags{FromHeader: true}},
		{"-bs -odb -oem", Flags{Mode: Session}},
		{"-bs", Flags{Mode: Session}}, {"-bp", Flags{Mode: List}}, {"-bi", Flags{Mode: Aliases}}, {"-I", Flags{Mode: Aliases}},
		{"-bv ann", Flags{Mode: Verify, Operands: []string{"ann"}}},
		{"-bd -q30m", Flags{Mode: Flush}}, {"-bd", Flags{Mode: Daemon}}, {"-bD", Flags{Mode: Daemon}}, {"-bl", Flags{Mode: Daemon}},
		{"-q", Flags{Mode: Flush}}, {"-q15m", Flags{Mode: Flush}},
		{"-V id+1 -Nnever -RFULL r", Flags{EnvelopeID: "id+1", Notify: "never", Return: "FULL", Operands: []string{"r"}}},
		{"-N sometimes -R all r", Flags{Unknown: []string{"-N sometimes", "-R all"}, Operands: []string{"r"}}},
		{"-r a@example.com r -f b@example.com", Flags{From: "b@example.com", Given: true, Operands: []string{"r"}}},
		// Mail of cron was lost to each of these elsewhere.
		{"-em -t", Flags{FromHeader: true}}, {"-e m -t", Flags{FromHeader: true}}, {"-odb -t", Flags{FromHeader: true}}, {"-o db -t", Flags{FromHeader: true}},
		{"-O DeliveryMode=b -t", Flags{FromHeader: true}}, {"-Am -G -U -n -m -v -h 3 -L tag -p ESMTP:x -d0.1 -t", Flags{FromHeader: true}},
		{"-C/tmp/evil.cf -X/var/www/shell.php -oQ/tmp -t", Flags{FromHeader: true}},
		{"-C /tmp/evil.cf -X /var/www/shell.php -t", Flags{FromHeader: true}},
		{"-Zyx --config=/tmp/evil --verbose -t", Flags{FromHeader: true, Unknown: []string{"-Zyx", "--config=/tmp/evil", "--verbose"}}},
		{"-t -f", Flags{FromHeader: true, Unknown: []string{"-f without a value"}}},
		{"-bt r", Flags{Unknown: []string{"-bt"}, Operands: []string{"r"}}},
	} {
		if got := Parse(strings.Fields(c.argv)); !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s\n got %+v\nwant %+v", c.argv, *got, c.want)
		}
	}
	for _, null := range [][]string{{"-f", ""}, {"-f", "<>"}, {"-f<>"}} {
		f := Parse(null)
		if from, err := f.sender(); from != "" || err != nil || !f.Given {
			t.Errorf("%q: sender %q, %v", null, from, err)
		}
	}
}
