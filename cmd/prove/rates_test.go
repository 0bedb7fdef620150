//go:build linux

package main

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// TestRates measures each peer for a moment: that it can be measured is what counts.
func TestRates(t *testing.T) {
	needPostgres(t)
	var r ratesReport
	prove(t, &r, "rates", "-for", "3s", "-steady", "10s")
	if len(r.Cells) < 4*2*len(loads) || len(r.Steady) != readings {
		t.Fatalf("%d cells and %d readings", len(r.Cells), len(r.Steady))
	}
	for _, c := range r.Cells {
		if c.Rate <= 0 || c.Missing > 0 || (c.WAL > 0) != (c.What == "relayed" && strings.HasPrefix(c.Peer, "postgres")) {
			t.Errorf("%+v", c)
		}
	}
	if last := r.Steady[readings-1]; last.Dead["share"] == 0 && last.Vacuums["share"] == 0 {
		t.Errorf("a load leaves no dead rows: %+v", last)
	}
}

// TestFiller: what clients count as accepted is what an upstream counts as arrived.
func TestFiller(t *testing.T) {
	u, err := count(ownAddress())
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	ctx, cancel := context.WithCancel(t.Context())
	f := &filler{addrs: []string{u.listener.Addr().String()}, sessions: 3, text: text(2000), may: func(accepted int64) bool {
		if accepted >= 50 {
			cancel()
		}
		return true
	}}
	f.fill(ctx)
	if n := f.accepted.Load(); n < 50 || n != u.arrived.Load() || f.refused.Load() > 0 || u.last.Load() == 0 {
		t.Errorf("%d accepted, %d arrived, %d refused: %v", n, u.arrived.Load(), f.refused.Load(), f.why)
	}
	u.close()
	if err := f.one(u.listener.Addr().String()); err == nil {
		t.Error("a message was accepted by nobody")
	}
}

func TestRatesTable(t *testing.T) {
	var rep ratesReport
	for round, rates := range [][2]float64{{100, 50}, {300, 20}, {200, 100}} {
		for i, name := range []string{"journal", "postfix"} {
			rep.Cells = append(rep.Cells, cell{Peer: name, Round: round, What: "accepted", Size: 1 << 10, Sessions: 10, Rate: rates[i]})
		}
	}
	rep.Cells = append(rep.Cells, cell{Peer: "journal", What: "relayed", Size: 1 << 10, Sessions: 10, Rate: 5, Missing: 7})
	if rate, times := rep.median("journal", "accepted", 1<<10, 10); rate != 200 || times != 2 {
		t.Errorf("%v a second, %v times", rate, times)
	}
	if rate, times := rep.median("journal", "relayed", 1<<10, 10); rate != 5 || times != 0 {
		t.Errorf("%v a second, %v times", rate, times)
	}
	table := rep.table()
	if !strings.Contains(table, "200 (2.0)") || !strings.Contains(table, "7 did not arrive") {
		t.Error(table)
	}
	if got := []float64{middle(nil), middle([]float64{3}), middle([]float64{4, 1}), middle([]float64{9, 1, 2})}; !slices.Equal(got, []float64{0, 3, 2.5, 2}) {
		t.Error(got)
	}
}
