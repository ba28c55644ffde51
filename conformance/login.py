"""R3.1: kura login opens the console in a real browser, signed in, and nobody else
on the machine sees what signs in."""

import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from stage import ACCOUNT, ROLE, SERIAL, Skipped, Stage, check, equal, lacks, matches, wait_until
from traces import is_of

CONFIG = f"""\
[default]
region = ap-northeast-1

[profile dev]
region = ap-northeast-1
source_profile = default
mfa_serial = {SERIAL}
role_arn = {ROLE}/developer
kura_browser_profile = Profile of dev
"""

# A browser that user 65534 comes before.
FASTER = f"""\
#!{sys.executable}
import encodings.idna, os, sys, urllib.error, urllib.request  # that user can't load the first
status, address = sys.argv[1:]
if os.fork() == 0:
    with open(status, "w") as out:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            out.write(str(urllib.request.urlopen(address).status))
        except urllib.error.HTTPError as e:
            out.write(str(e.code))
    os._exit(0)
os.wait()
os.execvp("chromium", ["chromium", address])
"""

PAGE = re.compile(r"http://127\.0\.0\.1:\d+/[A-Z2-7]{26}")


def checks(work, watcher):
    with Stage(work) as s:
        s.prepare(CONFIG)
        browser = Browser(s)

        def login(*args, answers=()):
            browser.need()
            browser.page.unlink(missing_ok=True)
            shown = s.run("kura", "login", *args, answers=answers)
            lacks(shown, "SigninToken", *s.secrets())
            browser.end()
            return browser.page.read_text()

        with check("kura login default opens Chromium by itself, and the console shows the user, in the region of the profile"):
            page = login("default", "--browser", "chromium")
            matches(page, f"Signed in as arn:aws:sts::{ACCOUNT}:federated-user/oppara in ap-northeast-1 for 1h0m0s")
            equal(s.sts_calls()[-2:], ["GetCallerIdentity", "GetFederationToken"])

        with check("kura login dev s3 asks for the code, and the console shows the role, on the page of S3, in the browser's profile that dev names"):
            page = login("dev", "s3", answers=s.for_code())
            matches(page, f"Signed in as arn:aws:sts::{ACCOUNT}:assumed-role/developer/")
            matches(page, r"destination https://ap-northeast-1\.console\.aws\.amazon\.com/s3/home\?region=ap-northeast-1,")
            equal((browser.data / "Profile of dev").is_dir(), True, "the browser has such a profile:")

        with check("kura login --auto-logout has Chromium sign out, and then in"):
            login("dev", "--auto-logout")
            equal([call["Op"] for call in s.calls()][-3:], ["getSigninToken", "logout", "login"])

        with check("another user who is faster than the browser gets nothing, and the browser is sent there all the same"):
            if os.getuid() != 0:
                raise Skipped("to be another user takes root")
            first = s.dir / "first"
            first.write_text(FASTER)
            first.chmod(0o700)
            matches(login("dev", "--browser", f"{first} {s.dir}/status %s"), "Signed in as")
            equal((s.dir / "status").read_text(), "403")

        with check("Chromium was given addresses of this machine, and nothing is there when it has been there"):
            browser.need()
            addresses = {m for line in watcher.holding("--dump-dom") for m in PAGE.findall(line)}
            equal(len(addresses) >= 4, True, "addresses in argument lists:")
            for address in addresses:
                try:
                    equal(urllib.request.urlopen(address, timeout=5).status, None)
                except urllib.error.URLError as e:
                    matches(str(e), "refused")

        with check("no argument list held a key, a sign-in token or the URL with it"):
            browser.need()
            tokens = [secret for secret in s.secrets() if secret.startswith("VCQg")]
            equal(len(tokens) >= 3, True, "sign-in tokens:")
            for text in ["SigninToken", *s.secrets()]:
                equal(len(watcher.holding(text)), 0, "argument lists with a secret:")

        with check("kura login --stdout prints the URL for those who want it"):
            url = s.run("kura", "login", "dev", "--stdout").strip()
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as response:
                matches(response.read().decode(), "Signed in as .*assumed-role/developer/")

        with check("Firefox, too, is sent by the page to the console"):
            browser.need("firefox")
            s.env["BROWSER_DATA"] += "-firefox"
            s.run("kura", "login", "default", "--browser", "firefox")
            wait_until(lambda: [call["Op"] for call in s.calls()][-2:] == ["getSigninToken", "login"], "it signs in", 30)
        browser.end()


class Browser:
    """The browsers that run provides. They end by themselves when they have shown a
    page."""

    def __init__(self, stage):
        self.stage, self.data = stage, stage.dir / "chromium"
        self.page = Path(f"{self.data}.page")
        stage.env["BROWSER_DATA"] = str(self.data)

    def need(self, name="chromium"):
        if not shutil.which(name):
            raise Skipped(f"there is no {name}")

    def end(self):
        """Waits until they have."""
        wait_until(lambda: not any(is_of(self.stage, pid) for pid in os.listdir("/proc")), "the browser ends", 30)
