// Package book is what `postern book` does beyond asking: it changes groups,
// takes in files of other programs, writes them, and has a card edited. It
// prints nothing and knows no flags.
package book
