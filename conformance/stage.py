"""What the checks have in common: saying what came out, a home with an emulated
AWS of its own, and a terminal to type at. Only Python's own library is used, so
that little needs to be installed before anything can be checked."""

import base64
import ctypes
import fcntl
import hashlib
import json
import os
import platform
import pty
import re
import resource
import secrets
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path


# Saying what came out.

class Unexpected(Exception):
    """Something is not as it was promised."""


class Skipped(Exception):
    """A check can't be made here."""


FAILURES = (Unexpected, OSError, ValueError, KeyError)
counts = {"passed": 0, "failed": 0, "skipped": 0}
known_secrets = set()  # of all stages; issued ones are added as stages end


@contextmanager
def check(promise):
    """Prints one line about the promise that the body looks into."""
    try:
        yield
    except Skipped as e:
        skip(promise, e)
    except FAILURES as e:
        fail(promise, e)
    else:
        counts["passed"] += 1
        print(f"ok - {promise}", flush=True)


def fail(promise, error):
    counts["failed"] += 1
    text = str(error) or type(error).__name__
    for secret in known_secrets.copy():  # others may be added meanwhile
        text = text.replace(secret, "[secret]")
    print(f"FAIL - {promise}: {text[:1000]}", flush=True)


def skip(what, reason):
    counts["skipped"] += 1
    print(f"skip - {what}: {reason}", flush=True)


def equal(got, want, what="saw"):
    if got != want:
        raise Unexpected(f"{what} {got!r}, want {want!r}")


def matches(text, pattern):
    if not re.search(pattern, text, re.MULTILINE):
        raise Unexpected(f"saw {text!r}, want a match of {pattern!r}")


def lacks(text, *parts):
    for part in parts:
        if part in text:
            raise Unexpected(f"saw {part!r}")


def forms_of(secret):
    """A secret in the forms that are easily undone, as bytes. Base64 looks
    different at each of three positions; its ends depend on what stands beside
    them."""
    data = secret.encode()
    forms = {data, data.hex().encode(), secret.encode("utf-16-le")}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms |= {encode(b"x" * n + data)[4 if n else 0:-4] for n in range(3)}
    return forms


def wait_until(done, what, seconds=10):
    """Waits until done returns something true, and returns that."""
    end = time.monotonic() + seconds
    while not (result := done()):
        if time.monotonic() > end:
            raise Unexpected(f"{what}: not within {seconds} s")
        time.sleep(0.01)
    return result


# A terminal.

