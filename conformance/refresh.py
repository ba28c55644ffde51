"""R5.2 and R5.7, for programs that outlive their credentials: how often those of
the AWS SDKs run kura as their credential process, and how often kura then calls
STS or asks somebody.

Nobody waits for an hour here. What the emulated AWS gives for an hour while its
clock is slow ends in some minutes by the clock of this machine, which is the one
that the SDKs and kura go by."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

from onepassword import ITEM, OnePassword, leave_to_profile
from stage import ROLE, SERIAL, Stage, Unexpected, check, equal

HERE = Path(__file__).parent
PROGRAMS = {
    "boto3": ["python3", str(HERE / "with_boto3.py")],
    "js": ["node", str(HERE / "sdks/caller.cjs"), "--requests"],
    "go": ["caller_go", "--requests"],
}
REQUESTS = 24  # of each program, two in a second
MARGIN = 6  # seconds from its first credentials to the moment in question

HOUR, QUARTER = 3600, 900
ROLE_FOR = f"role_arn = {ROLE}/developer\nduration_seconds = "

# The sessions: what they are called, how long they last, where they come from.
SESSIONS = {
    "role": ("a role's session", HOUR, f"{ROLE_FOR}{HOUR}\n"),
    "short": ("a role's session of 15 minutes", QUARTER, f"{ROLE_FOR}{QUARTER}\n"),
    "1password": ("a session with a code of 1Password's", HOUR, f"mfa_source = 1password:{ITEM}\n"),
    "process": ("a session with a code of mfa_process", HOUR, "mfa_process = cat HOME/code\n"),
    "typed": ("a session with a code that is typed", HOUR, ""),
}

CONFIG = f"""\
[default]
region = ap-northeast-1
credential_process = HOME/counted

[profile long]
source_profile = base
mfa_serial = {SERIAL}
"""

COUNTED = """\
#!/bin/sh
echo >>"$HOME/runs"
exec kura credential-process long
"""


def checks(work, tools):
    with ThreadPoolExecutor(8) as pool:
        late = {sdk: pool.submit(unanswered, work, argv) for sdk, argv in UNANSWERED.items() if sdk in tools.versions}
        courses = {(sdk, kind): pool.submit(course, work, sdk, kind) for kind in SESSIONS for sdk in PROGRAMS if sdk in tools.versions}
        dismissed = pool.submit(refused, work) if "boto3" in tools.versions else None
        for sdk in PROGRAMS:
            for kind in SESSIONS:
                with check(f"{tools.versions.get(sdk, sdk)} {promise(sdk, kind)}"):
                    tools.need(sdk)
                    courses[sdk, kind].result()
        with check(f"{tools.versions.get('boto3', 'boto3')} runs kura at each request around 10 minutes before the end, and 1Password's question is dismissed: no request fails and it asks no more"):
            tools.need("boto3")
            dismissed.result()
        for sdk in UNANSWERED:
            with check(f"{tools.versions.get(sdk, sdk)}, when nobody answers the question for a code, is told so after 50 seconds"):
                tools.need(sdk)
                late[sdk].result()


def moment(sdk, kind):
    """When there are new credentials, in seconds before the old ones end. Boto3
    asks for them at each request in the last 15 minutes, and then it is up to
    kura; the others keep what they have for longer than kura does."""
    if sdk == "boto3":
        return {"short": QUARTER // 2, "typed": 300}.get(kind, 900)
    return {"js": 300, "go": 0}[sdk]


def promise(sdk, kind):
    session, _, _ = SESSIONS[kind]
    if (sdk, kind) == ("boto3", "short"):
        return f"runs kura at each of {REQUESTS} requests with {session}, and kura calls STS for it once, when half of it is over"
    if (sdk, kind) == ("boto3", "typed"):
        return f"runs kura at each request in the last 15 minutes of {session}, and kura asks for one once, 5 minutes before the end"
    when = f"{moment(sdk, kind) // 60} minutes before" if moment(sdk, kind) else "at"
    how = "after one question" if kind == "typed" else "without a question"
    return f"runs kura once for {REQUESTS} requests, {when} the end of {session}, and kura calls STS for the next one once, {how}"


def course(work, sdk, kind):
    """Has a program make its requests while a session comes to that moment, and
    looks at what that took."""
    _, _, source = SESSIONS[kind]
    with Stage(work) as s:
        op = prepare(s, kind, source)
        before = len(s.calls())
        shown = live(s, op, sdk, kind, moment(sdk, kind))
        questions = {"1password": 0, "process": 0, "typed": 2}.get(kind, 1)
        if shown.count("Enter MFA code") != questions:
            raise Unexpected(f"saw {shown!r}, want {questions} questions")

        # What AWS makes of calls while its clock is slow does not count.
        calls = [call for call in s.calls()[before:] if not call["Error"]]
        minted = [call["Op"] for call in calls if call["Op"] != "GetCallerIdentity"]
        equal(minted, ["GetSessionToken", "AssumeRole", "AssumeRole"] if "role_arn" in source else ["GetSessionToken"] * 2)
        by_key = groupby(call["KeyID"] for call in calls if call["Op"] == "GetCallerIdentity")
        requests = [len(list(group)) for _, group in by_key]
        equal((len(requests), sum(requests)), (2, REQUESTS), f"with {requests} requests by the sessions:")

        want = 2
        if (sdk, kind) == ("boto3", "short"):
            want = 1 + REQUESTS
        elif (sdk, kind) == ("boto3", "typed"):
            want = 1 + requests[0] + 1
        equal(runs(s), want, "runs of kura:")
        if op:
            equal(op.calls(), ["item get"], "for the second session op was called for")


def runs(stage):
    return len((stage.home / "runs").read_text().splitlines())


def refused(work):
    """Has a person dismiss 1Password's question for the next code."""
    with Stage(work) as s:
        op = prepare(s, "1password", SESSIONS["1password"][2])

        def dismiss():
            op.ctl("lock")
            op.ctl("dismiss")

        live(s, op, "boto3", "1password", 600, dismiss)
        equal([call["Op"] for call in s.calls() if not call["Error"]], ["GetSessionToken"] + ["GetCallerIdentity"] * REQUESTS)
        equal((op.prompts(), op.calls()), (2, ["item get"]))
        equal(runs(s), 1 + REQUESTS, "runs of kura:")


