// Package step is `postern send`: it takes the flags and the message file of a
// step, has relay/merge make the messages in this process, with the rights of
// the user, and hands them to the relay.
//
// It faces the user and the relay. It tells what becomes of each message and
// prints nothing itself: what is shown on a terminal is cmd/postern's part.
package step
