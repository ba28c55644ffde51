"""A rotation is killed at each of its system calls that change or tell something.
After each, the key that is stored works; the next rotation goes on and leaves one
key and nothing else."""

import json
import shutil
import subprocess
import urllib.request

from stage import Skipped, Stage, Unexpected, check, equal, matches

# strace counts calls by thread, so the last that a kind comes to is the last of
# the thread that makes most of them.
KINDS = ["rename,renameat,renameat2", "fsync", "unlink,unlinkat", "openat", "write", "read", "close", "connect", "flock"]


def checks(work):
    for kind in KINDS:
        with check(f"kura rotate that is killed at any {kind.split(',')[0]} loses no key"), Stage(work) as s:
            if not shutil.which("strace"):
                raise Skipped("there is no strace")
            s.prepare("[default]\n")
            at_each(s, kind)


def at_each(stage, kind):
    n = 0
    while True:
        argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={kind}", "-e", f"inject={kind}:signal=KILL:when={n + 1}"]
        run = subprocess.run([*argv, "kura", "rotate", "--no-session", "default"], env=stage.env, cwd=stage.home,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        if run.returncode == 0:
            if not n:
                raise Unexpected("it has no such call")
            return
        if "ptrace" in run.stdout:
            raise Skipped(run.stdout.strip())
        n += 1
        # A command gets the key, by which it may ask.
        matches(stage.run("kura", "exec", "--no-session", "default", "--", "caller_go"), '"arn":')
        matches(stage.run("kura", "rotate", "--no-session", "default"), "^Finished rotating access key")
        equal(keys(stage), 1, f"after call {n} there are keys")
        matches(stage.run("kura", "doctor"), "^Found: nothing")


def keys(stage):
    """How many access keys the user has, by what was done."""
    with urllib.request.urlopen(stage.url + "/_fakeaws/calls", timeout=10) as r:
        done = [call["Op"] for call in json.load(r) if not call["Error"]]
    return 1 + done.count("CreateAccessKey") - done.count("DeleteAccessKey")
