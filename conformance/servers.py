"""R3.5: programs that fetch their credentials from kura: with AWS's SDKs, while
credentials end, in other network namespaces, and when they are to get none."""

import ctypes
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import attack
from stage import ACCOUNT, FAILURES, ROLE, SERIAL, Skipped, Stage, Unexpected, check, equal, fail, lacks, libc, matches, skip, wait_until

SDKS = Path(__file__).parent / "sdks"
USER = f"arn:aws:iam::{ACCOUNT}:user/oppara"
ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/developer/kura-oppara-dev"

CONFIG = f"""\
[default]
region = ap-northeast-1

[profile dev]
region = ap-northeast-1
source_profile = default
mfa_serial = {SERIAL}
role_arn = {ROLE}/developer

[profile other]
source_profile = default
mfa_serial = {SERIAL}
role_arn = {ROLE}/role1
"""

# A program that calls AWS once, or for so many seconds, and prints for each call
# who it is, with which key, and from where that is, by the SDK's own name for the
# container endpoint and for the metadata service. "" is an SDK that does not say.
Caller = namedtuple("Caller", "name argv container imds every", defaults=[1])

CALLERS = [
    Caller("the AWS CLI 1", ["python3", SDKS / "caller_cli.py", "aws"], "container-role", "iam-role", 10),
    Caller("the AWS CLI 2", ["python3", SDKS / "caller_cli.py", os.environ["AWS2"]], "container-role", "iam-role", 10),
    Caller("boto3", ["python3", SDKS / "caller.py"], "container-role", "iam-role"),
    Caller("the AWS SDK for JavaScript", ["node", SDKS / "caller.cjs"], "CREDENTIALS_HTTP", ""),
    Caller("the AWS SDK for Go", ["caller_go"], "CredentialsEndpointProvider", "EC2RoleProvider"),
    Caller("the AWS SDK for Java", ["caller_java"], "z", "0"),  # as it has them in User-Agent
    Caller("the AWS SDK for Rust", ["caller_rust"], "EcsContainer", "IMDSv2"),
    Caller("the AWS Common Runtime", ["caller_crt"], "", ""),
]
BOTO3, GO = CALLERS[2], CALLERS[4]

# The last that knows 169.254.169.254 and no other address.
OF_THE_CLASSIC_ADDRESS = [*CALLERS, Caller("the AWS SDK for Ruby", ["caller_ruby"], "", "Aws::InstanceProfileCredentials")]

WAYS = [
    ("the container endpoint", ["--server"], "container"),
    ("the container endpoint, with its token in a file", ["--server", "--token-in-file"], "container"),
    ("the metadata service", ["--imds"], "imds"),
]

OTHER = 54321  # a user that has nothing to do with it

# How long programs call while sessions of two minutes end.
LASTS = 600 if os.environ.get("KURA_CONFORMANCE_LONG") else 190


def checks(work):
    versions = {caller.name: version(caller) for caller in OF_THE_CLASSIC_ADDRESS}
    with ThreadPoolExecutor(3) as pool:
        lasting = {way: pool.submit(last, work, way, versions) for way in ("--server", "--imds")}
        without = pool.submit(end_without, work, versions)
        for part, *about in (
            (checks_of_fetching, work, versions),
            (checks_of_refusal, work, "--server"),
            (checks_of_refusal, work, "--imds"),
            (checks_of_storms, work),
            (checks_of_namespaces, work, versions),
            (checks_of_lasting, versions, lasting, without),
        ):
            try:
                part(*about)
            except FAILURES as e:
                fail("what the next checks need", e)


# Programs.

