"""Says how many of the calls of a program fail that has boto3 fetch sessions of 15
minutes from a metadata service, which renews them when so many seconds are left:
see README.md. The clock is made up, the code that decides what to keep and when to
ask again is botocore's."""

import datetime
import json
import random
import sys

import boto3
import botocore.credentials
import botocore.utils

LASTS, HOURS = 900, 100


class Service:
    """Has sessions as kura has them, and the clock of everybody."""

    def __init__(self, ahead):
        self.now, self.ends, self.ahead = 0, LASTS, ahead

    def time(self):
        return datetime.datetime.fromtimestamp(self.now, datetime.timezone.utc)

    def tick(self, seconds):
        self.now += seconds
        if self.ends - self.now < self.ahead:
            self.ends = self.now + LASTS

    def fetch(self):
        ends = datetime.datetime.fromtimestamp(self.ends, datetime.timezone.utc)
        metadata = {"role_name": "role", "access_key": "ASIA", "secret_key": "", "token": str(self.ends), "expiry_time": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
        fetcher._evaluate_expiration(metadata)
        return metadata


def failures(ahead):
    service = Service(ahead)
    botocore.utils.get_current_datetime = lambda: service.time().replace(tzinfo=None)
    credentials = botocore.credentials.RefreshableCredentials("", "", "", service.time(), service.fetch, "iam-role", service.time)
    failed = 0
    while service.now < HOURS * 3600:
        token = credentials.get_frozen_credentials().token
        failed += int(token) <= service.now
        service.tick(1)
    return failed


random.seed(1)
resolver = botocore.credentials.create_credential_resolver(boto3.Session()._session)
fetcher = resolver.get_provider("iam-role")._role_fetcher
print(json.dumps([failures(int(ahead)) for ahead in sys.argv[1:]]))
