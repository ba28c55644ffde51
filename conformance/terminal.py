"""A command at the terminal is as if kura were not there, and so is the
terminal after it."""

import json
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from stage import SERIAL, Skipped, Stage, check, equal, foreground, matches, wait_until

# A profile whose session takes a code each time.
CONFIG = f"""\
[default]
region = ap-northeast-1

[profile dev]
source_profile = default
mfa_serial = {SERIAL}
"""


class Shell:
    """A person's shell with job control."""

    def __init__(self, stage):
        # Without line editing the shell leaves the terminal's modes alone.
        self.terminal = stage.terminal("bash", "--norc", "--noprofile", "--noediting", "-i")
        self.terminal.expect(r"^\$ ")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.terminal.__exit__()

    def start(self, line):
        self.terminal.type(line + "\n")
        self.terminal.expect(r".*\n")  # as it was typed

    def output(self):
        """What comes until the shell is ready again."""
        t, begin = self.terminal, self.terminal.seen
        t.expect(r"^\$ ")
        return t.text[begin:t.seen - len("$ ")]

    def line(self, line):
        self.start(line)
        return self.output()

    def runs(self, *argv):
        wait_until(lambda: foreground(self.terminal) == list(argv), f"{argv} has the keyboard")


def checks(work):
    with Stage(work) as s:
        s.prepare()
        kura = "kura exec oppara-dev -- "

        with check("the terminal is as before when Ctrl-C is pressed at the passphrase prompt, and the status is 130"):
            if "KURA_FILE_PASSPHRASE" in s.env:
                raise Skipped("this kernel has no persistent keyring")
            s.run("kura", "lock")
            interrupt(s, kura + "true", s.for_store())
        with check("the terminal is as before when Ctrl-C is pressed at the MFA prompt, and the status is 130"):
            if "KURA_FILE_PASSPHRASE" not in s.env:
                with s.terminal("kura", "exec", "oppara-dev", "--", "true") as t:
                    t.answer(*s.for_store()[0])
                    t.expect("Enter MFA code")
            interrupt(s, kura + "true", s.for_code())
        with check("Ctrl-Z at the MFA prompt gives the shell back, and after fg the code can be typed"):
            with Shell(s) as sh:
                before = sh.line("stty -g")
                sh.start(kura + "echo it ran")
                sh.terminal.expect("Enter MFA code .*: ")
                wait_until(lambda: foreground(sh.terminal)[:1] == ["kura"], "kura has the keyboard")
                sh.terminal.type("\x1a")
                matches(sh.output(), "Stopped")
                equal(sh.line("stty -g"), before)
                sh.start("fg")
                wait_until(lambda: foreground(sh.terminal)[:1] == ["kura"], "kura has the keyboard")
                sh.terminal.type(s.code() + "\r")
                matches(sh.output(), "^it ran$")
                equal(sh.line("stty -g"), before)
        with check("Ctrl-Z, jobs, fg and Ctrl-C give what they give without kura"):
            equal(job_control(s, kura), job_control(s, ""))
        with check("the terminal is as before after a command that has asked nothing"):
            with Shell(s) as sh:
                before = sh.line("stty -g")
                equal(sh.line(kura + "true"), "")
                equal(sh.line("stty -g"), before)
        with check("exit statuses and signals of a command are those that a shell sees without kura"):
            with Shell(s) as sh:
                for command in ("sh -c 'exit 7'", "sh -c 'kill -TERM $$'", "sh -c 'kill -9 $$'", "/", "not-there"):
                    got, want = (status(sh, prefix + command) for prefix in (kura, ""))
                    equal(got, want, f"{command} ends with")
        with check("the size of the window reaches a command, also when it changes"):
            watch = "trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.05; done"
            with s.terminal("kura", "exec", "oppara-dev", "--", "bash", "-c", watch) as t:
                t.expect("^24 200$")
                t.resize(40, 100)
                t.expect("^40 100$")
                equal(t.end(), 0)
        with check("kura exec PROFILE starts an interactive shell, and exit 3 ends it with 3"):
            with s.terminal("kura", "exec", "oppara-dev", env={"SHELL": "/bin/sh"}) as t:
                t.expect("Starting subshell /bin/sh")
                t.expect(r"^\$ ")
                t.type("tty && echo $AWS_VAULT $AWS_ACCESS_KEY_ID\n")
                t.expect("^/dev/pts/")
                t.expect("^oppara-dev ASIA")
                t.type("exit 3\n")
                equal(t.end(), 3)
        with check("a full-screen program (less) works"):
            if not shutil.which("less"):
                raise Skipped("there is no less")
            (s.home / "text").write_text("".join(f"line {n}\n" for n in range(1, 500)))
            with Shell(s) as sh:
                before = sh.line("stty -g")
                sh.start(kura + "less text")
                sh.terminal.expect("line 1\n")
                sh.terminal.type("G")
                sh.terminal.expect("line 499\n")
                sh.terminal.type("q")
                sh.terminal.expect(r"\$ $")
                equal(sh.line("stty -g"), before)

    with Stage(work) as s:
        s.prepare(CONFIG)
        s.env.update({"AWS_MIN_TTL": "1s", "TERM": "dumb"})
        with check("beside a subshell nothing is asked when the session is about to end: kura says once what to type, and what is typed there renews it"):
            short_session(s)
            with Shell(s) as sh:
                sh.start("kura exec dev --server -- bash --norc --noprofile -i")
                sh.terminal.expect(r"^\$ ")
                before = sh.line("stty -g")
                url, token = sh.line("echo $AWS_CONTAINER_CREDENTIALS_FULL_URI $AWS_CONTAINER_AUTHORIZATION_TOKEN").split()
                key = fetch(url, token)
                line = sh.terminal.expect(r'is not renewed: .*; "(kura exec dev .* true)", in any terminal, renews the session$')[1]
                equal(fetch(url, token), key, "while it lasts the key is")
                sh.start(line)
                sh.terminal.answer(*[part() if callable(part) else part for part in s.for_code()[0]])
                sh.terminal.expect("kura: the session of .* is renewed, until .*\n")
                if fetch(url, token) == key:
                    raise ValueError("the key is the same")
                equal(sh.line("stty -g"), before)
                equal(len(re.findall("kura: (the|there is no) session", sh.terminal.text)), 2, "of notices there are")
                sh.start("exit")
                equal(sh.output().splitlines()[-1:], ["exit"])
        with check("kura serve asks on its terminal; moved to the background it goes on, takes the question back and asks again after fg"):
            short_session(s)
            with Shell(s) as sh:
                before = sh.line("stty -g")
                sh.start("kura serve dev")
                url = sh.terminal.expect("URI=(.*)$")[1]
                token = Path(sh.terminal.expect("FILE=(.*)$")[1]).read_text()
                key = fetch(url, token)
                sh.terminal.expect("^Enter MFA code")
                sh.terminal.type("\x1a")
                matches(sh.output(), "Stopped")
                sh.start("bg")
                sh.terminal.expect("kura: the terminal is in use by another program: the MFA code of .* is asked for when it is free again$")
                sh.terminal.type("\n")  # for a new prompt
                sh.output()
                matches(sh.line("jobs"), "Running +kura serve dev")
                equal(sh.line("stty -g"), before)
                sh.start("fg")
                sh.terminal.expect("^Enter MFA code .*: ")
                sh.terminal.type(s.code() + "\r")
                wait_until(lambda: fetch(url, token) not in ("", key), "the new session is served")
                sh.terminal.type("\x03")
                sh.terminal.expect(r"\$ $")
                equal(sh.line("stty -g"), before)