def version(caller):
    """What a program says that it is, or "" where it is not to be had."""
    try:
        run = subprocess.run([*caller.argv, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30)
        return run.stdout.strip() if run.returncode == 0 else ""
    except (OSError, subprocess.SubprocessError):
        return ""


def need(caller, versions):
    if not versions[caller.name]:
        raise Skipped("it is not here")


def knows_token_files(version):
    """Whether it is not an AWS CLI from before token files:
    https://docs.aws.amazon.com/eks/latest/userguide/pod-id-minimum-sdk.html"""
    m = re.fullmatch(r"aws-cli/(\d+)\.(\d+)\.\d+", version)
    return not m or tuple(map(int, m.groups())) >= {1: (1, 30), 2: (2, 15)}[int(m[1])]


def script(stage, callers, seconds=0):
    """A shell script that runs programs, one after another or, if they are to call
    for some time, beside each other. What they print goes into files."""
    runs = [shlex.join([*map(str, caller.argv), str(seconds)]) + f" >{output(stage, caller)} 2>/dev/null" for caller in callers]
    return " & ".join(runs) + " & wait" if seconds else "; ".join(runs)


def output(stage, caller):
    return shlex.quote(str(stage.dir / (caller.name.replace(" ", "_") + ".calls")))


def calls(stage, caller):
    """The calls that a program has made, and that they were made at all."""
    lines = (stage.dir / (caller.name.replace(" ", "_") + ".calls")).read_text().splitlines()
    if not lines:
        raise Unexpected("it has printed nothing")
    return [json.loads(line) for line in lines]


def called(stage, caller, arn, source):
    """Looks at the one call of a program."""
    made = calls(stage, caller)
    if "error" in made[0]:
        raise Unexpected(made[0]["error"])
    equal([call["arn"] for call in made], [arn])
    equal(made[0].get("source", ""), source, "credentials come from")


# Homes.

def prepare(stage):
    """Makes a home whose user has a session, in which no role is assumed yet."""
    stage.prepare(CONFIG)
    stage.run("kura", "exec", "other", "--", "true", answers=stage.for_code())


def control(stage, path):
    """Has the emulated AWS do something."""
    request = urllib.request.Request(f"{stage.url}/_fakeaws/{path}", method="POST")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()


def assumed(stage):
    """How often a role was assumed after prepare."""
    return stage.sts_calls().count("AssumeRole") - 1


@contextmanager
def served(stage, *args):
    """Runs kura exec with a command that does nothing, and returns the terminal
    and the environment of that command. It ends at a line that is typed."""
    file = stage.dir / "environment"
    with stage.terminal("kura", "exec", "dev", *args, "--", "sh", "-c", f"env >{file}.new; mv {file}.new {file}; echo ready; read line") as t:
        t.expect("^ready$")
        yield t, dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
        t.type("\r")
        equal(t.end(), 0, "kura ended with")


# What is fetched.

def checks_of_fetching(work, versions):
    with Stage(work) as s:
        prepare(s)
        here = [caller for caller in CALLERS if versions[caller.name]]
        for what, args, column in WAYS:
            s.run("kura", "exec", "dev", *args, "--", "sh", "-c", script(s, here))
            for caller in CALLERS:
                with check(f"{versions[caller.name] or caller.name} gets credentials from {what}"):
                    need(caller, versions)
                    if "--token-in-file" in args and not knows_token_files(versions[caller.name]):
                        raise Skipped("it is older than token files")
                    called(s, caller, ARN, getattr(caller, column))
        with check("all of these programs together have made kura call STS once"):
            equal(assumed(s), 1)

        # The key of the user is one that shows when it is used.
        (s.home / ".aws/credentials").write_text(f"[default]\naws_access_key_id = {s.key_id}\naws_secret_access_key = {s.secret}\n")
        out = s.run("kura", "exec", "dev", "--server", "--", "sh", "-c", script(s, here))
        for caller in CALLERS:
            with check(f"{versions[caller.name] or caller.name} takes them before the key of a [default] profile"):
                need(caller, versions)
                called(s, caller, ARN, caller.container)
        with check("kura says which file the command does not see for that"):
            matches(out, r"^kura: warning: the command does not see \S+/\.aws/credentials, ")
        with check("a program that does see the file uses its key"):
            need(GO, versions)
            s.run("kura", "exec", "dev", "--server", "--", "sh", "-c", "unset AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE; " + script(s, [GO]))
            equal(calls(s, GO)[0]["arn"], USER)


# Sessions that end.

def short(stage):
    """Has sessions end after two minutes, which AWS does not do."""
    control(stage, "sessions?limit=2m")
    stage.env["AWS_MIN_TTL"] = "20s"


def last(work, way, versions):
    """Has all programs call while sessions end. Returns the calls of each, and how
    often kura called STS."""
    with Stage(work) as s:
        prepare(s)
        short(s)
        here = [caller for caller in CALLERS if versions[caller.name]]
        with s.terminal("kura", "exec", "dev", way, "--", "sh", "-c", script(s, here, LASTS)) as t:
            equal(t.end(LASTS + 60), 0, "kura ended with")
        return {caller.name: calls(s, caller) for caller in here}, assumed(s)


def end_without(work, versions):
    """The calls of a program that has a session of two minutes and no server."""
    if not versions[GO.name]:
        return []
    with Stage(work) as s:
        prepare(s)
        short(s)
        with s.terminal("kura", "exec", "dev", "--", "sh", "-c", script(s, [GO], 130)) as t:
            equal(t.end(200), 0)
        return calls(s, GO)


def checks_of_lasting(versions, lasting, without):
    for (what, args, column) in (WAYS[0], WAYS[2]):
        results = lasting[args[0]]
        for caller in CALLERS:
            with check(f"{versions[caller.name] or caller.name} calls for {LASTS} s with sessions of 120 s from {what}: no call fails, and the key changes"):
                need(caller, versions)
                made = results.result()[0][caller.name]
                failed = [call["error"] for call in made if "error" in call]
                if failed:
                    raise Unexpected(f"{len(failed)} of {len(made)} calls have failed: {failed[0]}")
                if len(made) < LASTS / caller.every * 0.8:
                    raise Unexpected(f"it has made {len(made)} calls")
                equal({call["arn"] for call in made}, {ARN})
                if len({call["key"] for call in made}) < 2:
                    raise Unexpected("the key has not changed")
        with check(f"for all of them at {what} together, kura calls STS once a minute, when half of a session is over"):
            made, sts = results.result()
            keys = {call["key"] for program in made.values() for call in program if "key" in call}
            if not max(len(keys), LASTS // 60) <= sts <= LASTS // 60 + 1:
                raise Unexpected(f"it has called it {sts} times, and the programs have seen {len(keys)} keys")
    what = f"{versions['boto3'] or 'boto3'}, by a clock that is made up, calls each second for 100 hours with sessions of 15 minutes from a metadata service"
    with check(f"{what}: no call fails where it renews them 11 minutes before the end, as kura does, and some do where that is half of their time"):
        need(BOTO3, versions)
        run = subprocess.run(["python3", SDKS / "kept.py", "660", "450"], stdout=subprocess.PIPE, text=True)
        in_time, half = json.loads(run.stdout)
        equal((in_time, half > 0), (0, True))
    with check(f"without a server, {versions[GO.name] or GO.name} has calls fail after 120 s"):
        need(GO, versions)
        made = without.result()
        matches(made[-1].get("error", ""), "ExpiredToken")
        equal("error" in made[0], False)


# Those who are to get nothing.

def checks_of_refusal(work, way):
    with Stage(work) as s, Stage(work) as elsewhere:
        prepare(s)
        prepare(elsewhere)
        with served(elsewhere, way) as (_, env):
            other_token = attack.Victim(env).token
        with served(s, way) as (t, env):
            v = attack.Victim(env)
            secrets = s.secrets() + [s.key_id, v.token]
            groups = attack.attacks(v, other_token)
            brief = None if v.container else v.session_token(1)
            with check(f"kura exec {way} gives credentials to who brings {'the token' if v.container else 'a session token'}"):
                v.fetch()
            wrong = attack.try_all(v, groups, secrets)
            for what, statuses, _, requests in groups:
                with check(f"kura exec {way} gives nothing for {what} ({len(requests)} ways)"):
                    if wrong[what]:
                        raise Unexpected("; ".join(wrong[what]))
            if brief:
                with check(f"kura exec {way} gives nothing for a session token whose time is over"):
                    v.proof, good = f"X-aws-ec2-metadata-token: {brief}", v.proof
                    wait_until(lambda: v.send(v.get())[0] == 401, "a session token of 1 s is refused")
                    v.proof = good
            with check(f"kura exec {way} gives nothing to another user's program, which has its environment and {'the token' if v.container else 'the address'}"):
                as_another_user(env)
            with check(f"kura exec {way} answers within a second while 250 connections are silent and 250 send a header that does not end, and ends them"):
                fast(attack.crowd(v, 6.5))
            with check(f"kura exec {way} answers within a second after all that, and after requests that break off"):
                attack.break_off(v)
                fast(v.fetch())
        with check(f"kura exec {way} says of each of these why it was refused"):
            for _, _, reason, _ in groups:
                matches(t.text, f"^kura: warning: a request was refused: ({reason})")
            if os.getuid() == 0:
                matches(t.text, f"^kura: warning: a connection was refused: .* of user {OTHER} ")
        with check(f"kura exec {way} says so in a few lines, without a word of any request, a token or a key"):
            lacks(t.text, attack.MARK, other_token, *secrets, "panic", "goroutine")
            lines = t.text.count("was refused")
            if lines > 60:
                raise Unexpected(f"{lines} lines")


def fast(seconds):
    if seconds > 1:
        raise Unexpected(f"it took {seconds:.2f} s")


def as_another_user(env):
    """Has a program with AWS's SDK try as this user, and as another."""
    if os.getuid() != 0:
        raise Skipped("only root can become another user")
    env = {**env, "HOME": "/nonexistent", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    for user, want in ((0, '^{"arn":'), (OTHER, '^{"error":')):
        run = subprocess.run([*GO.argv, "0"], env=env, cwd="/", user=user, group=user, extra_groups=[], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        matches(run.stdout, want)


# Many at once.

def checks_of_storms(work):
    with Stage(work) as s:
        prepare(s)
        control(s, "fault?op=AssumeRole&kind=slow&delay=500ms&count=1")
        with check("1000 requests at once for the first credentials get them, and kura calls STS once"), served(s, "--server", "--lazy") as (_, env):
            equal(keys_of(attack.Victim(env).storm(1000)), [1000])
            equal(assumed(s), 1)
    with Stage(work) as s:
        prepare(s)
        control(s, "sessions?limit=20s")
        s.env["AWS_MIN_TTL"] = "2s"
        with check("1000 requests at once while credentials are renewed get the old ones, and kura calls STS once"), served(s, "--server") as (t, env):
            v = attack.Victim(env)
            v.fetch()
            control(s, "sessions?limit=0s")
            control(s, "fault?op=AssumeRole&kind=slow&delay=3s&count=1")
            wait_until(lambda: time.time() > expiry(v) - 9, "the middle of the session", 20)
            answers = v.storm(1000)
            equal(assumed(s), 1, "before the end of the storm STS was called")
            equal(keys_of(answers), [1000])
            wait_until(lambda: assumed(s) == 2, "STS is called again")
            wait_until(lambda: expiry(v) > time.time() + 60, "there are new credentials")
            equal(keys_of(v.storm(1000)), [1000])
            equal(assumed(s), 2, "after the storm STS was called")
            with check("after 2000 requests kura has no more than 16 MiB of memory"):
                kib = int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{t.pid}/status").read_text())[1])
                if kib > 16 << 10:
                    raise Unexpected(f"it has {kib} KiB")


def keys_of(answers):
    """How often each of the keys is in answers."""
    keys = [re.search(rb'"AccessKeyId":"(\w+)"', answer) for answer in answers]
    keys = [m and m[1] for m in keys]
    return sorted(keys.count(key) for key in set(keys))


def expiry(v):
    """When the credentials end that are served, in seconds."""
    text = json.loads(v.send(v.get())[1].split(b"\r\n\r\n", 1)[1])["Expiration"]
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone


# Network namespaces.

class Namespace:
    """A network namespace with nothing but a loopback interface. What is to happen
    in it is done by a thread of its own, from which processes and sockets inherit
    it."""

    def __init__(self, of=None):
        self.pool = ThreadPoolExecutor(1)
        self.fd = self.do(self.enter, of)

    def do(self, function, *args):
        return self.pool.submit(function, *args).result()

    def enter(self, of):
        new_network = 0x40000000
        if of is not None:
            made = libc.setns(of.fd, new_network)
        else:
            made = libc.unshare(new_network)
        if made != 0:
            raise Skipped("no network namespace: " + os.strerror(ctypes.get_errno()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            get_flags, set_flags, up = 0x8913, 0x8914, 1
            flags = struct.unpack("16sh", fcntl.ioctl(s, get_flags, struct.pack("16sh", b"lo", 0)))[1]
            fcntl.ioctl(s, set_flags, struct.pack("16sh", b"lo", flags | up))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown()
        os.close(self.fd)


def checks_of_namespaces(work, versions):
    try:
        with Namespace() as machine:
            machine.do(checks_of_classic_address, work, versions)
        with Namespace() as machine, Namespace() as container:
            machine.do(checks_of_containers, work, versions, machine, container)
    except Skipped as e:
        skip("what takes network namespaces", e)


def checks_of_classic_address(work, versions):
    with Stage(work) as s:
        prepare(s)
        bare = {name: s.env[name] for name in ("AWS_ENDPOINT_URL", "HOME", "NODE_PATH", "PATH")} | {"AWS_REGION": "ap-northeast-1"}
        here = [caller for caller in OF_THE_CLASSIC_ADDRESS if versions[caller.name]]
        with served(s, "--ec2-server") as (_, env):
            lacks(" ".join(env), "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CONTAINER")
            subprocess.run(["sh", "-c", script(s, here)], env=bare, cwd=s.home)
            for caller in OF_THE_CLASSIC_ADDRESS:
                with check(f"{versions[caller.name] or caller.name} with nothing in its environment gets credentials from kura exec --ec2-server"):
                    need(caller, versions)
                    called(s, caller, ARN, caller.imds)
            with check("another user's program gets nothing from kura exec --ec2-server"):
                as_another_user(bare)
            with check("the address 169.254.169.254 is there as long as kura exec --ec2-server"):
                equal(has_classic_address(), True)
        with check("it is gone when the command has ended"):
            equal(has_classic_address(), False)
        with check("it is gone when kura was killed"):
            with s.terminal("kura", "exec", "dev", "--ec2-server", "--", "sh", "-c", "echo ready; read line") as t:
                t.expect("^ready$")
                equal(has_classic_address(), True)
                os.kill(t.pid, signal.SIGKILL)
                t.end()
            wait_until(lambda: not has_classic_address(), "the address is gone", 5)


def has_classic_address():
    with socket.socket() as s:
        try:
            s.bind(("169.254.169.254", 0))
            return True
        except OSError:
            return False


def checks_of_containers(work, versions, machine, container):
    what = "kura serve --listen 169.254.170.2 in another network namespace"
    if not shutil.which("ip"):
        skip(what, "iproute2 is not here")
        return
    ip("link add kura0 type veth peer name eth0 netns", f"/proc/{os.getpid()}/fd/{container.fd}")
    ip("address add 169.254.170.2/24 dev kura0")
    ip("link set kura0 up")
    container.do(ip, "address add 169.254.170.3/24 dev eth0")
    container.do(ip, "link set eth0 up")
    with Stage(work) as s, Relay(s.url, machine, container):
        prepare(s)
        bare = {name: s.env[name] for name in ("AWS_ENDPOINT_URL", "HOME", "NODE_PATH", "PATH")}
        with s.terminal("kura", "serve", "dev", "--listen", "169.254.170.2:41170") as t:
            t.expect("^kura: serving .*\n")
            env = bare | dict(shlex.split(line)[1].split("=", 1) for line in t.text.splitlines() if line.startswith("export "))
            here = [caller for caller in CALLERS if versions[caller.name]]
            container.do(lambda: subprocess.run(["sh", "-c", script(s, here)], env=env, cwd=s.home))
            for caller in CALLERS:
                with check(f"{versions[caller.name] or caller.name} gets credentials from {what}"):
                    need(caller, versions)
                    if not knows_token_files(versions[caller.name]):
                        raise Skipped("it is older than token files")
                    called(s, caller, ARN, caller.container)
            token = env.pop("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
            with check(f"without the token there is nothing to be had from {what}"):
                container.do(lambda: subprocess.run(["sh", "-c", script(s, [GO])], env=env, cwd=s.home))
                matches(calls(s, GO)[0]["error"], "InvalidToken")
                v = attack.Victim({**env, "AWS_CONTAINER_AUTHORIZATION_TOKEN": Path(token).read_text()})
                container.do(v.fetch)
                groups = attack.attacks(v, "of-another-kura")
                wrong = container.do(attack.try_all, v, groups, s.secrets())
                equal({what: how for what, how in wrong.items() if how}, {})
            t.type("\x03")
            equal(t.end(), 0)
        with check("the file with the token is gone with kura serve"):
            equal(os.path.exists(token), False)


def ip(*words):
    run = subprocess.run(["ip", *" ".join(words).split()], stderr=subprocess.PIPE, text=True)
    equal((run.returncode, run.stderr), (0, ""), "ip ended with")


class Relay:
    """Has the emulated AWS of one namespace at hand in another, at the same address."""

    def __init__(self, url, near, far):
        host, port = url.removeprefix("http://").split(":")
        self.address = (host, int(port))
        self.near = Namespace(of=near)  # another thread in it
        self.socket = far.do(socket.create_server, self.address)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                c, _ = self.socket.accept()
            except OSError:
                return  # it is over
            to = self.near.do(socket.create_connection, self.address)
            for pair in ((c, to), (to, c)):
                threading.Thread(target=self.copy, args=pair, daemon=True).start()

    def copy(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other end is closed, which the program sees

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.near.__exit__()