class Terminal:
    """A command that runs as the leader of a session on a terminal of its own.
    What is on the screen is in text."""

    def __init__(self, argv, env, cwd, user=None, cores=False):
        self.text, self.seen, self.status = "", 0, None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.closerange(3, 1024)
                if cores:
                    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
                    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
                os.chdir(cwd)
                become(user)
                os.execvpe(argv[0], argv, env)
            finally:
                os._exit(127)
        self.resize(24, 200)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        """Reads what there is, and returns whether more may come."""
        if self.fd is None:
            return False
        if select.select([self.fd], [], [], max(seconds, 0))[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""  # Linux says EIO when the last process has left
            if not data:
                return False
            self.text += data.decode(errors="replace").replace("\r", "")
        return True

    def expect(self, pattern, seconds=20):
        """Waits for a match in what has not been looked at yet."""
        end = time.monotonic() + seconds
        while True:
            if m := re.compile(pattern, re.MULTILINE).search(self.text, self.seen):
                self.seen = m.end()
                return m
            if time.monotonic() > end or not self.read(end - time.monotonic()):
                raise Unexpected(f"saw {self.text[self.seen:]!r}, want a match of {pattern!r}")

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def answer(self, question, text):
        """Waits for a question, which is taken literally, and answers it."""
        self.expect(re.escape(question))
        self.type(text + "\r")

    def end(self, seconds=20):
        """Waits for the command to end and returns its exit status, or minus
        the number of the signal that ended it."""
        end = time.monotonic() + seconds
        while self.read(end - time.monotonic()):
            if time.monotonic() > end:
                raise Unexpected(f"it has not ended after {seconds} s; saw {self.text[-500:]!r}")
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def hang_up(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.killpg(self.pid, signal.SIGKILL)
        self.hang_up()
        if self.status is None:
            os.waitpid(self.pid, 0)


def become(user):
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)


def foreground(terminal):
    """The command line of what has the keyboard, or []."""
    return command_line(os.tcgetpgrp(terminal.fd))


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


# A home with an emulated AWS.

ACCOUNT = "111122223333"
SERIAL = f"arn:aws:iam::{ACCOUNT}:mfa/oppara"
ROLE = f"arn:aws:iam::{ACCOUNT}:role"

CONFIG = f"""\
[default]
output = json
region = ap-northeast-1

# development
[profile oppara-dev]
source_profile = default
mfa_serial = {SERIAL}
role_arn = {ROLE}/developer
"""


class Stage:
    """A home and an emulated AWS, in which the user oppara has an access key
    and an MFA device. The key, the passphrase and the rest are new each time:
    what is found of them on this machine is from here."""

    def __init__(self, work, program="kura", user=None):
        self.program, self.user = program, user
        self.dir = Path(work, secrets.token_hex(4))
        self.home = self.dir / "home"
        (self.home / ".aws").mkdir(parents=True)
        (self.dir / "tmp").mkdir()
        self.key_id = "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOP") for _ in range(16))
        self.secret = base64.b64encode(secrets.token_bytes(30)).decode()
        self.seed = "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(32))
        self.passphrase = "pass " + secrets.token_hex(12)
        known_secrets.update([self.secret, self.passphrase])
        self.began = time.time()

        everyone = {"Principals": [f"arn:aws:iam::{ACCOUNT}:root"], "MFA": True}
        state = self.dir / "state.json"
        state.write_text(json.dumps({
            "Users": [{
                "Account": ACCOUNT, "Name": "oppara",
                "Keys": [{"ID": self.key_id, "Secret": self.secret}],
                "MFA": [{"Serial": SERIAL, "Seed": self.seed}],
            }],
            "Roles": [{"Account": ACCOUNT, "Name": name, "Trust": [everyone]} for name in ("developer", "role1", "role2")],
            "Buckets": [
                {"Account": ACCOUNT, "Name": "example-of-everyone"},
                {"Account": ACCOUNT, "Name": "example-of-developers", "Readers": ["developer"]},
            ],
        }))
        # In a session of its own Ctrl-C does not end it, which is for us to do.
        self.aws = subprocess.Popen(["fakeaws", "--state", state], stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.url = self.aws.stdout.readline().strip()
        state.unlink()
        self.env = {
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": self.url, "AWS_PAGER": "", "HOME": str(self.home), "KURA_BACKEND": "file", "LANG": "C.UTF-8", "LOGNAME": "oppara",
            "NODE_PATH": os.environ["NODE_PATH"], "PATH": os.environ["PATH"], "PS1": "$ ", "SHELL": "/bin/bash",
            "TERM": "xterm", "TMPDIR": str(self.dir / "tmp"),
        }
        if user is not None:
            for name in (self.dir, self.home, self.home / ".aws", self.dir / "tmp"):
                os.chown(name, user, user)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        known_secrets.update(self.secrets())
        # What the kernel keeps would outlive the home.
        with self.terminal("kura", "lock") as t:
            t.end()
        self.aws.terminate()
        self.aws.wait()
        shutil.rmtree(self.dir)

    def terminal(self, *argv, env=None, cores=False):
        """Starts a command on a terminal. The first argument "kura" stands for
        the name that this stage is about."""
        argv = [self.program if arg == "kura" else arg for arg in argv[:1]] + list(argv[1:])
        return Terminal(argv, {**self.env, **(env or {})}, self.home, self.user, cores)

    def run(self, *argv, answers=(), status=0, env=None):
        """Runs a command to its end and returns what it showed. It must ask
        what answers have, in their order, and end with that status."""
        with self.terminal(*argv, env=env) as t:
            for question, answer in answers:
                t.answer(question, answer() if callable(answer) else answer)
            got = t.end(30)
            if got != status:
                raise Unexpected(f"{' '.join(argv)} ended with {got}, want {status}: saw {t.text!r}")
            return t.text

    # What kura asks, and what there is to answer.

    def for_key(self):
        return [("Enter Access Key ID: ", self.key_id), ("Enter Secret Access Key: ", self.secret)]

    def for_new_store(self):
        return [("Enter a new passphrase for", self.passphrase), ("Enter it again: ", self.passphrase)]

    def for_store(self):
        return [("Enter passphrase to unlock", self.passphrase)]

    def for_code(self):
        return [(f"Enter MFA code for {SERIAL}: ", self.code)]

    def prepare(self, config=CONFIG, profile="default"):
        """Writes the config file and stores the access key. Where the kernel
        keeps nothing, the passphrase comes from the environment."""
        self.write_config(config)
        if not keyring_works():
            self.env["KURA_FILE_PASSPHRASE"] = self.passphrase
            self.run("kura", "add", profile, answers=self.for_key())
        else:
            self.run("kura", "add", profile, answers=self.for_key() + self.for_new_store())

    def begin_session(self):
        self.run("kura", "exec", "oppara-dev", "--", "true", answers=self.for_code())

    def write_config(self, text):
        config = self.home / ".aws" / "config"
        config.write_text(text)
        if self.user is not None:
            os.chown(config, self.user, self.user)

    # The emulated AWS.

    def get(self, path, method="GET"):
        request = urllib.request.Request(self.url + "/_fakeaws/" + path, method=method)
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).read().decode()

    def set_clock(self, seconds):
        """Sets how far AWS's clock is ahead of this machine's."""
        self.get(f"clock?offset={seconds}s", "POST")

    def calls(self):
        return json.loads(self.get("calls"))

    def sts_calls(self):
        return [call["Op"] for call in self.calls() if call["Service"] == "sts"]

    def secrets(self):
        return json.loads(self.get("secrets")) + [self.passphrase]

    def code(self):
        """What the MFA device shows. AWS accepts a code once, so for the third
        in half a minute one has to wait."""
        while True:
            try:
                return self.get("code?serial=" + urllib.parse.quote(SERIAL)).strip()
            except urllib.error.HTTPError:
                time.sleep(0.5)

    # What the kernel keeps.

    def kept(self):
        """The names of what the kernel keeps of this stage's stores, which are
        made of kura's directory as package cli does it."""
        data = str(self.home / ".local/share/kura")
        prefix = "kura:" + hashlib.sha256(data.encode()).hexdigest()[:16] + ":"
        return [name for name in persistent_keys() if name.startswith(prefix)]


libc = ctypes.CDLL(None, use_errno=True)


def keyctl(op, *args):
    number = {"x86_64": 250, "aarch64": 219}.get(platform.machine())
    if number is None:
        raise Skipped(f"the number of keyctl(2) on {platform.machine()} is not known here")
    args = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = libc.syscall(ctypes.c_long(number), ctypes.c_long(op), *args)
    if result < 0:
        raise OSError(ctypes.get_errno(), "keyctl")
    return result


def persistent_keys():
    """The names of all keys in the user's persistent keyring."""
    get_persistent, read, describe, thread_keyring = 22, 11, 6, -1
    ring = keyctl(get_persistent, -1, thread_keyring)
    ids = (ctypes.c_int32 * 4096)()
    size = keyctl(read, ring, ids, ctypes.sizeof(ids))
    names = []
    for key in ids[:size // 4]:
        text = ctypes.create_string_buffer(4096)
        try:
            keyctl(describe, key, text, 4096)
        except OSError:
            continue  # it has gone since
        names.append(text.value.decode().split(";", 4)[4])
    return names


def keyring_works():
    try:
        persistent_keys()
        return True
    except (OSError, Skipped):
        return False
