package importer

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"
)

// block is a list as the metabase has it, of a group of addresses.
func block(count uint32, values ...byte) []byte {
	var b []byte
	for _, n := range []uint32{24 | isPlace, 32 | isPlace, 60 | isPlace, 68 | isPlace, 1, 76, 0, 0, 1, count, 2, count + 1, 4, 0, 76 | isPlace, 0, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return append(b, values...)
}

func TestGrantedNetworks(t *testing.T) {
	one := block(1, 255, 255, 255, 255, 192, 0, 2, 7)
	with := func(at int, n uint32) []byte {
		b := slices.Clone(one)
		binary.LittleEndian.PutUint32(b[at:], n)
		return b
	}
	for name, c := range map[string]struct {
		block []byte
		want  []string
		ok    bool
	}{
		"one":                  {one, []string{"192.0.2.7"}, true},
		"two":                  {block(2, 255, 255, 255, 255, 127, 0, 0, 1, 10, 1, 2, 3), []string{"127.0.0.1", "10.1.2.3"}, true},
		"a network":            {block(1, 255, 255, 240, 0, 10, 1, 2, 3), []string{"10.1.0.0/20"}, true},
		"none":                 {block(0, 255, 255, 255, 255), nil, true},
		"everybody":            {block(1, 0, 0, 0, 0, 0, 0, 0, 0), nil, false},
		"a mask with a hole":   {block(1, 255, 0, 255, 0, 10, 1, 2, 3), nil, false},
		"cut off":              {one[:len(one)-1], nil, false},
		"no more than a head":  {one[:30], nil, false},
		"addresses denied":     {with(24, 1), nil, false},
		"names granted":        {with(68, 1), nil, false},
		"another family":       {with(40, 23), nil, false},
		"more than there are":  {with(44, 1<<31), nil, false},
		"many groups":          {with(32, 1<<31-1), nil, false},
		"two groups, one cut":  {with(32, 2), nil, false},
		"a place that is none": {with(56, 76), nil, false},
		"a place far away":     {with(56, isPlace|1<<30), nil, false},
		"a section in itself":  {with(4, 4|isPlace), nil, false},
		"nothing":              {nil, nil, false},
	} {
		got, ok := grantedNetworks(hex.EncodeToString(c.block))
		if ok != c.ok || ok && !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
	if _, ok := grantedNetworks("1x"); ok {
		t.Error("no hexadecimal digits")
	}
}

func FuzzGrantedNetworks(f *testing.F) {
	f.Add(block(2, 255, 255, 255, 255, 127, 0, 0, 1, 10, 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, ok := grantedNetworks(hex.EncodeToString(b))
		for _, s := range list {
			if _, known := network(s); ok && !known {
				t.Errorf("%q is no network", s)
			}
		}
	})
}
