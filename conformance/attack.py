"""What a program tries that is to get nothing from a server of kura's. It knows
the address, and where a request is to be refused for something else, it brings
what would let it in."""

import socket
import struct
import time
from urllib.parse import urlsplit

from stage import Unexpected

MARK = "repeat-me-not"  # in what kura must not repeat
NO_ANSWER = 0


class Victim:
    """A server of kura's, as the environment of its command says where it is."""

    def __init__(self, env):
        self.container = "AWS_CONTAINER_CREDENTIALS_FULL_URI" in env
        self.url = urlsplit(env["AWS_CONTAINER_CREDENTIALS_FULL_URI" if self.container else "AWS_EC2_METADATA_SERVICE_ENDPOINT"])
        self.host = self.url.netloc
        self.path = self.url.path or "/"
        if self.container:
            self.token = env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
            self.proof = f"Authorization: {self.token}"
        else:
            self.path = "/latest/meta-data/iam/security-credentials/local-credentials"
            self.token = self.session_token(21600)
            self.proof = f"X-aws-ec2-metadata-token: {self.token}"

    def connect(self):
        return socket.create_connection((self.url.hostname, self.url.port or 80), timeout=5)

    def send(self, data):
        """Sends a request, and returns the status of the answer and all of it."""
        c = self.connect()
        try:
            c.sendall(data)
            if b"\r\n\r\n" not in data:
                c.shutdown(socket.SHUT_WR)  # or kura waits for the rest
        except OSError:
            pass  # it may be closed before all is sent
        answer = read(c)
        line = answer.split(b"\r\n")[0].split()
        return (int(line[1]) if len(line) > 1 and line[0].startswith(b"HTTP/") else NO_ANSWER), answer

    def get(self, *headers, path=None, host=None, method="GET", body=b""):
        """A request that gets credentials, unless what is given changes that."""
        lines = [f"{method} {path or self.path} HTTP/1.1", f"Host: {host or self.host}", *(headers or [self.proof]), "Connection: close", "", ""]
        return "\r\n".join(lines).encode() + body

    def put(self, *headers, path="/latest/api/token"):
        return self.get(*(headers or ["X-aws-ec2-metadata-token-ttl-seconds: 21600"]), path=path, method="PUT")

    def session_token(self, seconds):
        status, answer = self.send(self.put(f"X-aws-ec2-metadata-token-ttl-seconds: {seconds}"))
        if status != 200:
            raise Unexpected(f"saw {answer!r} where there was to be a session token")
        return answer.split(b"\r\n\r\n", 1)[1].decode()

    def fetch(self):
        """Gets credentials as it is meant, and returns how long that took."""
        began = time.monotonic()
        if not self.container:
            self.session_token(60)
        status, answer = self.send(self.get())
        if status != 200 or b"SecretAccessKey" not in answer:
            raise Unexpected(f"a good request got status {status}")
        return time.monotonic() - began

    def storm(self, n):
        """Sends n requests, more than kura has room for, before it reads any answer,
        and returns the answers."""
        conns = []
        for _ in range(n):
            conns.append(self.connect())
            conns[-1].sendall(self.get())
        return [read(c) for c in conns]


def read(c):
    """All that comes before the connection ends."""
    answer = b""
    with c:
        try:
            while part := c.recv(65536):
                answer += part
        except OSError:
            pass  # it is reset, or nothing comes
    return answer


