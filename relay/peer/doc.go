// Package peer faces the kernel: it asks who is at the other end of a unix
// socket. It owns nothing and decides nothing.
package peer
