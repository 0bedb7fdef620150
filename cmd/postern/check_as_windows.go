package main

import "context"

func (a *app) serviceUser() string { return "" }

func (a *app) checkAs(context.Context, string) error {
	return usage("--as is not known on Windows; run the check as that user")
}
