// Package addressbook knows persons and groups by their names: it turns
// "Alice Liddell" and "group:Sales" into addresses.
//
// It faces folders of cards (RFC 6350) that other programs and editors write
// too, and files that were exported elsewhere. What they hold is hostile:
// everything is bounded, a card that cannot be used is named and left alone, and
// an address that is none is passed over.
//
// It owns the rules of who is meant by a name, and how a card is written
// without losing what others put into it. It never sends, and deletes nothing
// but the card that it is told to.
//
// To be read in this order: ParseCard (what a card says), Folder (a folder of
// cards, and its index), Books.Resolve (who is meant), Folder.Change (writing).
package addressbook
