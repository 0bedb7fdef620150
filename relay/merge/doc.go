// Package merge makes messages out of a message file and rows: one message for
// each row, for all of them, or for each value of a column. Every string of a
// message file is a template.
//
// It faces whoever writes the message file, who is trusted as far as their own
// rights go, and the values of the rows, which are not: a value can add no
// recipient and no header field, and leads out of no folder. Everything is
// rendered and checked before the first message is handed out, and all that is
// wrong is told at once.
//
// It never sends, never reads the environment, and reaches no network. The one
// program that it starts is the command that a message file names for its rows.
//
// The order of reading: Load (the message file), Prepare (templates and rows),
// Plan.Check (every message), Each (every message again, to be sent).
package merge
