"""What a program with boto3 finds: its region, who it is, and its buckets. With
a number it stays: it takes its credentials, says "ready", waits for a line, makes
so many requests, two in a second, and prints what became of those that failed."""

import json
import sys
import time

import boto3


def stay(session, requests):
    sts = session.client("sts")  # which takes the credentials
    print("ready", flush=True)
    sys.stdin.readline()
    failed = []
    for _ in range(requests):
        # Credentials expire at whole seconds: keep away from them.
        time.sleep(0.5 - (time.time() + 0.25) % 0.5)
        try:
            sts.get_caller_identity()
        except Exception as e:
            failed.append(str(e))
    print(json.dumps(failed))


session = boto3.Session()
if sys.argv[1:]:
    stay(session, int(sys.argv[1]))
else:
    print(json.dumps({
        "region": session.region_name,
        "key": session.get_credentials().access_key[:4],
        "arn": session.client("sts").get_caller_identity()["Arn"],
        "buckets": [bucket["Name"] for bucket in session.client("s3").list_buckets()["Buckets"]],
    }))