def attacks(v, other_token):
    """What is tried, as (what it is, the statuses that it may get, what kura says
    of it, the requests). The last is what another kura has given to somebody."""
    port = f":{v.url.port}" if v.url.port else ""
    form = "application/x-www-form-urlencoded"
    for_all = [
        ("a foreign Host", {403, 400}, "the Host is not that of this server", [v.get(host=host) for host in (
            f"{MARK}.example", f"{MARK}.example{port}", f"{v.url.hostname}.{MARK}.example{port}", "127.0.0.2" + port, "[::1]" + port,
            f"{MARK}@{v.host}", f"{v.host},{MARK}", f"{v.url.hostname}:1", "0.0.0.0" + port)]),
        ("what only a web page's request has", {403}, "it comes from a web page", [v.get(v.proof, header) for header in (
            f"Origin: http://{MARK}.example", "Origin: null", f"Origin: http://{v.host}",
            "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: same-origin")]),
        ("what a proxy adds", {403}, "it comes through a proxy", [v.get(v.proof, header) for header in (
            "X-Forwarded-For: 127.0.0.1", f"x-forwarded-for: {MARK}", "X-Forwarded-For:", f"Forwarded: for={MARK}")]),
        ("another method", {405, 400}, "the method is not one of the protocol", [v.get(method=method) for method in (
            "POST", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "CONNECT", "get", MARK)]),
        ("a body, or another request in it", {400, 501}, "the request has a body", [
            v.get(v.proof, "Content-Length: 5", body=b"hello"),
            v.get(v.proof, "Content-Length: 900000000", body=b"hello"),
            v.get(v.proof, "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
            v.get(v.proof, f"Content-Type: {form}", f"Content-Length: {len(v.get())}", body=v.get()),
            v.get(v.proof, "Content-Length: 6", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + v.get()),
            v.get(v.proof, "Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + v.get()),
        ]),
        ("a target that is no path", {400}, "the target is not a path", [v.get(path=target) for target in (
            f"http://{v.host}{v.path}", f"http://{MARK}.example{v.path}", f"HTTP://{v.host}", "*")]),
        ("what is not HTTP/1.1", {400, 401, 403, 405, 431, 505, NO_ANSWER}, "", [
            b"GET /\r\n", b"\r\n\r\n", b"\0" * 1000, bytes(range(256)) * 8,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
            v.get().replace(b"HTTP/1.1", b"HTTP/9.9"),
            v.get().replace(b"Host", b"X"),
            v.get(f"Host: {v.host}", v.proof),
            v.get(v.proof, f"X {MARK}: 1"), v.get(v.proof, "X: \0"),
            v.get(v.proof, f" folded: {MARK}"),
        ]),
        ("more than 8 KiB of header", {431, 414, NO_ANSWER}, "", [
            v.get(v.proof, "X: " + MARK * 1000),
            v.get(v.proof, *[f"X-{n}: {MARK}" for n in range(1000)]),
            v.get(path="/" + MARK * 1000),
            v.get(v.proof, "X: " + "x" * (1 << 22)),
        ]),
    ]
    if v.container:
        return for_all + [
            ("no token, a wrong one, or one that is nearly right", {403}, "the Authorization header is not the token of this server", [v.get(*headers) for headers in (
                ["X: 1"], ["Authorization:"], [f"Authorization: {MARK}"], [f"Authorization: {v.token[:-1]}"], [f"Authorization: {v.token}="],
                [f"Authorization: Bearer {v.token}"], [v.proof, v.proof], [f"Authorization: {other_token}"], [f"Authorization: {v.token.swapcase()}"],
                [f"X-Auth: {v.token}"], [f"Cookie: {v.proof}"], [f"X-aws-ec2-metadata-token: {v.token}"])]
                + [v.get("X: 1", path=f"/?Authorization={v.token}")]),
            ("a path that may mean two things", {400}, "the path is ambiguous", [v.get(path=path) for path in (
                "//profile/dev", "/./profile/dev", "/%70rofile/dev", "/x/../profile/dev", "/profile", f"/{MARK}%2f..", "/a//b", "/..", "/a\\..\\b")]),
            ("a profile or a role that is not served", {400, 404}, "nothing is served at that path|what follows /role-arn/ is not the ARN of a role", [v.get(path=path) for path in (
                f"/profile/{MARK}", "/profile/", "/profile/..", "/profile/%2e%2e/", "/role-arn/", f"/role-arn/{MARK}", "/role-arn/../",
                "/role-arn/arn:aws:iam::111122223333:user/oppara", "/role-arn/arn:aws:iam::111122223333:role/%0d%0aX:1")]),
        ]
    altered = v.token[:20] + v.token[20].swapcase() + v.token[21:] if v.token[20].isalpha() else v.token[:20] + "A" + v.token[21:]
    return for_all + [
        ("no session token, as in version 1, or one that is not good", {401}, "there is no session token that is good", [v.get(*headers) for headers in (
            ["X: 1"], ["X-aws-ec2-metadata-token:"], [f"X-aws-ec2-metadata-token: {MARK}"], [f"X-aws-ec2-metadata-token: {altered}"],
            [f"X-aws-ec2-metadata-token: {other_token}"], [v.proof, v.proof], [f"Authorization: {v.token}"])]
            + [v.get("X: 1", path=path) for path in ("/latest/meta-data/iam/security-credentials/", f"/latest/../{MARK}", "/")]),
        ("a session token for no time or too long", {400}, "", [v.put(*headers) for headers in (
            ["X: 1"], *[[f"X-aws-ec2-metadata-token-ttl-seconds: {ttl}"] for ttl in ("0", "21601", "-1", "1e3", "99999999999999999999", MARK, "")])]),
        ("a session token over a proxy, or for a web page", {403}, "it comes", [v.put("X-aws-ec2-metadata-token-ttl-seconds: 60", header) for header in (
            "X-Forwarded-For: 127.0.0.1", "Origin: null", "Sec-Fetch-Site: cross-site")]),
        ("PUT to another path", {405}, "the method is not the one of that path", [
            v.put(path="/latest/meta-data/iam/security-credentials/"), v.put(path="/latest/api/token/../token"), v.get(path="/latest/api/token")]),
        ("a path with detours", {404}, "", [v.get(path=path) for path in (
            "/latest/meta-data/../meta-data/iam/security-credentials/local-credentials", "/latest/./meta-data/iam/security-credentials/local-credentials",
            "/latest/meta-data/iam/security%2dcredentials/local-credentials", "/LATEST/meta-data/iam/security-credentials/local-credentials",
            "/2021-07-15/meta-data/iam/security-credentials/local-credentials", f"/latest/meta-data/iam/security-credentials/{MARK}")]),
    ]


def try_all(v, groups, secrets):
    """Sends the requests: one of each group, then another of each, since kura
    tells of ten at once and then of one in a second. Returns what has gone wrong,
    by group."""
    wrong = {what: [] for what, *_ in groups}
    for n in range(max(len(requests) for *_, requests in groups)):
        for what, statuses, _, requests in groups:
            if n >= len(requests):
                continue
            status, answer = v.send(requests[n])
            if status not in statuses:
                wrong[what].append(f"{requests[n][:200]!r} got status {status}, want one of {sorted(statuses)}")
            if any(secret.encode() in answer for secret in secrets):
                wrong[what].append(f"{requests[n][:200]!r} got a secret")
    return wrong


def crowd(v, seconds):
    """Keeps more connections open than kura has room for, some silent, some with a
    header that does not end, for longer than either may take. Returns how long the
    slowest good request took meanwhile."""
    silent, slow, slowest = [v.connect() for _ in range(250)], [v.connect() for _ in range(250)], 0
    for c in slow:
        c.sendall(f"GET {v.path} HTTP/1.1\r\nHost: {v.host}\r\nX: ".encode())
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for c in slow:
            try:
                c.send(b"x")
            except OSError:
                pass  # it has been closed
        slowest = max(slowest, v.fetch())
        time.sleep(0.2)
    open_still = 0
    for c in silent + slow:
        c.setblocking(False)
        try:
            open_still += c.recv(1) != b""
        except BlockingIOError:
            open_still += 1
        except ConnectionError:
            pass
        c.close()
    if open_still:
        raise Unexpected(f"{open_still} of {len(silent + slow)} connections are still open after {seconds} s")
    return slowest


def break_off(v):
    """Ends requests in the middle, in two ways."""
    for n in range(100):
        c = v.connect()
        c.sendall(v.get()[:n])
        if n % 2:
            c.shutdown(socket.SHUT_WR)
        else:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        c.close()
