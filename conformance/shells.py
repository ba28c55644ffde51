"""Completion in the real shells, the function that switch needs there, and the
list of profiles to choose from."""

import shutil
import subprocess
import time

from stage import Skipped, Stage, Unexpected, check, equal, lacks, matches
from terminal import Shell

CONFIG = """\
[default]
region = ap-northeast-1
[profile prod/admin]
[profile "two words"]
[profile team:dev]
[profile "本番 環境"]
[profile it@4.2]
"""

# How a shell is started, and what makes it ready.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(kura completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "source <(kura completion zsh)"),
    "fish": (["fish", "--no-config", "-i"], "kura completion fish | source"),
    "pwsh": (["pwsh", "-NoLogo", "-NoProfile"], "kura completion powershell | Out-String | Invoke-Expression"),
}

# What is typed before Tab, and the profile that it is to become. Quotes that are
# open are closed by the shell or the person.
NAMES = [
    ("pr", "prod/admin"),
    ("prod/a", "prod/admin"),
    ("tw", "two words"),
    ("two\\ w", "two words"),
    ("team", "team:dev"),
    ("team:d", "team:dev"),
    ("本", "本番 環境"),
    ("it", "it@4.2"),
    ("'tw", "two words"),
    ('"team:', "team:dev"),
    ("--region=eu-west-1 'two w", "two words"),
]


# Prints how many microseconds each of some Tabs took.
TIMED = """
source <(kura completion bash)
COMP_LINE="kura exec p99" COMP_POINT=13
for i in {1..20}; do
	begin=${EPOCHREALTIME/./}
	COMPREPLY=()
	_kura kura p99 exec
	echo $((${EPOCHREALTIME/./} - begin))
done
test ${#COMPREPLY[@]} = 11
"""


