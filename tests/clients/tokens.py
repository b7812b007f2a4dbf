"""Access tokens with any claims, signed with the keys of a gateway of the tests: what no launch would give is tried too.

`Signer(state)` reads the key from the gateway's state directory, as whoever runs the gateway could. The clients and users that the
tokens name must be those of its configuration; `served` writes one.
"""
import base64
import contextlib
import dataclasses
import hashlib
import json
import pathlib
import secrets
import tempfile
import time

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import gateways

ORIGIN = "https://gw.example"
BASE = f"{ORIGIN}/fhir"
# The hash of a password that nobody knows.
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Mz4WoyOJXvPyNmIoUQn0IbFWyMwlDuPHJcyeGkvMKkI"


class Signer:
    """Signs `at+jwt` tokens of the gateway whose state is below `state`."""

    def __init__(self, state: pathlib.Path, origin: str = ORIGIN, base: str = BASE):
        self.origin, self.base = origin, base
        pem = sorted((state / "keys").glob("access-*.pem"))[-1].read_bytes()
        self.key = load_pem_private_key(pem[pem.index(b"-----BEGIN"):], password=None)
        point = self.key.public_key().public_numbers()
        text = lambda number: base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()
        # RFC 7638: the thumbprint over the required members in the order of their names.
        members = json.dumps({"crv": "P-256", "kty": "EC", "x": text(point.x), "y": text(point.y)}, separators=(",", ":"))
        self.kid = base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()

    def sign(self, claims: dict) -> str:
        """A token for five minutes with these claims beside the required ones."""
        now = int(time.time())
        common = {"iss": self.origin, "aud": self.base, "iat": now, "exp": now + 300, "jti": secrets.token_urlsafe(16), "gid": secrets.token_urlsafe(16),
                  "sub": "u1", "client_id": "app", "roles": []}
        return jwt.encode(common | claims, self.key, algorithm="ES256", headers={"typ": "at+jwt", "kid": self.kid})


@dataclasses.dataclass
class Served:
    """A gateway on a loopback port that believes to be `ORIGIN`, and the signer of its tokens."""

    port: int
    signer: Signer
    directory: pathlib.Path


@contextlib.contextmanager
def served(upstream: str, clients: list[str], users: list[str], policies: pathlib.Path | None = None, more: str = "", aliases: list[str] = ()):
    """`firebreak serve` in plain HTTP on loopback in front of `upstream`, as `ORIGIN`, with these clients and users."""
    with tempfile.TemporaryDirectory(prefix="firebreak-signed-") as parent:
        directory, port = pathlib.Path(parent), gateways.free_port()
        text = f'[server]\nlisten = "127.0.0.1:{port}"\norigin = "{ORIGIN}"\ndanger_plain_http = true\ndrain_delay = "0ms"\n'
        text += f"[fhir]\nupstream = {json.dumps(upstream)}\naliases = {json.dumps(list(aliases))}\n{more}\n[state]\ndirectory = \"state\"\n"
        text += f"[policies]\ndirectory = {json.dumps(str(policies))}\n" if policies else ""
        text += "".join(f'[[client]]\nclient_id = "{name}"\nredirect_uris = ["https://{name}.example/cb"]\n' for name in clients)
        text += "".join(f'[[user]]\nusername = "{name}"\npassword_hash = "{HASH}"\n' for name in users if name not in clients)
        (directory / "firebreak.toml").write_text(text)
        with open(directory / "log", "w") as log, gateways.running([gateways.BINARY, "serve", "--config", str(directory / "firebreak.toml")], cwd=parent, stderr=log) as process:
            gateways.drain(process)
            try:
                gateways.await_port(process, port)
                yield Served(port, Signer(directory / "state"), directory)
            except BaseException:
                print((directory / "log").read_text()[-4000:])
                raise
