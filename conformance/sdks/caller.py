"""Calls GetCallerIdentity as a program with boto3 does: see README.md."""

import json
import random
import sys
import time
from types import SimpleNamespace

import boto3
import botocore.utils

# What boto3 gets from the instance metadata service less than 15 minutes before
# its end it takes for good for 2 to 10 minutes more, since EC2 gives out better
# in time. Sessions of two minutes make sense only if those are seconds.
botocore.utils.random = SimpleNamespace(randint=lambda low, high: random.randint(low, high) // 60)


def call(session, sts):
    try:
        credentials = session.get_credentials()
        key = credentials.get_frozen_credentials().access_key
        return {"arn": sts.get_caller_identity()["Arn"], "key": key, "source": credentials.method}
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"}


def main(seconds=0):
    if seconds == "--version":
        print("boto3", boto3.__version__)
        return
    end = time.monotonic() + int(seconds)
    session = boto3.Session()
    sts = session.client("sts")
    while True:
        print(json.dumps(call(session, sts)), flush=True)
        if time.monotonic() >= end:
            return
        time.sleep(1)


main(*sys.argv[1:])
