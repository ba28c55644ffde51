"""R5.3: the session_cache of an item in 1Password, which machines share that have
kura and machines that have a shell script."""

import json
import os
import subprocess
from pathlib import Path

from onepassword import CODE, DEFAULT, KEY, OnePassword, leave_to_profile
from process import USER
from stage import Skipped, Stage, check, equal, wait_until

SCRIPT = Path(__file__).with_name("session_cache.sh")
SHARED = KEY.replace("name=default", "name=default,session-cache=on")


class Machine:
    """A home on a stage, with the stage's clocks, AWS and 1Password."""

    def __init__(self, stage, name, config):
        self.stage, self.env = stage, {"HOME": str(stage.dir / name)}
        (stage.dir / name / ".aws").mkdir(parents=True)
        (stage.dir / name / ".aws" / "config").write_text(config)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run("kura", "lock")

    def run(self, *argv):
        return self.stage.run(*argv, env=self.env)

    def key(self, *argv):
        """The ID of the session's key that a credential process prints."""
        return json.loads(self.run(*argv))["AccessKeyId"]


def checks(work, tools):
    with Stage(work) as s:
        leave_to_profile(s)
        op = OnePassword(s)
        kura = ["kura", "credential-process", "default"]
        with Machine(s, "scripted", f"[default]\nregion = ap-northeast-1\ncredential_process = {SCRIPT}\n") as scripted, \
                Machine(s, "first", DEFAULT + SHARED + CODE) as first, Machine(s, "second", DEFAULT + SHARED + CODE) as second:

            with check("a shell script keeps its session in session_cache, and kura on another machine uses it: no code, no call of STS"):
                need(tools, s)
                equal(json.loads(scripted.run("aws", "sts", "get-caller-identity"))["Arn"], USER)
                equal(op.calls(), ["item get", "item get", "item edit"], "the script has called op for")
                before = op.seen
                equal(first.key(*kura), op.session()["Credentials"]["AccessKeyId"])
                equal(op.calls(), ["item get"], "kura has called op for")
                equal(op.leaks(before), [])
                equal(s.sts_calls(), ["GetSessionToken", "GetCallerIdentity"])

            with check("kura keeps its session there, and the shell script on another machine uses it"):
                need(tools, s)
                next_code(s, op, 1)
                with op.fields() as fields:
                    del fields["session_cache"]["value"]
                first.run("kura", "clear")
                before = op.seen
                key = first.key(*kura)
                wait_until(op.session, "kura writes its session")
                equal(op.leaks(before), [])
                op.calls()
                equal(scripted.key(str(SCRIPT)), key)
                equal(op.calls(), ["item get"], "the script has called op for")
                equal(s.sts_calls().count("GetSessionToken"), 2)

            with check("when the item has another access key, its old session is not used, and the new one takes its place"):
                need(tools, s)
                text = scripted.run("aws", "iam", "create-access-key", "--user-name", "oppara", "--output", "json")
                new = json.loads(text)["AccessKey"]
                op.fill(new["AccessKeyId"], new["SecretAccessKey"])
                next_code(s, op, 2)
                equal(second.key(*kura) != key, True, "another session")
                equal([call["KeyID"] for call in s.calls() if call["Op"] == "GetSessionToken" and not call["Error"]], [s.key_id, s.key_id, new["AccessKeyId"]])
                wait_until(lambda: op.session()["Credentials"]["AccessKeyId"] != key, "kura writes its session")


def need(tools, stage):
    tools.need("aws")
    env = {"HOME": str(stage.home), "PATH": os.environ["PATH"]}
    shown = subprocess.run(["kura", "backends"], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if "session-cache" not in shown.stdout:
        raise Skipped("this kura has no setting session-cache")


def next_code(stage, op, n):
    """Has AWS and 1Password agree on a time whose codes were not used yet."""
    stage.set_clock(120 * n)
    op.set_clock(120 * n)
