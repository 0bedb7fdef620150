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
	"runtime"
	"runtime/debug"
)

func main() {
	putOffCollection()
	log.SetOutput(io.Discard) // of libraries; serve makes events of it
	os.Exit(run(context.Background(), asProgram(os.Args), os.Stdin, os.Stdout, os.Stderr))
}

// putOffCollection has the first collection of garbage wait until 16 MB are in
// use, and not 4: most commands are over by then, and it took a quarter of their
// time. After it, and in the daemon, everything is as ever. An operator who has set GOGC is left
// alone.
func putOffCollection() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(400)
	runtime.AddCleanup(new([16]byte), func(percent int) { debug.SetGCPercent(percent) }, 100)
}
