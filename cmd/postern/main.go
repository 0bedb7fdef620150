// Command postern is the mail relay of a machine or a site: applications
// hand mail to it, and it delivers what it accepted through the outbound
// connections that the administrator defined.
//
// This package faces the operator: it reads the command line, introduces the
// rooms to each other (serve), and prints what they say. It decides nothing
// about mail.
package main

import (
	"context"
	"io"
	"log"
	"os"
)

func main() {
	log.SetOutput(io.Discard) // of libraries; serve makes events of it
	os.Exit(run(context.Background(), asProgram(os.Args), os.Stdin, os.Stdout, os.Stderr))
}
