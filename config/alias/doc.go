// Package alias is what names without a domain stand for: aliases(5) files and
// the aliases of the configuration. It reads their text, checks it as a whole,
// and expands a name. It opens no file by itself (Source.Read), and knows
// nothing of messages.
//
// To read first: [Load], [Table.Expand], parser.list.
package alias
