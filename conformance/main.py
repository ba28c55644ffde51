"""Makes all checks and ends with 1 if one has failed. The first argument is an
empty directory that everybody may enter; others are the names of modules whose
checks are the only ones to be made."""

import signal
import sys

import clients
import interrupted
import killed
import login
import memory
import onepassword
import process
import refresh
import session_cache
import shells
import servers
import terminal
import traces
import vault
from stage import FAILURES, counts, fail


def main(work, *only):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before the end"))
    watcher = traces.Watcher()
    tools = clients.Tools()
    parts = []
    for program in ("kura", "aws-vault"):
        parts += [(vault.checks, program, tools), (traces.checks, program, tools)]
    parts += [(clients.checks, tools), (process.checks, tools), (onepassword.checks, tools), (session_cache.checks, tools), (refresh.checks, tools), (terminal.checks,), (shells.checks,), (memory.checks,), (interrupted.checks,), (killed.checks,)]
    parts += [(login.checks, watcher)]
    parts += [(servers.checks,)]
    parts += [(traces.checks_of_arguments, watcher)]  # of all that has run before
    for checks, *about in parts:
        if only and checks.__module__ not in only:
            continue
        try:
            checks(work, *about)
        except FAILURES as e:
            fail("what the next checks need", e)
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
