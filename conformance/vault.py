"""R1 to R3: what a person does on the first days, word for word."""

import re

from stage import CONFIG, ROLE, SERIAL, Stage, check, equal, keyring_works, lacks, matches, skip

AWS_S3_LS = ["kura", "exec", "oppara-dev", "--", "aws", "s3", "ls"]


def checks(work, program, tools):
    with Stage(work, program) as s:
        with check(f"{program} --version prints the version"):
            matches(s.run("kura", "--version"), r"\A\S+\n\Z")

        with check(f"{program} add default asks for the access key ID, then for the secret key, and stores them"):
            mfa = [("Enter MFA Device ARN (If MFA is not enabled, leave this blank): ", "")]
            shown = s.run("kura", "add", "default", answers=s.for_key() + mfa + s.for_new_store())
            matches(shown, r'^Added credentials to profile "default" in vault$')
            matches(shown, f"^Enter Access Key ID: {s.key_id}$")
            matches(shown, r"^Enter Secret Access Key: \*+$")
            lacks(shown, s.secret, s.passphrase)

        with check(f"{program} list shows the table with the row default"):
            matches(s.run("kura", "list"), r"\AProfile +Credentials +Sessions *\n=+ +=+ +=+ *\ndefault +default +- *\n\Z")

        s.write_config(CONFIG)
        if not keyring_works():
            skip(f"that {program} is unlocked once and not once a command", "this kernel has no persistent keyring")
            s.env["KURA_FILE_PASSPHRASE"] = s.passphrase
        with check(f"{program} exec oppara-dev -- aws s3 ls asks for the passphrase and for the code, which is visible, and runs with the role"):
            tools.need("aws")
            s.run("kura", "lock")
            questions = s.for_code() if "KURA_FILE_PASSPHRASE" in s.env else s.for_store() + s.for_code()
            shown = s.run(*AWS_S3_LS, answers=questions)
            matches(shown, f"^Enter MFA code for {SERIAL}: " + r"\d{6}$")
            matches(shown, r"^[-0-9]+ [0-9:]+ example-of-developers$")
            lacks(shown, s.passphrase)
            equal(s.sts_calls(), ["GetCallerIdentity", "GetSessionToken", "AssumeRole"])

        if "aws" not in tools.versions:
            s.begin_session()

        with check(f"{program} list then shows the sessions and the time they have left"):
            shown = s.run("kura", "list")
            matches(shown, r"^default +default +sts\.GetSessionToken:7h59m\d+s *$")
            matches(shown, r"^oppara-dev +- +sts\.AssumeRole:59m\d+s *$")

        with check(f"{program} exec asks nothing the second time, and does not call STS"):
            tools.need("aws")
            before = s.sts_calls()
            equal(re.sub(r"^[-0-9]+ [0-9:]+ ", "", s.run(*AWS_S3_LS), flags=re.MULTILINE), "example-of-developers\nexample-of-everyone\n")
            equal(s.sts_calls(), before)

        with check(f"two roles of one source profile and MFA device ask {program} for one code"):
            s.run("kura", "clear")
            s.write_config(CONFIG + "".join(f"""
[profile {name}]
source_profile = default
mfa_serial = {SERIAL}
role_arn = {ROLE}/{name}
""" for name in ("role1", "role2")))
            before = len(s.sts_calls())
            s.run("kura", "exec", "role1", "--", "true", answers=s.for_code())
            equal(s.run("kura", "exec", "role2", "--", "true"), "")
            equal(s.sts_calls()[before:], ["GetSessionToken", "AssumeRole", "AssumeRole"])

        with check(f"{program} exec default, which has neither a role nor a device, only calls GetSessionToken"):
            before = len(s.sts_calls())
            equal(s.run("kura", "exec", "default", "--", "true"), "")
            equal(s.sts_calls()[before:], ["GetSessionToken"])

        with check(f"{program} has written no file of its own that it needs: the profiles are those of ~/.aws/config"):
            equal([str(p) for p in (s.home / ".config").rglob("*")], [])
            equal((s.home / ".aws/credentials").exists(), False)
