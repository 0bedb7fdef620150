// Package definition faces those who define an upstream, a route, a book or an
// alert without writing TOML: commands and forms. It owns the further files
// that it has written, conf.d/NN-KIND-NAME.toml beside postern.toml, one
// definition in each, and the secrets that belong to them.
//
// A change is tried before it is made: the whole configuration is read with the
// one file replaced in memory, then whoever asks may test what comes out, and
// only then is the file replaced, at once, and the daemon asked to reload. Where
// the daemon refuses, the file is what it was before.
//
// Secrets stand in files of mode 0600 in the folder "secrets" of the state
// folder, each under a name of its own that is never used again. So the rename of the
// TOML file is the only step at which anything changes: a crash before it
// leaves the old definition with its old secret, and a file that nothing names,
// which the next change of the definition removes.
//
// It never touches postern.toml or a file that somebody has written or changed by
// hand, and no secret stands in the TOML, in an error or in a result.
package definition
