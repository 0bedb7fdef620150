package trend

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A sample has what happened since the one before; more than a day is not kept, nor
// what a clock that was set back makes the future.
func TestAdd(t *testing.T) {
	d, err := Open(t.TempDir(), noon)
	if err != nil {
		t.Fatal(err)
	}
	d.Add(noon, Totals{Accepted: 5, Delivered: 3, Deferred: 1}, 2)
	d.Add(noon.Add(time.Minute), Totals{Accepted: 15, Delivered: 4, Deferred: 1}, 12)
	want := []Sample{{noon.Unix(), 5, 3, 1, 2}, {noon.Unix() + 60, 10, 1, 0, 12}}
	if got := d.Samples(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	d.Add(noon.Add(30*time.Second), Totals{Accepted: 16, Delivered: 4, Deferred: 1}, 0)
	want = []Sample{{noon.Unix(), 5, 3, 1, 2}, {noon.Unix() + 30, 1, 0, 0, 0}}
	if got := d.Samples(); !reflect.DeepEqual(got, want) {
		t.Errorf("after the clock was set back: %+v", got)
	}
	for i := range 3 * maxSamples {
		d.Add(noon.Add(time.Duration(i)*time.Second), Totals{}, 0)
	}
	if n := len(d.Samples()); n != maxSamples {
		t.Errorf("%d samples", n)
	}
	d.Add(noon.Add(48*time.Hour), Totals{}, 0)
	if n := len(d.Samples()); n != 1 {
		t.Errorf("after two days: %d", n)
	}
}

// A restart goes on with what was saved, and counts from 0.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trend")
	d, err := Open(dir, noon)
	if err != nil {
		t.Fatal(err)
	}
	d.Add(noon.Add(-25*time.Hour), Totals{}, 0)
	d.Add(noon, Totals{Accepted: 5}, 2)
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(dir, noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	d.Add(noon.Add(2*time.Minute), Totals{Accepted: 1}, 1)
	want := []Sample{{noon.Unix(), 5, 0, 0, 2}, {noon.Unix() + 120, 1, 0, 0, 1}}
	if got := d.Samples(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for text, broken := range map[string]bool{"[{": true, `[{"t":9999999999},{"t":5,"q":-1},{"t":5,"a":-1}]`: false, `{"t":5}`: true} {
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if d, err := Open(dir, noon); (err != nil) != broken || len(d.Samples()) > 0 {
			t.Errorf("%s: %v, %+v", text, err, d.Samples())
		}
	}
}

func TestHours(t *testing.T) {
	at := func(text string) int64 {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when.Unix()
	}
	got := Hours([]Sample{
		{at("2026-03-01T08:59:00Z"), 1, 1, 1, 9}, {at("2026-03-01T11:00:00Z"), 2, 0, 0, 5}, {at("2026-03-01T11:01:00Z"), 4, 1, 0, 7}, {at("2026-03-01T12:00:00Z"), 8, 0, 1, 3},
	}, time.UTC)
	hour := func(h int) time.Time { return time.Date(2026, 3, 1, h, 0, 0, 0, time.UTC) }
	want := []Hour{{hour(11), 12, 1, 1, 7}, {hour(10), 2, 0, 0, 5}, {hour(8), 1, 1, 1, 9}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
