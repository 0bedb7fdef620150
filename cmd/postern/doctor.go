package main

import (
	"github.com/spf13/cobra"

	"postern/cmd/doctor"
	"postern/config"
)

func (a *app) doctorCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "doctor",
		Short: "Look at everything and say what is wrong, and what to do about it",
		Long: `Looks at the configuration, the daemon, files and their modes, the spool and
its disk, the listeners, the clock, the resolver, and each upstream as
` + "`postern upstream test`" + ` does, in short. It changes nothing and sends no mail.

Run it as the user of the daemon, or as root.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := findOwn(a.config)
			place, placeErr := config.Locate(a.config)
			if placeErr != nil {
				return badConfig(placeErr)
			}
			relay := &doctor.Relay{Config: cfg, Err: err, Place: place, Version: currentVersion()}
			return a.printFindings(relay.Look(cmd.Context()), true)
		},
	})
}
