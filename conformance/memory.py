"""What kura has in memory is out of reach for the user's other processes, and
what it runs is not."""

import ctypes
import json
import os
import resource
import signal
from pathlib import Path

from stage import Skipped, Stage, become, check, command_line, equal, libc, wait_until

NOBODY = 65534  # root may read everything, so root is not who tries
ATTACKS = ("memory", "environment", "trace")


def checks(work):
    user = NOBODY if os.getuid() == 0 else None
    with Stage(work, user=user) as s:
        s.prepare()
        s.run("kura", "exec", "oppara-dev", "--", "true", answers=s.for_code())
        s.run("kura", "clear")
        at_prompt = ["kura", "exec", "oppara-dev", "--", "true"]

        with s.terminal("sleep", "60") as t:
            wait_until(lambda: command_line(t.pid) == ["sleep", "60"], "it runs")
            open_to_us = attack(t.pid, user)
        attackable = open_to_us == dict.fromkeys(ATTACKS, "open")
        with check("kura at the MFA prompt lets no process of the same user read its memory or environment or trace it"):
            if not attackable:
                raise Skipped(f"other programs can't be read here either: {open_to_us}")
            with s.terminal(*at_prompt) as t:
                t.expect("Enter MFA code")
                equal(attack(t.pid, user), dict.fromkeys(ATTACKS, "refused"))
        with check("a command of kura can be read and traced as without kura"):
            if not attackable:
                raise Skipped(f"other programs can't be read here either: {open_to_us}")
            s.begin_session()
            with s.terminal("kura", "exec", "oppara-dev", "--", "sleep", "60") as t:
                wait_until(lambda: command_line(t.pid) == ["sleep", "60"], "kura becomes the command")
                equal(attack(t.pid, user), open_to_us)
        with check("a command of kura has the limit on core files that it has without kura"):
            allow = ["sh", "-c", 'ulimit -Sc "$(ulimit -Hc)"; exec "$@"', "sh"]
            show = ["sh", "-c", "ulimit -Sc; ulimit -Hc"]
            equal(s.run(*allow, "kura", "exec", "oppara-dev", "--", *show), s.run(*allow, *show))

        s.run("kura", "clear")
        for sig in (signal.SIGABRT, signal.SIGSEGV):
            with check(f"kura leaves no core file when {sig.name} ends it at the MFA prompt"):
                need_cores()
                with s.terminal("sleep", "60", cores=True) as t:
                    wait_until(lambda: command_line(t.pid) == ["sleep", "60"], "it runs")
                    equal((end_by(t, sig), core_files(s)), (-sig, 1), "another program leaves")
                with s.terminal(*at_prompt, cores=True, env={"GOTRACEBACK": "crash"}) as t:
                    t.expect("Enter MFA code")
                    end_by(t, sig)
                    equal(core_files(s), 0, "core files:")


def need_cores():
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        raise Skipped("core files are not allowed here")
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    if "|" in pattern or "/" in pattern:
        raise Skipped("core files are not written to the working directory here")


def end_by(terminal, sig):
    os.kill(terminal.pid, sig)
    return terminal.end(60)  # the Go runtime takes ten seconds for it


def core_files(stage):
    """Counts the core files in the home, and removes them."""
    cores = list(stage.home.glob("core*"))
    for core in cores:
        core.unlink()
    return len(cores)


def attack(pid, user):
    """What a process of a user gets at of another: by kind, "open" or
    "refused"."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become(user)
            os.write(write, json.dumps(try_all(pid)).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as f:
        result = f.read()
    os.waitpid(child, 0)
    return json.loads(result)


def try_all(pid):
    def outcome(attempt):
        try:
            attempt()
            return "open"
        except PermissionError:
            return "refused"
        except Exception as e:
            return str(e)

    def memory():
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, mode = line.split()[:2]
            if mode.startswith("rw"):
                with open(f"/proc/{pid}/mem", "rb", buffering=0) as f:
                    f.seek(int(place.split("-")[0], 16))
                    return f.read(1)

    def trace():
        attach, detach = 16, 17
        if libc.ptrace(attach, pid, None, None) < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        os.waitpid(pid, 0)
        libc.ptrace(detach, pid, None, None)

    return {
        "memory": outcome(memory),
        "environment": outcome(lambda: Path(f"/proc/{pid}/environ").read_bytes()),
        "trace": outcome(trace),
    }
