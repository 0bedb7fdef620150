// Package doctor faces an administrator who asks what is wrong: it turns what
// was seen of a machine, a daemon and its upstreams into findings, each with
// its remedy.
//
// Looking and judging are apart: what looks at the disk, the network and the
// kernel gathers facts, and functions from facts to findings judge them. It
// owns the vocabulary of findings (docs/doctor.md). It mends nothing, changes
// nothing, sends no mail, and shows no secret.
package doctor
