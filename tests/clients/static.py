#!/usr/bin/env python3
"""The release binary is static: it runs in a root directory that holds nothing else, and finds its upstream by name there.

What an image on nothing has: the binary, the directory that `init` writes, and the two files that a container runtime puts in,
/etc/hosts and /etc/resolv.conf, each only where a test needs it. No library, no resolver module, no authorities, no /proc.
Runs in network, mount and user namespaces of its own, where nothing is reachable but what it starts itself; `hospital.test` is
told by a small DNS server on 127.0.0.1:53.
"""
import contextlib
import fcntl
import http.server
import json
import os
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.parse

import gateways
import launch
from named import Tests, expect

REDIRECT = "http://127.0.0.1:9/callback"
PATIENT = {"resourceType": "Patient", "id": "p1", "birthDate": "1970-01-01"}
CAPABILITIES = {"resourceType": "CapabilityStatement", "status": "active", "kind": "instance", "fhirVersion": "4.0.1", "format": ["json"],
                "rest": [{"mode": "server", "resource": [{"type": "Patient", "interaction": [{"code": "read"}, {"code": "search-type"}]}]}]}


class Upstream(http.server.BaseHTTPRequestHandler):
    """A FHIR server with one patient, who is found by `_id`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.answer({"/fhir/metadata": CAPABILITIES, "/fhir/Patient/p1": PATIENT}.get(path) or self.search(path, query))

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(self.search(self.path.removesuffix("/_search"), form))

    @staticmethod
    def search(path: str, query: str) -> dict:
        wanted = urllib.parse.parse_qs(query).get("_id", [PATIENT["id"]])
        found = [{"resource": PATIENT}] if path == "/fhir/Patient" and PATIENT["id"] in wanted[0].split(",") else []
        return {"resourceType": "Bundle", "type": "searchset", "entry": found}

    def answer(self, resource: dict):
        body = json.dumps(resource).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def upstream(certificate: pathlib.Path | None = None):
    """The upstream on a port of its own; with TLS when a directory with `tls.crt` and `tls.key` is given."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Names(threading.Thread):
    """A DNS server (RFC 1035) that knows the address of `hospital.test` and of nothing else."""

    def __init__(self):
        super().__init__(daemon=True)
        self.asked: set[str] = set()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        self.start()

    def run(self):
        while True:
            query, sender = self.socket.recvfrom(512)
            self.socket.sendto(self.answer(query), sender)

    def answer(self, query: bytes) -> bytes:
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1:at + 1 + length].decode().lower())
            at += 1 + length
        kind = struct.unpack("!H", query[at + 1:at + 3])[0]
        name, question = ".".join(labels), query[12:at + 5]
        self.asked.add(name)
        known = name == "hospital.test"
        # A record of type A: a pointer to the name, class IN, 60 s, four octets. There is no address of version 6.
        record = struct.pack("!HHHIH4B", 0xC00C, 1, 1, 60, 4, 127, 0, 0, 1) if known and kind == 1 else b""
        head = query[:2] + struct.pack("!HHHHH", 0x8580 | (0 if known else 3), 1, 1 if record else 0, 0, 0)
        return head + question + record


class Root:
    """A root directory with the binary and, when asked for, files of /etc."""

    def __init__(self, parent: str, **etc: str):
        self.path = pathlib.Path(tempfile.mkdtemp(dir=parent))
        shutil.copy2(gateways.BINARY, self.path / "firebreak")
        for name, text in etc.items():
            (self.path / "etc").mkdir(exist_ok=True)
            (self.path / "etc" / name.replace("_", ".")).write_text(text)
        self.environment = {"PATH": "/", "FIREBREAK_LOG": "warn"}

    def enter(self) -> None:
        os.chroot(self.path)
        os.chdir("/")

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["/firebreak", *arguments], preexec_fn=self.enter, env=self.environment, capture_output=True, text=True, timeout=60)

    def initialise(self, url: str) -> tuple[dict, int]:
        port = gateways.free_port()
        told = gateways.initialise(url, pathlib.Path("/gateway"), port, REDIRECT, "/firebreak", preexec_fn=self.enter, env=self.environment)
        return told, port

    def inside(self, path: str) -> str:
        return str(self.path / path.lstrip("/"))

    @contextlib.contextmanager
    def served(self, port: int):
        command = ["/firebreak", "serve", "--config", "/gateway/firebreak.toml"]
        # gateways.running sets the environment of all that it starts.
        with gateways.running(command, preexec_fn=self.enter, stderr=subprocess.STDOUT) as process:
            gateways.drain(process)
            gateways.await_port(process, port)
            yield