def short_session(stage):
    """Begins a session that is good for some seconds. The next one lasts."""
    stage.run("kura", "clear")
    stage.get("sessions?limit=14s", "POST")
    stage.run("kura", "exec", "dev", "--", "true", answers=stage.for_code())
    stage.get("sessions?limit=0s", "POST")


def fetch(url, token):
    """The ID of the key that a server hands out, or "" if that has ended."""
    request = urllib.request.Request(url, headers={"Authorization": token})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
            return json.load(response)["AccessKeyId"]
    except urllib.error.HTTPError:
        return ""


def interrupt(stage, line, questions):
    """Presses Ctrl-C at the first question."""
    with Shell(stage) as sh:
        before = sh.line("stty -g")
        sh.start(line)
        sh.terminal.expect(questions[0][0])
        sh.terminal.type("\x03")
        matches(sh.output(), "^kura: .*canceled$")
        equal(sh.line("echo $?"), "130\n")
        equal(sh.line("stty -g"), before)


def job_control(stage, prefix):
    """What a person sees who stops a command, looks, goes on and ends it."""
    saw = []
    with Shell(stage) as sh:
        sh.start(prefix + "sleep 100")
        sh.runs("sleep", "100")
        sh.terminal.type("\x1a")
        saw += [sh.output(), sh.line("echo $?"), sh.line("jobs")]
        sh.start("fg")
        sh.terminal.expect("sleep 100\n")  # or Ctrl-C may throw it away unseen
        sh.runs("sleep", "100")
        sh.terminal.type("\x03")
        saw += [sh.output(), sh.line("echo $?"), sh.line("jobs")]
        equal(sh.line("echo still here"), "still here\n")
    return [text.replace(prefix, "") if prefix else text for text in saw]


def status(shell, line):
    shell.line(line)
    return shell.line("echo $?")
