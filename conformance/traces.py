"""R1.4 and R1.5: what a command gets, and what is left when it has ended."""

import base64
import calendar
import os
import threading
import time
from pathlib import Path

from stage import Skipped, Stage, check, command_line, equal, forms_of, keyring_works, known_secrets, lacks, wait_until


class Watcher:
    """Looks at the argument lists of all new processes, all the time."""

    def __init__(self):
        self.old = set(os.listdir("/proc"))
        self.seen = set()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while True:
            time.sleep(0.002)
            for pid in set(os.listdir("/proc")) - self.old:
                if pid.isdigit():
                    self.seen.add("\0".join(command_line(pid)))

    def holding(self, text):
        return [line for line in self.seen.copy() if text in line]


def checks_of_arguments(work, watcher):
    """Checks what the watcher has seen until now."""
    with Stage(work) as s, check("the watcher of argument lists sees a secret that is planted there for 20 ms"):
        planted = "planted-" + s.dir.name
        s.run("sh", "-c", "sleep 0.02; : " + planted)
        equal(len(watcher.holding(planted)) > 0, True)
    with check(f"no argument list held a secret ({len(watcher.seen)} were seen, {len(watcher.holding('kura'))} of them about kura)"):
        for secret in known_secrets:
            equal(len(watcher.holding(secret)), 0, "argument lists with a secret:")


def checks(work, program, tools):
    with Stage(work, program) as s:
        s.prepare()
        before = set(os.listdir("/proc"))
        with check(f"a command of {program} has session credentials in its environment, which expire in hours, and nothing that lasts"):
            # The passphrase is given: it must not be passed on.
            given = {"KURA_FILE_PASSPHRASE": s.passphrase, "AWS_VAULT_FILE_PASSPHRASE": s.passphrase}
            with s.terminal("kura", "exec", "oppara-dev", "--", "sleep", "60", env=given) as t:
                for question, answer in s.for_code():
                    t.answer(question, answer())
                wait_until(lambda: command_line(t.pid) == ["sleep", "60"], f"{program} becomes the command")
                text = Path(f"/proc/{t.pid}/environ").read_text()
                env = dict(entry.split("=", 1) for entry in text.split("\0") if entry)
                equal(env["AWS_ACCESS_KEY_ID"][:4], "ASIA")
                equal("AWS_SECRET_ACCESS_KEY" in env and "AWS_SESSION_TOKEN" in env, True, "has both secrets:")
                lacks(text, "AKIA", s.secret, s.passphrase)
                left = calendar.timegm(time.strptime(env["AWS_CREDENTIAL_EXPIRATION"], "%Y-%m-%dT%H:%M:%SZ")) - time.time()
                equal(0 < left <= 12 * 3600, True, f"with {left:.0f} s left:")
        with check(f"a command of {program} inherits no open file but the terminal"):
            with s.terminal("kura", "exec", "oppara-dev", "--", "sleep", "60") as t:
                wait_until(lambda: command_line(t.pid) == ["sleep", "60"], f"{program} becomes the command")
                equal(sorted(os.listdir(f"/proc/{t.pid}/fd")), ["0", "1", "2"])

        with check(f"no process of {program} is there when the command has ended"):
            s.run("kura", "exec", "oppara-dev", "--", "true")
            equal([line for pid in set(os.listdir("/proc")) - before if is_of(s, pid) and (line := command_line(pid))], [])
        with check("the search of files finds a secret that is planted, also as base64"):
            planted = s.home / "planted"
            for text in (s.secret.encode(), base64.b64encode(b"x" + s.secret.encode() + b"y")):
                planted.write_bytes(b"before" + text + b"after")
                equal(files_with_secrets(s), [str(planted)])
            planted.unlink()
        with check(f"no file in the home, /tmp, /dev/shm or /run/user holds a secret when a command of {program} has ended"):
            equal(files_with_secrets(s), [])
        with check(f"the access key of {program} signs calls of STS and nothing else"):
            tools.need("boto3")
            s.run("kura", "exec", "oppara-dev", "--", "python3", str(Path(__file__).with_name("with_boto3.py")))
            equal({call["Service"] for call in s.calls() if call["KeyID"] == s.key_id}, {"sts"})
            equal({call["KeyID"][:4] for call in s.calls() if call["Service"] == "s3"}, {"ASIA"})
        with check(f"{program} lock empties the kernel's keyring, and the store asks again"):
            if not keyring_works():
                raise Skipped("this kernel has no persistent keyring")
            equal(len(s.kept()) > 0, True, "something is kept before:")
            s.run("kura", "lock")
            equal(s.kept(), [])
            s.run("kura", "exec", "oppara-dev", "--", "true", answers=s.for_store())


def is_of(stage, pid):
    """Whether a process lives in the stage's home."""
    try:
        return f"HOME={stage.home}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def files_with_secrets(stage):
    """The files that hold a secret in a form that is easily undone."""
    needles = set().union(*(forms_of(secret) for secret in stage.secrets()))
    found = []
    for path in [*files_below(stage.dir), *recent_files(stage.began)]:
        try:
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        except OSError:
            continue  # it has gone, or is of others
        if any(needle in data for needle in needles):
            found.append(str(path))
    return found


def files_below(top):
    for directory, _, names in os.walk(top):
        yield from (Path(directory, name) for name in names)


def recent_files(began):
    """What has appeared or changed since then where programs leave things."""
    for place in ("/tmp", "/var/tmp", "/dev/shm", "/run/user", f"/run/user/{os.getuid()}"):
        for top in Path(place).glob("*"):
            try:
                recent = top.lstat().st_mtime >= began
            except OSError:
                continue  # it has gone
            # The stages are looked at by themselves.
            if recent and not top.name.startswith(("kura-conformance-", "go-build")):
                yield top
                yield from files_below(top)
