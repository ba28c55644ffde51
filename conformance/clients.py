"""R3.4 and R5.2: AWS's own clients, with the environment of exec and with
kura as a credential process."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from stage import ACCOUNT, CONFIG, Skipped, Stage, check, equal, matches

HERE = Path(__file__).parent
ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/developer/kura-oppara-oppara-dev"
BUCKETS = ["example-of-developers", "example-of-everyone"]

BACKEND = """\
terraform {
  backend "s3" {
    bucket         = "example-of-everyone"
    key            = "state"
    region         = "ap-northeast-1"
    use_path_style = true
  }
}
"""


class Tools:
    """The clients that there are, by trying them."""

    def __init__(self):
        self.versions = {}
        self.have("aws", ["aws", "--version"])
        self.have("aws2", [os.environ["AWS2"], "--version"])
        self.have("boto3", ["python3", "-c", "import boto3; print('boto3', boto3.__version__)"])
        self.have("go", ["caller_go", "--version"])
        self.have("awsume", ["awsumepy", "--version"])
        self.have("js", ["node", "-e", "require('@aws-sdk/credential-providers'); console.log('AWS SDK for JavaScript', require('@aws-sdk/client-sts/package.json').version)"])
        self.have("terraform", ["terraform", "version"])

    def have(self, name, argv):
        try:
            run = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30)
            if run.returncode == 0:
                self.versions[name] = " ".join(run.stdout.split()[:6]).split(" Python/")[0]
        except (OSError, subprocess.SubprocessError):
            pass  # it is not here, or is broken

    def need(self, *names):
        for name in names:
            if name not in self.versions:
                raise Skipped("it is not here" if len(names) == 1 else f"{name} is not here")


def checks(work, tools):
    with Stage(work) as s:
        process = f"\n[profile process]\nregion = ap-northeast-1\ncredential_process = {shutil.which('kura')} export --format=json oppara-dev\n"
        s.prepare(CONFIG + process)

        with check("boto3 with credential_process has kura ask for the code on the terminal"):
            tools.need("boto3")
            out = s.run("python3", str(HERE / "with_boto3.py"), env={"AWS_PROFILE": "process"}, answers=s.for_code())
            equal(last_json(out), {"region": "ap-northeast-1", "key": "ASIA", "arn": ARN, "buckets": BUCKETS})
        if "boto3" not in tools.versions:
            s.begin_session()

        for how, before, env in (
            ("the environment of exec", ["kura", "exec", "oppara-dev", "--"], {}),
            ("credential_process", [], {"AWS_PROFILE": "process"}),
        ):
            with check(f"{tools.versions.get('boto3', 'boto3')} works with {how}"):
                tools.need("boto3")
                out = s.run(*before, "python3", str(HERE / "with_boto3.py"), env=env)
                equal(last_json(out), {"region": "ap-northeast-1", "key": "ASIA", "arn": ARN, "buckets": BUCKETS})
            with check(f"{tools.versions.get('js', 'the AWS SDK for JavaScript')} works with {how}"):
                tools.need("js")
                out = s.run(*before, "node", str(HERE / "sdks/caller.cjs"), env=env)
                equal(last_json(out), {"region": "ap-northeast-1", "key": "ASIA", "arn": ARN})
            with check(f"{tools.versions.get('go', 'the AWS SDK for Go')} works with {how}"):
                tools.need("go")
                out = s.run(*before, "caller_go", env=env)
                equal(last_json(out), {"region": "ap-northeast-1", "key": "ASIA", "arn": ARN})
            for name, label, program in (("aws", "the AWS CLI 1", "aws"), ("aws2", "the AWS CLI 2", os.environ["AWS2"])):
                with check(f"{tools.versions.get(name, label)} works with {how}"):
                    tools.need(name)
                    # The AWS CLI 2 of Debian is older than AWS_ENDPOINT_URL.
                    aws = [program, "--endpoint-url", s.url]
                    matches(s.run(*before, *aws, "s3", "ls", env=env), "example-of-developers$")
                    equal(json.loads(s.run(*before, *aws, "sts", "get-caller-identity", env=env))["Arn"], ARN)
                    matches(s.run(*before, program, "configure", "list", env=env), "region +ap-northeast-1 ")
            with check(f"{tools.versions.get('terraform', 'terraform')} with the S3 backend works with {how}"):
                tools.need("terraform")
                (s.home / "main.tf").write_text(BACKEND)
                # The emulated S3 only lists, so that init, which looks for a
                # state too, ends with an error after the backend is set up.
                out = s.run(*before, "sh", "-c", "terraform init -no-color; terraform workspace list", env={"CHECKPOINT_DISABLE": "1", **env})
                matches(out, 'Successfully configured the backend "s3"')
                matches(out, r"^\* default$")
                shutil.rmtree(s.home / ".terraform")
        with check("all of these clients together have made kura call STS once for each session"):
            calls = [op for op in s.sts_calls() if op in ("GetSessionToken", "AssumeRole")]
            equal(calls, ["GetSessionToken", "AssumeRole"])


def last_json(text):
    """The last line, since questions on the terminal come before it."""
    return json.loads(text.strip().splitlines()[-1])
