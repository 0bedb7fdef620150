package storm

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/spool"
)

func guarded(t *testing.T, c config.Storm, events func(Event)) *Guard {
	t.Helper()
	p, err := NewPolicy(c)
	if err != nil {
		t.Fatal(err)
	}
	g := New(events)
	g.Use(p, time.Now())
	return g
}

func mail(from, subject string, to ...string) *Mail {
	m := &Mail{From: from, Subject: subject}
	for _, a := range to {
		m.To = append(m.To, spool.Recipient{Address: a, Upstreams: []string{"up"}})
	}
	return m
}

func TestShape(t *testing.T) {
	first := mail("App@Example.com", "Job 17 failed (8f3ac2d1)", "a@example.net", "b@example.net")
	copied := mail("app@example.com", "Job 17 failed (8f3ac2d1)", "a@example.net", "b@example.net", "archive@example.com")
	copied.To[2].Copy = true
	for _, c := range []struct {
		name  string
		m     *Mail
		alike bool
	}{
		{"other numbers", mail("app@example.com", "Job 18 failed (00ab44ff)", "a@example.net", "b@example.net"), true},
		{"an ID of letters", mail("app@example.com", "job 9 FAILED deadbeef", "a@example.net", "b@example.net"), true},
		{"other order, other capitals", mail("app@example.com", "Job 1 failed x1", "B@Example.NET", "a@example.net"), true},
		{"encoded words", mail("app@example.com", "=?utf-8?Q?Job_5_failed_=28a1=29?=", "a@example.net", "b@example.net"), true},
		{"folded and spaced", mail("app@example.com", "Job  17\t failed: 1", "a@example.net", "b@example.net"), true},
		{"a copy for the administrator", copied, true},
		{"other sender", mail("app2@example.com", "Job 17 failed (8f3ac2d1)", "a@example.net", "b@example.net"), false},
		{"other words", mail("app@example.com", "Job 17 done (8f3ac2d1)", "a@example.net", "b@example.net"), false},
		{"another number of words", mail("app@example.com", "Job 17 failed", "a@example.net", "b@example.net"), false},
		{"a recipient less", mail("app@example.com", "Job 17 failed (8f3ac2d1)", "a@example.net"), false},
	} {
		if got := c.m.Shape() == first.Shape(); got != c.alike {
			t.Errorf("%s: alike is %v", c.name, got)
		}
	}
}

// TestStorm: what is beyond the number is held until fewer come, and counted once.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began, ended int
		g := guarded(t, config.Storm{Messages: 4, Per: 8 * time.Minute, Except: []string{"orders@example.com"}}, func(e Event) {
			switch e.(type) {
			case *Began:
				began++
			case *Ended:
				ended++
			}
		})
		id := spool.ID(100)
		take := func(m *Mail) bool {
			id++
			s := g.Take(m, id, time.Now())
			if s != 0 {
				g.Keep(s, id, time.Now())
			}
			return s != 0
		}
		at := func(minutes int) { time.Sleep(time.Duration(minutes) * time.Minute); g.Look(time.Now()) }
		job := func(i int) *Mail { return mail("app@example.com", fmt.Sprint("Job ", i), "a@example.net") }
		for i := range 4 {
			if take(job(i)) {
				t.Fatalf("message %d is held", i)
			}
		}
		for range 10 {
			for _, m := range []*Mail{mail("", "Job 1", "a@example.net"), mail("orders@example.com", "Job 1", "a@example.net")} {
				if take(m) {
					t.Fatalf("<%s> is held", m.From)
				}
			}
		}
		g.Take(job(5), 99, time.Now()) // the disk is full
		g.Drop(job(5), time.Now())
		if take(mail("app@example.com", "Job 1", "b@example.net")) {
			t.Fatal("another recipient is held")
		}
		at(9)
		for i := range 4 {
			if take(job(i)) {
				t.Fatalf("message %d is held, and the others are long ago", i)
			}
		}
		for range 20 {
			if at(1); !take(job(1)) {
				t.Fatal("one too many goes on")
			}
		}
		list := g.List()
		if len(list) != 1 || list[0].Held != 20 || list[0].Over() || list[0].Subject != "Job 1" || list[0].To != "a@example.net" || len(g.Due(time.Now())) != 0 || began != 1 {
			t.Fatalf("%+v, began %d", list, began)
		}
		at(9)
		if list = g.List(); !list[0].Over() || ended != 1 {
			t.Fatalf("it goes on: %+v", list)
		}
		due := g.Due(time.Now())
		if len(due) != 1 || due[0].Held != 20 {
			t.Fatalf("due: %+v", due)
		}
		g.Tell(due[0].ID, due[0].Held, time.Now())
		if due = g.Due(time.Now()); len(due) != 0 {
			t.Errorf("told twice: %+v", due)
		}
		if take(job(3)) {
			t.Error("after its end it holds")
		}
		g.Forget(list[0].ID)
		if len(g.List()) != 0 {
			t.Error("it is not forgotten")
		}
	})
}

