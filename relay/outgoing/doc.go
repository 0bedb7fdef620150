// Package outgoing gives a message the form in which it goes to one upstream.
// It does so when the message is sent, so that an edit of the configuration
// counts for what is queued, and changes nothing in the spool.
//
// It owns the order of the steps, what is told of them, and the contents that
// are put together of the spool's and of what was changed. The rules themselves
// are others': relay/rewrite says what changes of a header, relay/convert makes
// 7 bits of 8, relay/sign signs. It never reads a body into memory, and leaves a
// message alone of which nothing is to change.
//
// Reading order: Forms.Form, message.rewrite, message.convert, message.sign,
// head, spliced.
package outgoing
