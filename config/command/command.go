// Package command faces programs that this one starts for somebody: what a
// configuration names, and what a message file names. It owns that nothing of
// them is left over. It never decides what is run, nor waits for it.
package command

import "time"

// Linger is how long the output of a program that has ended may be kept open
// by a child of its own.
const Linger = time.Second
