// Package rewrite holds the rules by which messages change on their way out:
// which [[rewrite]] of a configuration, or sender of an upstream, is meant, and
// what it makes of a reverse-path and of a header.
//
// It faces nobody: every answer is a function of the rules and the question. It
// reads no message but the header that it is given, and never touches a body,
// the fields of a Resent- block, or the null reverse-path.
//
// Reading order: New, Table.Find, Change.Header, mailbox.
package rewrite
