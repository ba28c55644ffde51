"""kura can be ended at any prompt, in any way: the terminal is as before, and
nothing that is left hinders the next run."""

import os
import re
import signal
from pathlib import Path

from stage import CONFIG, Stage, check, command_line, equal, lacks, wait_until


def checks(work):
    with Stage(work) as s:
        mfa = [("Enter MFA Device ARN (If MFA is not enabled, leave this blank): ", "")]
        at_each_prompt(s, ["kura", "add", "default"], s.for_key() + mfa + s.for_new_store())
        s.write_config(CONFIG)
        at_each_prompt(s, ["kura", "exec", "oppara-dev", "--", "true"], s.for_store() + s.for_code())


def at_each_prompt(stage, argv, questions):
    what = " ".join(argv[:2])
    for i, (question, _) in enumerate(questions):
        words = " ".join(question.rstrip(": ").split()[:4])
        with check(f'at "{words}" {what} is ended by SIGINT, SIGTERM and SIGHUP with the terminal as before, by SIGKILL and by a hang-up'):
            for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, None):
                end_at(stage, argv, questions[:i], question, sig)
    with check(f"after all that, {what} does its work and waits for nobody"):
        stage.run("kura", "lock")
        lacks(stage.run(*argv, answers=questions), "waiting for")


def end_at(stage, argv, answered, question, sig):
    """Ends a command at a question by a signal or, without one, by closing its
    terminal."""
    stage.run("kura", "lock")  # or the passphrase would be asked for once
    with stage.terminal("sh", "-c", 'stty -g; "$@"; echo "status $?"; stty -g', "sh", *argv) as t:
        modes = r"^[0-9a-f:]{30,}$"
        before = t.expect(modes).group()
        for earlier, answer in answered:
            t.answer(earlier, answer)
        t.expect(re.escape(question))
        pid = int(Path(f"/proc/{t.pid}/task/{t.pid}/children").read_text())
        if sig is None:
            t.hang_up()
            wait_until(lambda: not command_line(pid), "kura ends when its terminal is closed")
            return
        os.kill(pid, sig)
        equal(t.expect(r"^status (\d+)$", 10).group(1) != "0", True, f"{sig.name} makes it fail:")
        after = t.expect(modes).group()
        if sig != signal.SIGKILL:
            equal(after, before, f"after {sig.name} the terminal is")