class Line:
    """An interactive shell of which the screen is not read, but what commands
    of kura say that were typed there."""

    def __init__(self, stage, name, setup=(), program="kura"):
        argv, source = SHELLS[name]
        if not shutil.which(argv[0]):
            raise Skipped(f"there is no {name}")
        self.terminal = stage.terminal(*argv, env={"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "xterm"})
        self.out = stage.home / "out"
        self.name = name
        for line in (*setup, source.replace("kura", program)):
            self.run(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.terminal.__exit__()

    def run(self, line, end=""):
        """Types a line, with keys in it, and returns when it was carried out."""
        done = self.out.with_suffix(".done")
        done.unlink(missing_ok=True)
        self.terminal.type(line)
        if "\t" in line:
            self.settle()
        self.terminal.type(f"{end}\r")
        self.settle()
        self.terminal.type(f"echo x >{done}\r")
        limit = time.monotonic() + 15
        while not done.exists():
            self.terminal.read(0.02)
            if time.monotonic() > limit:
                raise Unexpected(f"{line!r} does not come to an end; the screen shows {self.terminal.text[-500:]!r}")

    def settle(self):
        """Waits until nothing more is shown for a while: a shell says in no
        other way that it has completed something."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            before = len(self.terminal.text)
            until = time.monotonic() + 0.25
            while time.monotonic() < until:
                self.terminal.read(until - time.monotonic())
            if len(self.terminal.text) == before:
                return

    def said(self, line, end=""):
        self.out.unlink(missing_ok=True)
        self.run(line, f"{end} >{self.out} 2>&1")
        return self.out.read_text() if self.out.exists() else self.terminal.text[-300:]


def profile(text):
    """What kura says of a profile that has no key."""
    return f'profile "{text}" has no access key'


def checks(work):
    with Stage(work) as s:
        s.write_config(CONFIG)
        s.env["KURA_FILE_PASSPHRASE"] = s.passphrase
        for name in SHELLS:
            names(s, name)
            others(s, name)
        choosing(s)
        with check("one Tab takes bash and kura no more than 15 ms with 1000 profiles"):
            s.write_config(CONFIG + "".join(f"[profile p{n}]\nregion = eu-west-1\n" for n in range(1000)))
            best = min(float(n) for n in subprocess.check_output(["bash", "-c", TIMED], env=s.env, text=True).split())
            if best > 15000:
                raise Unexpected(f"{best / 1000:.1f} ms")


def names(s, name):
    with check(f"{name} completes names of profiles with spaces, slashes, colons and Japanese"):
        with Line(s, name) as line:
            wrong = []
            for typed, want in NAMES:
                if name == "pwsh" and typed.startswith(("'", '"', "two")):
                    continue
                got = line.said(f"kura export --no-session {typed}\t")
                if profile(want) not in got:
                    wrong.append(f"{typed!r} became {got!r}")
            if wrong:
                raise Unexpected("; ".join(wrong))


def others(s, name):
    with check(f"{name} completes commands, flags and their values"):
        with Line(s, name) as line:
            matches(line.said("kura vers\t"), "^(unknown|v|[(]devel)")
            matches(line.said("kura list --prof\t"), "^default$")
            matches(line.said("kura export --no-session default --format=fi\t"), profile("default"))
            matches(line.said("kura export --no-session default --format powersh\t"), profile("default"))
            matches(line.said("kura export --no-session default --region eu-north\t"), profile("default"))
    with check(f"{name} completes a link named aws-vault and an alias"):
        if name == "pwsh":
            raise Skipped("not tried")
        aliases = {"fish": ("alias av kura", "alias ke 'kura export --no-session'")}.get(name, ("alias av=kura", "alias ke='kura export --no-session'"))
        with Line(s, name, aliases) as line:
            for command in ("aws-vault export --no-session", "av export --no-session", "ke"):
                matches(line.said(f"{command} prod\t"), profile("prod/admin"))
    with check(f"{name} completes where kura is the function that switch needs"):
        hook = {"fish": "kura init fish | source", "pwsh": "kura init powershell | Out-String | Invoke-Expression"}.get(name, f'eval "$(kura init {name})"')
        with Line(s, name, [hook]) as line:
            matches(line.said("kura export --no-session te\t"), profile("team:dev"))
            said = line.said("kura switch --no-session te\t")
            # Fish does not redirect what a function runs in parentheses.
            matches(line.terminal.text if name == "fish" else said, profile("team:dev"))
    with check(f"{name} completes the command line after exec --"):
        if name == "pwsh":
            raise Skipped("it has no words for that")
        with Line(s, name) as line:
            (s.home / "a long name.txt").write_text("it is read\n")
            matches(line.said("kura exec default -- cat a\\ lo\t"), profile("default"))
            matches(line.said("kura exec default -- realpa\t", " /"), profile("default"))
            for command in ("cat a\\ lo\t", "realpa\t"):
                line.terminal.type(f"kura exec default -- {command}")
                line.terminal.expect("a. long. name.txt" if command.startswith("cat") else "realpath")
                line.terminal.type("\x03")
                line.settle()



def choosing(s):
    with check("the list of profiles fits 40 columns and another size of the window, and Ctrl-C leaves the terminal as before, with 130"):
        with Shell(s) as sh:
            sh.terminal.resize(12, 40)
            before = sh.line("stty -g")
            sh.start("kura export")
            sh.terminal.expect("本番 環境")
            sh.terminal.resize(12, 20)
            sh.terminal.expect("本番 環境")
            sh.terminal.type("zz")
            sh.terminal.expect("nothing matches")
            sh.terminal.type("\x03")
            matches(sh.output(), "kura: canceled$")
            equal(sh.line("echo $?"), "130\n")
            equal(sh.line("stty -g"), before)
            lacks(sh.terminal.text, "\x1b[6n", "\x1b]")  # it asks the terminal nothing
    with check("Ctrl-Z in the list of profiles gives the shell back, and after fg one can be chosen"):
        with Shell(s) as sh:
            before = sh.line("stty -g")
            sh.start("kura export --no-session")
            sh.terminal.expect("本番 環境")
            sh.terminal.type("\x1a")
            matches(sh.output(), "Stopped")
            equal(sh.line("stty -g"), before)
            sh.start("fg")
            sh.terminal.expect("本番 環境")
            sh.terminal.type("two\r")
            matches(sh.output(), profile("two words"))
            equal(sh.line("stty -g"), before)
