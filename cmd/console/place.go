package console

import (
	"errors"
	"slices"
	"strings"

	"postern/cmd/definition"
)

// spot is where a new route may stand among those that were added.
type spot struct {
	Value, Text string
	Chosen      bool
}

// The values of the place of a route; empty: as it comes.
const (
	placeFirst  = "first"
	placeBefore = "before:" // and the name of a route
)

// placesOf are those that a new definition may have.
func placesOf(store *definition.Store, kind definition.Kind, chosen string) (list []spot) {
	names := store.Names(kind)
	if kind != definition.Route || len(names) == 0 {
		return nil
	}
	list = []spot{{"", "by its name, among those that were added", false}, {placeFirst, "before all routes that were added", false}}
	for _, name := range names {
		list = append(list, spot{placeBefore + name, "before " + name, false})
	}
	for i := range list {
		list[i].Chosen = list[i].Value == chosen
	}
	return list
}

// orderOf is the definition.Change.Order of a place that a form has; 0: as it
// comes.
func orderOf(store *definition.Store, kind definition.Kind, chosen string) (int, error) {
	name, before := strings.CutPrefix(chosen, placeBefore)
	switch {
	case chosen == "" || kind != definition.Route:
		return 0, nil
	case chosen == placeFirst:
		return store.Before(kind, "")
	case !before || !slices.Contains(store.Names(kind), name):
		return 0, errors.New("the place: there is no such route that was added here or by postern route add")
	}
	return store.Before(kind, name)
}
