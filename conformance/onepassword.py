"""R4.1, R4.2 and R5.1 to R5.7: an item of 1Password holds the access key and makes
the token code, kura is the credential process of [default], and AWS's own clients
and awsume work beside it. The op is an emulated one, cmd/opemu."""

import base64
import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from process import USER
from stage import ACCOUNT, ROLE, SERIAL, Stage, check, command_line, equal, forms_of, keyring_works, lacks, matches, wait_until

HERE = Path(__file__).parent
ITEM = "AWS Access Key"
ROLE_ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/developer/"

DEFAULT = f"""\
[default]
region = ap-northeast-1
mfa_serial = {SERIAL}
credential_process = {shutil.which("kura")} credential-process default
"""
KEY = f"kura_backend = 1password:Private,item={ITEM},name=default\n"
CODE = "mfa_source = 1password\n"
ROLES = f"""\

[profile project-a-role]
region = ap-northeast-1
role_arn = {ROLE}/developer
source_profile = default
"""


class OnePassword:
    """An emulated 1Password for a stage, whose commands find its op. The item
    has the fields that the articles name: the stage's access key, the seed of
    its MFA device and an empty session_cache."""

    def __init__(self, stage):
        self.dir = stage.dir / "1password"
        self.state = self.dir / "state.json"
        self.stage, self.seen = stage, 0
        (self.dir / "bin").mkdir(parents=True)
        (self.dir / "bin" / "op").symlink_to(shutil.which("opemu"))
        stage.env.update(OPEMU_STATE=str(self.state), PATH=f"{self.dir / 'bin'}:{stage.env['PATH']}")
        self.ctl("init")
        self.fill(stage.key_id, stage.secret)
        with self.fields() as fields:
            fields["mfa serial"]["value"] = SERIAL
            fields["one-time password"]["value"] = stage.seed

    def ctl(self, *words):
        return subprocess.run(["opemu", "ctl", *words], env=self.stage.env, stdout=subprocess.PIPE, text=True, check=True).stdout

    def set_clock(self, seconds):
        """Sets how far the clock that codes go by is ahead of this machine's."""
        self.ctl("set", "offset", f"{seconds}s")

    @contextmanager
    def fields(self):
        """The item's fields by their labels, to be changed from another device."""
        with open(f"{self.state}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads(self.state.read_text())
            [item] = state["items"]
            fields = {field["label"]: field for field in item["fields"]}
            yield fields
            item["fields"] = list(fields.values())
            item["version"] += 1
            self.state.write_text(json.dumps(state))

    def fill(self, key_id, secret):
        with self.fields() as fields:
            fields["Access Key ID"]["value"] = key_id
            fields["Secret Access Key"]["value"] = secret

    def session(self):
        """What session_cache holds, as the JSON that AWS's clients print."""
        with self.fields() as fields:
            value = fields["session_cache"].get("value", "")
        return json.loads(base64.b64decode(value)) if value else {}

    def prompts(self):
        """How often the app has asked the person."""
        return json.loads(self.ctl("dump"))["prompts"]

    def journal(self):
        """The calls of op so far. What came last about a call is true."""
        path = Path(json.loads(self.ctl("dump"))["journal"])
        lines = path.read_text().splitlines() if path.exists() else []
        return list({call["id"]: call for call in map(json.loads, lines)}.values())

    def calls(self):
        """The commands that op was called for since the last time."""
        calls = self.journal()
        new, self.seen = calls[self.seen:], len(calls)
        return [call["command"] or " ".join(call["argv"]) for call in new]

    def leaks(self, first=0):
        """Where in the arguments or the environment of a call a secret is, from
        a first one on."""
        hidden = self.stage.secrets() + [self.stage.secret] + json.loads(self.ctl("dump"))["secrets"]
        forms = set().union(*(forms_of(secret) for secret in hidden))
        found = []
        for call in self.journal()[first:]:
            places = [(f"argument {n}", text) for n, text in enumerate(call["argv"], 1)]
            places += [entry.split("=", 1) for entry in call["environ"]]
            found += [f"op {call['command']}: {where}" for where, text in places if any(form in text.encode() for form in forms)]
        return found


@contextmanager
def home(work, config=DEFAULT + KEY + CODE + ROLES):
    """An empty home with that config file, and 1Password."""
    with Stage(work) as s:
        leave_to_profile(s)
        s.write_config(config)
        yield s, OnePassword(s)


def leave_to_profile(stage):
    """Makes the profile's kura_backend count. The cache key is elsewhere: where
    the kernel keeps nothing, in a store with a passphrase."""
    del stage.env["KURA_BACKEND"]
    if not keyring_works():
        stage.env["KURA_FILE_PASSPHRASE"] = stage.passphrase


def checks(work, tools):
    with check("the search of op's calls finds a secret in a variable, and in an argument within base64"), home(work) as (s, op):
        session = base64.b64encode(json.dumps({"Credentials": {"SecretAccessKey": s.secret}}).encode()).decode()
        s.run("op", "item", "edit", ITEM, f"session_cache[password]={session}", env={"PLANTED": s.secret})
        equal(op.leaks(), ["op item edit: argument 4", "op item edit: PLANTED"])

    for needs, caller, arn, *argv in callers(tools):
        with check(f"{caller}, in a new home: one op item get and one GetSessionToken, and no question; the second time none of them"):
            tools.need(*needs)
            with home(work) as (s, op):
                argv = [s.url if arg == "URL" else arg for arg in argv]
                for op_calls in (["item get"], []):
                    out = s.run(*argv)
                    matches(out, re.escape(arn))
                    lacks(out, "Enter ")
                    equal(op.calls(), op_calls, "op was called for")
                    equal(signed_by_key(s), ["GetSessionToken"], "STS was called for")
                equal(op.leaks(), [])

    with check("awsume completes the names of the profiles, without op"), home(work) as (s, op):
        tools.need("awsume")
        equal(s.run("awsume-autocomplete").split(), ["default", "project-a-role"])
        equal(op.calls(), [])

    with check("credentials in the variables of the caller are not used, and op does not get them"), home(work) as (s, op):
        stale = {"AWS_ACCESS_KEY_ID": s.key_id, "AWS_SECRET_ACCESS_KEY": s.secret, "AWS_SESSION_TOKEN": "stale", "AWS_SECURITY_TOKEN": "stale", "AWS_PROFILE": "project-a-role"}
        equal(json.loads(s.run("kura", "credential-process", "default", env=stale))["Version"], 1)
        equal(s.sts_calls(), ["GetSessionToken"])
        equal(op.calls(), ["item get"])
        equal(op.leaks(), [])

    with check("what is piped to a program of the AWS SDK for Go, which hands it on, is for neither kura nor op"), home(work) as (s, op):
        tools.need("go")
        out = s.run("bash", "-c", "echo piped | { caller_go; cat; }")
        matches(out, re.escape(USER))
        matches(out, "^piped$")
        equal([call["stdin"] for call in op.journal()], ["null"])

    apart(work, tools)
    crowd(work, tools)


def callers(tools):
    """Programs that ask AWS who they are: what they need to be here, what they
    are called, who they have to be, and their command lines."""
    label = tools.versions.get
    identity = ["sts", "get-caller-identity"]
    role = ["env", "AWS_PROFILE=project-a-role"]
    return [
        (["awsume", "aws"], "awsume project-a-role", ROLE_ARN, "bash", "-c", ". awsume project-a-role && aws " + " ".join(identity)),
        (["aws"], f"{label('aws', 'the AWS CLI 1')} with a role", ROLE_ARN, *role, "aws", *identity),
        (["boto3"], f"{label('boto3', 'boto3')} with a role", ROLE_ARN, *role, "python3", str(HERE / "with_boto3.py")),
        (["js"], f"{label('js', 'the AWS SDK for JavaScript')} with a role", ROLE_ARN, *role, "node", str(HERE / "sdks/caller.cjs")),
        # To assume a role these would call the real AWS, whatever
        # AWS_ENDPOINT_URL says.
        (["aws2"], label("aws2", "the AWS CLI 2"), USER, os.environ["AWS2"], "--endpoint-url", "URL", *identity),
        (["go"], label("go", "the AWS SDK for Go"), USER, "caller_go"),
    ]


def signed_by_key(stage):
    """What the access key was used for. All else is done with its session."""
    return [call["Op"] for call in stage.calls() if call["KeyID"] == stage.key_id]


def apart(work, tools):
    """R4.2: which store holds the key and what makes the code are two choices."""
    with Stage(work) as s:
        op = OnePassword(s)
        with op.fields() as fields:
            del fields["Access Key ID"], fields["Secret Access Key"]
        s.prepare(DEFAULT + CODE.strip() + f":{ITEM},vault=Private\n" + ROLES)
        with check("with the key in the file store, 1Password makes the code: kura exec asks for nothing"):
            tools.need("aws")
            for op_calls in (["item get"], []):
                matches(s.run("kura", "exec", "project-a-role", "--", "aws", "sts", "get-caller-identity"), re.escape(ROLE_ARN))
                equal(op.calls(), op_calls, "op was called for")
            equal(op.leaks(), [])

    with home(work, DEFAULT + KEY + ROLES) as (s, op):
        with op.fields() as fields:
            del fields["one-time password"]
        with check("with the key in 1Password, the code is typed: once, and later nothing is asked"):
            tools.need("aws")
            identity = ["aws", "sts", "get-caller-identity", "--profile", "project-a-role"]
            for answers, op_calls in ((s.for_code(), ["item get"]), ((), [])):
                matches(s.run(*identity, answers=answers), re.escape(ROLE_ARN))
                equal(op.calls(), op_calls, "op was called for")
            equal(op.leaks(), [])


# Twenty callers on one terminal, of two kinds where the AWS CLI is there. It
# says when they have ended.
CROWD = """\
for i in 1 2 3 4 5 6 7 8 9 10; do
	{ caller_go || echo "failed: $?"; } &
	{ $OTHER || echo "failed: $?"; } &
done
wait
echo all have ended
"""


def crowd(work, tools):
    with home(work) as (s, op):
        other = "aws sts get-caller-identity --output text" if "aws" in tools.versions else "caller_go"
        with check("twenty AWS CLIs and Go programs at once, and 1Password's question is dismissed: twenty failures that say so, and one question"):
            op.ctl("set", "auth.prompt", "hang")
            out = at_once(s, op, other, "dismiss")
            equal(out.count("1Password's question was dismissed, or closed itself"), 20, "reasons:")
            equal(len(re.findall(r"^failed: ", out, re.MULTILINE)), 20, "failures:")
            equal((op.prompts(), op.calls(), s.calls()), (1, ["item get"], []))
        with check("it is allowed: twenty answers, with one question, one reading of the item, one code and one session"):
            op.ctl("set", "auth.prompt", "hang")
            before = op.prompts()
            out = at_once(s, op, other, "approve")
            equal(out.count(USER), 20)
            equal((op.prompts() - before, op.calls()), (1, ["item get"]))
            equal(signed_by_key(s), ["GetSessionToken"])
            equal(op.leaks(), [])


def at_once(stage, op, other, answer):
    """Runs the crowd, and answers 1Password's question when all wait for it."""
    with stage.terminal("bash", "-c", CROWD, env={"OTHER": other}) as t:
        wait_until(lambda: t.read(0) and credential_processes() == 20, "twenty ask kura", 30)
        time.sleep(1)  # the last has begun just now
        op.ctl(answer)
        t.expect("^all have ended$", 40)
        equal(t.end(), 0)
        return t.text


def credential_processes():
    """How many credential processes of [default] there are."""
    argv = [shutil.which("kura"), "credential-process", "default"]
    return [command_line(path.name) for path in Path("/proc").glob("[0-9]*")].count(argv)
