// Package graph asks Microsoft Graph for the people and groups of Microsoft 365:
// its users, the contacts of its address list, its groups, and the contacts of
// mailboxes.
//
// It faces a server that may be slow, throttle, or be somebody else: an answer is
// bounded in bytes, pages, entries and time, nothing leads to another host, text
// becomes one printable line, and an address that is none is passed over. It
// answers as package directory does, with its entries and its errors, and never
// says that somebody is unknown where it could not ask to the end. It writes
// nothing.
//
// To be read in this order: Graph.Find, part, client.all, client.ask.
package graph
