"""Calls GetCallerIdentity with the AWS CLI, a new process each time: see README.md.
That takes the CLI long enough for one call in ten seconds to do."""

import json
import os
import re
import subprocess
import sys
import time


def call(program):
    argv = [program, "--debug", "--endpoint-url", os.environ["AWS_ENDPOINT_URL"], "sts", "get-caller-identity"]
    run = subprocess.run(argv, capture_output=True, text=True)
    if run.returncode != 0:
        return {"error": run.stderr.strip().splitlines()[-1]}
    return {
        "arn": json.loads(run.stdout)["Arn"],
        "key": re.findall(r"Credential=(\w+)/", run.stderr)[-1],
        "source": re.findall(r"Looking for credentials via: (\S+)", run.stderr)[-1],
    }


def main(program, seconds=0):
    if seconds == "--version":
        print(subprocess.run([program, seconds], capture_output=True, text=True).stdout.split()[0])
        return
    due = time.monotonic()
    end = due + int(seconds)
    while True:
        print(json.dumps(call(program)), flush=True)
        due = max(due + 10, time.monotonic())  # however long it took
        if due >= end:
            return
        time.sleep(max(0, due - time.monotonic()))


main(*sys.argv[1:])
