// Package api is the way in for mail by HTTP: a unix socket for the users of
// this machine, whom the kernel names, and an address for whoever has a token.
// What comes in goes to the same submission as by SMTP, so that routes, limits
// and the rules about senders are one code.
//
// To be read in the order in which a request meets it: listener.Accept (who may
// connect), Server.ServeHTTP (whom the request is for), table (what can be
// asked), request.signIn (who sends), request.messages (a finished message),
// failure (what the client is told).
//
// It makes no file and no connection, fetches nothing, and never logs (Event).
// Everything in a request is hostile: bodies are bounded before they are read,
// and what is held of them in memory is shared out by origin.
package api
