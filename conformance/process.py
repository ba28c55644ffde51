"""R5.6: [default] has its credentials from kura, and roles are assumed from it
by the AWS CLI, boto3 and awsume, which know nothing of kura."""

import json
import shutil
from pathlib import Path

from stage import ACCOUNT, ROLE, SERIAL, Stage, check, equal, matches

HERE = Path(__file__).parent
USER = f"arn:aws:iam::{ACCOUNT}:user/oppara"

PROJECT_CONFIG = f"""\
[default]
region = ap-northeast-1
mfa_serial = {SERIAL}
credential_process = {shutil.which("kura")} credential-process default

[profile project-a-role]
region = ap-northeast-1
role_arn = {ROLE}/developer
source_profile = default

[profile project-b-role]
region = ap-northeast-1
role_arn = {ROLE}/role1
source_profile = default
"""


def checks(work, tools):
    with Stage(work) as s:
        s.prepare(PROJECT_CONFIG)
        identity = ["aws", "sts", "get-caller-identity"]

        with check("the AWS CLI assumes a role from [default], for which kura asks for the code"):
            tools.need("aws")
            out = s.run(*identity, "--profile", "project-a-role", answers=s.for_code())
            matches(out, "assumed-role/developer/")
            equal(s.sts_calls()[-3:], ["GetSessionToken", "AssumeRole", "GetCallerIdentity"])
        if "aws" not in tools.versions:
            s.run("kura", "credential-process", "default", answers=s.for_code())

        with check("so does boto3, without another question"):
            tools.need("boto3")
            out = s.run("python3", str(HERE / "with_boto3.py"), env={"AWS_PROFILE": "project-b-role"})
            matches(json.loads(out.strip().splitlines()[-1])["arn"], "assumed-role/role1/")

        with check("[default] itself is the user with a session, inside kura exec, too"):
            tools.need("aws")
            equal(json.loads(s.run(*identity))["Arn"], USER)
            out = s.run("kura", "exec", "default", "--", "env", "-u", "AWS_ACCESS_KEY_ID", *identity, "--profile", "default")
            equal(json.loads(out)["Arn"], USER)

        for profile, role in (("project-a-role", "developer"), ("project-b-role", "role1"), ("project-a-role", "developer")):
            with check(f"awsume {profile} takes on {role}, without a question"):
                tools.need("awsume", "aws")
                out = s.run("bash", "-c", f". awsume {profile} && " + " ".join(identity))
                matches(out, f"assumed-role/{role}/")

        with check("awsume completes the names of the profiles"):
            tools.need("awsume")
            equal(s.run("awsume-autocomplete").split(), ["default", "project-a-role", "project-b-role"])

        with check("all of them together have made kura ask AWS for one session"):
            calls = s.sts_calls()
            equal(calls.count("GetSessionToken"), 1)

        with check("eight AWS CLIs at once have one question between them"):
            tools.need("aws")
            s.run("kura", "clear")
            crowd = "for i in $(seq 8); do aws sts get-caller-identity --query Arn --output text & done; wait"
            out = s.run("bash", "-c", crowd, answers=s.for_code())
            equal(out.count(USER), 8)
            equal(s.sts_calls().count("GetSessionToken"), 2)
