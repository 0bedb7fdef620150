// Package convert makes mail of 8 bits into mail of 7 (RFC 6152 §3), and parts
// with lines that are too long into such with short ones: part by part, as
// quoted-printable or base64 (RFC 2045 §6), so that what is decoded is what it
// was.
//
// It faces strangers: it reads the structure of messages that anybody wrote. It
// changes nothing where readers could differ about that structure, where it is
// deeper or has more parts than the bounds say, and where a signature or an
// encoding of others is in the way: then the whole message is left as it is.
// The body is read once or twice as a stream, and never kept.
//
// Reading order: Convert, scan.entity, scan.leaf, header, Body, quoter.
package convert