def serves_the_patient_of(root: Root, url: str) -> None:
    """`init`, `check` and `serve` in this root, and a patient who reads their own record through TLS."""
    import requests

    told, port = root.initialise(url)
    checked = root.run("check", "--config", "/gateway/firebreak.toml")
    expect(checked.returncode == 0 and "upstream: " in checked.stdout, f"check ended with {checked.returncode}: {checked.stdout} {checked.stderr}")
    ca_file = root.inside(told["ca_file"])
    login = next(l for l in told["logins"] if l["username"] == "patient")
    app = launch.App(told["apps"][0]["client_id"], REDIRECT, "launch/patient patient/*.rs openid fhirUser")
    with root.served(port):
        token = launch.standalone(told["fhir_base"], ca_file, app, launch.Login(login["username"], login["password"], "p1"))
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        answer = requests.get(f"{told['fhir_base']}/Patient/p1", headers=headers, verify=ca_file, timeout=30)
        expect(answer.status_code == 200 and answer.json()["birthDate"] == PATIENT["birthDate"], f"{answer.status_code} {answer.text[:300]}")


def refuses(root: Root, url: str, *said: str) -> None:
    """`init` fails with words, not with a panic or a signal."""
    done = root.run("init", "--upstream", url, "--directory", "/gateway")
    expect(done.returncode == 1, f"init ended with {done.returncode}: {done.stdout} {done.stderr}")
    expect(all(part in done.stderr for part in said) and "panicked" not in done.stderr, f"expected {said}: {done.stderr}")
    expect(not pathlib.Path(root.inside("gateway/firebreak.toml")).exists(), "a configuration was written all the same")


def loopback_up() -> None:
    """SIOCSIFFLAGS: a new network namespace has its loopback down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))


def main() -> int:
    tests = Tests("static")
    loopback_up()
    names = Names()
    resolver = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
    with tempfile.TemporaryDirectory(prefix="firebreak-static-") as parent, upstream() as port:

        def nothing_is_loaded_at_run_time():
            header = subprocess.run(["readelf", "--dynamic", "--program-headers", "--wide", gateways.BINARY], capture_output=True, text=True, check=True, timeout=60).stdout
            expect("NEEDED" not in header and "INTERP" not in header, f"not static: {header[:2000]}")

        def it_runs_in_an_empty_root():
            serves_the_patient_of(Root(parent), f"http://127.0.0.1:{port}/fhir")

        def an_upstream_is_found_by_its_name_in_the_hosts_file():
            serves_the_patient_of(Root(parent, hosts="127.0.0.1 ward.internal\n"), f"http://ward.internal:{port}/fhir")
            expect("ward.internal" not in names.asked, "DNS was asked for a name that the file tells")

        def an_upstream_is_found_by_a_name_that_only_dns_knows():
            serves_the_patient_of(Root(parent, resolv_conf=resolver), f"http://hospital.test:{port}/fhir")
            expect("hospital.test" in names.asked, f"DNS was not asked: {names.asked}")

        def a_name_that_does_not_exist_is_told_so():
            refuses(Root(parent, resolv_conf=resolver), f"http://nowhere.test:{port}/fhir", "`http://nowhere.test", "cannot be reached", "Name or service not known")

        def an_https_upstream_is_checked_against_its_own_authority():
            certificate = pathlib.Path(__file__).resolve().parents[2] / "certs"
            with upstream(certificate / "server") as secure:
                root = Root(parent, hosts="127.0.0.1 localhost\n")
                url = f"https://localhost:{secure}/fhir"
                shutil.copy2(certificate / "ca.crt", root.path / "ca.crt")
                done = root.run("init", "--upstream", url, "--directory", "/gateway", "--upstream-ca", "/ca.crt")
                expect(done.returncode == 0, f"init ended with {done.returncode}: {done.stderr}")

        def an_https_upstream_without_any_authority_is_refused_with_the_fix():
            refuses(Root(parent), f"https://127.0.0.1:{port}/fhir", "certification authorities", "upstream_ca")

        for test in (nothing_is_loaded_at_run_time, it_runs_in_an_empty_root, an_upstream_is_found_by_its_name_in_the_hosts_file,
                     an_upstream_is_found_by_a_name_that_only_dns_knows, a_name_that_does_not_exist_is_told_so,
                     an_https_upstream_is_checked_against_its_own_authority, an_https_upstream_without_any_authority_is_refused_with_the_fix):
            tests.run(test)
    return tests.conclude()


if __name__ == "__main__":
    if "--inside" not in sys.argv:
        command = ["unshare", "--map-root-user", "--net", "--mount", "--fork", "--kill-child", sys.executable, __file__, "--inside"]
        sys.exit(subprocess.run(command, check=False).returncode)
    sys.exit(main())
