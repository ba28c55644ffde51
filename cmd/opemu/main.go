// Opemu is an emulated op, the command-line program of 1Password, for scripts
// and for people without an account: a link to it that is named op is that
// program, and "opemu ctl" controls it. What it emulates is package opemu.
package main

import "kura/internal/opemu"

func main() { opemu.Main() }
