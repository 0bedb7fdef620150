package console

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/cmd/trend"
)

// The figures of the last day are there for the script, with gaps where nothing
// ran, and in a table.
func TestCharts(t *testing.T) {
	_, s := newRelay(t)
	b := open(t, s, "look")
	if _, _, body := b.get("/"); !strings.Contains(body, "The first figures come a minute after the start.") || strings.Contains(body, `id="charts"`) {
		t.Error("there are figures from the start")
	}
	if _, _, body := b.get("/trend"); !strings.HasPrefix(body, `{"at":[],`) {
		t.Error(body)
	}
	now := time.Now().Truncate(time.Hour)
	s.Trend.Add(now.Add(-10*time.Minute), trend.Totals{Accepted: 7, Delivered: 5, Deferred: 1}, 3)
	s.Trend.Add(now.Add(-9*time.Minute), trend.Totals{Accepted: 1007, Delivered: 8, Deferred: 1}, 40)
	s.Trend.Add(now.Add(-time.Minute), trend.Totals{Accepted: 1008, Delivered: 9, Deferred: 2}, 0)
	_, h, body := b.get("/trend")
	var got struct {
		At                                   []int64
		Accepted, Delivered, Deferred, Queue []any
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || h.Get("Content-Type") != "application/json" {
		t.Fatal(err, h)
	}
	at := now.Unix()
	if want := []int64{at - 600, at - 540, at - 539, at - 60}; !reflect.DeepEqual(got.At, want) {
		t.Errorf("%v, want %v", got.At, want)
	}
	for _, c := range []struct {
		name      string
		got, want []any
	}{
		{"accepted", got.Accepted, []any{7., 1000., nil, 1.}}, {"delivered", got.Delivered, []any{5., 3., nil, 1.}},
		{"deferred", got.Deferred, []any{1., 0., nil, 1.}}, {"queue", got.Queue, []any{3., 40., nil, 0.}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
	if _, _, body := b.get("/"); !strings.Contains(body, `"Accepted" class="n">1008</td><td data-label="Delivered" class="n">9</td><td data-label="Deferred" class="n">2</td><td data-label="Queue, most" class="n">40</td>`) || !strings.Contains(body, `id="charts"`) {
		t.Error(body)
	}
}