def live(stage, op, sdk, kind, at, then=lambda: None):
    """Runs a program from its first credentials to its last request, half of
    which come before that moment: seconds before the end of the first session.
    Answers what is asked, and returns what was shown. Calls then in between."""
    _, lasts, _ = SESSIONS[kind]
    question, code = stage.for_code()[0]
    set_clocks(stage, op, at + MARGIN - lasts)
    with stage.terminal(*PROGRAMS[sdk], str(REQUESTS)) as t:
        if kind not in ("1password", "process"):
            t.answer(question, code())
        t.expect("^ready$", 30)
        set_clocks(stage, op, 0)
        if op:
            op.calls()
        then()
        t.type("go\r")
        if kind == "typed":
            t.answer(question, code())
        t.expect(r"^\[\]$", REQUESTS)  # no request has failed
        equal(t.end(), 0)
        return t.text


def prepare(stage, kind, source):
    """Makes the home of a kind of session, and returns its 1Password."""
    counted = stage.home / "counted"
    counted.write_text(COUNTED)
    counted.chmod(0o755)
    # The user's session, which a role's is made from, is to outlive it.
    stage.env["AWS_CHAINED_SESSION_TOKEN_TTL"] = "8h" if "role_arn" in source else "1h"
    config = (CONFIG + source).replace("HOME", str(stage.home)) + "\n[profile base]\n"
    if kind != "1password":
        stage.prepare(config, "base")
        return None
    leave_to_profile(stage)
    stage.write_config(config + f"kura_backend = 1password:Private,item={ITEM},name=base\n")
    return OnePassword(stage)


def set_clocks(stage, op, seconds):
    """Sets the clocks of AWS and of what makes the codes."""
    stage.set_clock(seconds)
    if op:
        op.set_clock(seconds)
    (stage.home / "code").write_text(stage.code())


# The default chain of the SDK for JavaScript says of every failure that it could
# not load credentials from any providers; its links say why.
UNANSWERED = {
    "js": ["node", "-e", "require('@aws-sdk/credential-providers').fromIni()().catch((e) => { console.log(e.message); process.exit(1) })"],
    "go": ["caller_go"],
}


def unanswered(work, argv):
    with Stage(work) as s:
        prepare(s, "typed", "")
        began = time.monotonic()
        with s.terminal(*argv) as t:
            t.expect("^Enter MFA code")
            t.expect('^kura: getting credentials of "long": a question was not answered: not done after 50s$', 57)
            t.expect("^kura: hint: run it by hand")
            equal(t.end(), 1)
        equal(50 <= time.monotonic() - began < 58, True, "in time:")
        equal(s.sts_calls(), ["GetCallerIdentity"])  # of kura add
