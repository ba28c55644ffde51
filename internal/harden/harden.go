// Package harden keeps what this process has in memory from other processes
// of the same user, and from files. It knows nothing of what is there.
//
// What it does, by system:
//
//   - Linux: no core file is written, and no process of the same user may read
//     the memory or the environment of this one or trace it. The system gives
//     the files in /proc/self to root for that, so this process can't open
//     /dev/fd/3 or /dev/stdin any more; what it runs can again.
//   - FreeBSD: the same, by procctl(2).
//   - macOS: no core file is written. To refuse a debugger for the rest of a
//     process's life (PT_DENY_ATTACH) would bind the command too that takes
//     this one's place; what keeps debuggers away is a binary that is signed
//     for the hardened runtime.
//   - Windows: nothing. The Go runtime asks for no crash dialog and no report,
//     and a process of the same user may read another's memory by design.
//
// Root may read everything, on every system.
package harden

// Process protects this process from now on. A measure that the system refuses
// is left out: there is nothing better to do than to go on without.
//
// Undo lifts what a command that this process starts, or that takes its place,
// would inherit: the limit on core files. Call it right before, and redo as soon
// as the command runs, or does not: the rest of the protection stays meanwhile,
// and on Linux and FreeBSD prevents core files by itself.
func Process() (undo func() (redo func())) { return process() }