// TestStormThatLasts: recipients are told after an hour and once a day, also over
// a restart, which keeps the storm.
func TestStormThatLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config.Storm{Messages: 2, Per: 10 * time.Minute}
		g := guarded(t, c, nil)
		told := 0
		id := spool.ID(0)
		run := func(minutes int) {
			for range minutes {
				id++
				if s := g.Take(mail("app@example.com", "Job", "a@example.net"), id, time.Now()); s != 0 {
					g.Keep(s, id, time.Now())
				}
				time.Sleep(time.Minute)
				g.Look(time.Now())
				for _, s := range g.Due(time.Now()) {
					told++
					g.Tell(s.ID, s.Held, time.Now())
				}
			}
		}
		run(50)
		text := g.Save(time.Now())
		if text == nil || g.Save(time.Now()) != nil {
			t.Fatal("it is saved once")
		}
		before := g.List()[0]
		g = guarded(t, c, nil)
		if at, err := g.Load(text, time.Now()); err != nil || !at.Equal(time.Now()) {
			t.Fatal(at, err)
		}
		g.Recover(before.ID, before.Last, time.Now(), nil) // which was counted
		if after := g.List(); len(after) != 1 || after[0].ID != before.ID || after[0].Held != before.Held || after[0].Over() {
			t.Fatalf("after a restart: %+v, before it %+v", after, before)
		}
		if told != 0 {
			t.Errorf("told after 50 minutes")
		}
		if run(20); told != 1 {
			t.Errorf("told %d times after 70 minutes", told)
		}
		if run(23 * 60); told != 1 {
			t.Errorf("told %d times on the first day", told)
		}
		if run(120); told != 2 {
			t.Errorf("told %d times after a day", told)
		}
		off, _ := NewPolicy(config.Storm{})
		g.Use(off, time.Now())
		if list := g.List(); !list[0].Over() || g.Take(mail("app@example.com", "Job", "a@example.net"), 9, time.Now()) != 0 {
			t.Errorf("off: %+v", list)
		}
	})
}

// TestBounds: whatever is sent, no more than so many shapes and storms are kept,
// and a storm that leaves is told of.
func TestBounds(t *testing.T) {
	over := 0
	g := guarded(t, config.Storm{Messages: 1, Per: time.Hour}, func(e Event) {
		if _, ok := e.(*Overflow); ok {
			over++
		}
	})
	for i := range 3 * maxShapes {
		g.Take(mail(fmt.Sprintf("u%d@example.com", i), "x", "a@example.net"), spool.ID(i+1), time.Now())
	}
	if len(g.shapes) != maxShapes || g.order.Len() != maxShapes {
		t.Errorf("%d shapes", len(g.shapes))
	}
	for i := range 2 * maxStorms {
		m := mail(fmt.Sprintf("s%d@example.com", i), "x", "a@example.net")
		for n := range 2 {
			id := spool.ID(100_000 + 2*i + n)
			if s := g.Take(m, id, time.Now()); s != 0 {
				g.Keep(s, id, time.Now())
			}
		}
	}
	if len(g.List()) != maxStorms || over != maxStorms {
		t.Errorf("%d storms, %d let through", len(g.List()), over)
	}
	for i := range maxShapes {
		g.Take(mail(fmt.Sprintf("w%d@example.com", i), "x", "a@example.net"), spool.ID(i+1), time.Now())
	}
	for _, s := range g.List() {
		if !s.Over() {
			t.Fatalf("its count is gone, and it goes on: %+v", s)
		}
	}
	if due := g.Due(time.Now()); len(due) != maxStorms {
		t.Errorf("%d are to be told of", len(due))
	}
}

func BenchmarkTake(b *testing.B) {
	p, _ := NewPolicy(config.Storm{Messages: 20, Per: 10 * time.Minute})
	g := New(nil)
	g.Use(p, time.Now())
	all := make([]*Mail, 20_000)
	for i := range all {
		all[i] = mail(fmt.Sprintf("u%d@example.com", i), "Job 17 failed (8f3ac2d1)", "a@example.net")
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g.Take(all[i%len(all)], spool.ID(i+1), time.Now())
	}
}
