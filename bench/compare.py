#!/usr/bin/env python3
"""nginx, HAProxy with a JWT, and Firebreak, side by side: same machine, same upstream, same bodies, one thread each.

Prints for each: requests per second, p50 and p99, CPU microseconds per request of the proxy's processes (user and system
time of the process tree from /proc over the run), and the ratios of the budgets with a mark for each. Nothing is asserted:
the numbers of a shared machine inform, they do not decide. Run it by `bench/compare`, which brings what it needs.
"""
import argparse
import base64
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests/clients"))
CONNECTIONS = 64
READ, SEARCH = "Patient/p1", "Observation?patient=p1&_count=20"
TICK = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Peer:
    """A running proxy: where it listens, its CA, the token it wants, the process whose tree is measured."""

    name: str
    base: str
    pid: int
    token: str | None = None


@dataclasses.dataclass
class Measurement:
    """What wrk and /proc saw in one run."""

    rate: float
    p50: str
    p99: str
    cpu: float
    failed: int


def main() -> int:
    parser = argparse.ArgumentParser(description="compare nginx, HAProxy with a JWT and Firebreak")
    parser.add_argument("--smoke", action="store_true", help="2 s for each run, and no idle connections")
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--without-firebreak", action="store_true", help="only the peers")
    parser.add_argument("--binary", default=str(ROOT / "target/release/firebreak"))
    arguments = parser.parse_args()
    seconds = 2 if arguments.smoke else arguments.seconds
    for tool in ("wrk", "nginx", "haproxy", "openssl"):
        if not shutil.which(tool):
            raise SystemExit(f"`{tool}` is missing")

    with tempfile.TemporaryDirectory(prefix="firebreak-bench-") as name, contextlib.ExitStack() as stack:
        directory = pathlib.Path(name)
        os.chmod(directory, 0o755)
        upstream_port = prepare(directory)
        start(stack, directory, "upstream", ["nginx", "-p", name, "-c", f"{name}/upstream.conf", "-g", "daemon off;"], upstream_port)
        peers = [nginx(stack, directory, upstream_port), haproxy(stack, directory, upstream_port)]
        table: dict[tuple[str, str], Measurement] = {}
        print(f"{CONNECTIONS} connections, TLS 1.3 keep-alive, {seconds} s a run, one thread a proxy, {os.cpu_count()} processors, "
              f"load {os.getloadavg()[0]:.1f}; Patient {size(directory, 'patient.json')} bytes, Bundle of 20 {size(directory, 'bundle.json')} bytes", flush=True)
        print(f"{'proxy':<28}{'work':<8}{'req/s':>9}{'p50':>10}{'p99':>10}{'CPU µs/req':>12}{'failed':>8}", flush=True)
        if not arguments.without_firebreak:
            import firebreak_peer

            for audit in (False, True):
                peers.append(firebreak_peer.start(stack, directory, upstream_port, arguments.binary, audit, sys.modules[__name__]))
        for peer in peers:
            for work, target in (("read", READ), ("search", SEARCH)):
                table[peer.name, work] = measure(peer, target, seconds)
                row(peer.name, work, table[peer.name, work])
        if not arguments.without_firebreak:
            import firebreak_peer

            firebreak_peer.budgets(table, peers, directory, arguments, sys.modules[__name__])
    return 0


def prepare(directory: pathlib.Path) -> int:
    """Bodies, certificates, keys of the peers; gives the upstream's port."""
    bodies = directory / "bodies"
    bodies.mkdir()
    write_bodies(bodies)
    openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "server.key")
    openssl(directory, "req", "-x509", "-new", "-key", "server.key", "-sha256", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", "server.pem")
    (directory / "haproxy.pem").write_text((directory / "server.pem").read_text() + (directory / "server.key").read_text())
    openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "jwt.key")
    openssl(directory, "ec", "-in", "jwt.key", "-pubout", "-out", "jwt.pub")
    port = free_port()
    render("upstream.conf", directory, UPSTREAM_PORT=port)
    return port


def nginx(stack, directory, upstream_port) -> Peer:
    port = free_port()
    render("nginx.conf", directory, PORT=port, UPSTREAM_PORT=upstream_port)
    pid = start(stack, directory, "nginx", ["nginx", "-p", str(directory), "-c", f"{directory}/nginx.conf", "-g", "daemon off;"], port)
    return Peer("nginx, no authorization", f"https://localhost:{port}/fhir", pid)


def haproxy(stack, directory, upstream_port) -> Peer:
    port = free_port()
    render("haproxy.cfg", directory, PORT=port, UPSTREAM_PORT=upstream_port)
    pid = start(stack, directory, "haproxy", ["haproxy", "-db", "-f", f"{directory}/haproxy.cfg"], port)
    peer = Peer("HAProxy, ES256 JWT", f"https://localhost:{port}/fhir", pid, es256(directory, "patient/*.rs launch/patient openid fhirUser"))
    refused = status(peer.base, READ, peer.token[:-6] + "AAAAAA")
    if refused != 401:
        raise SystemExit(f"HAProxy answered {refused} to a forged token")
    return peer


def measure(peer: Peer, target: str, seconds: int) -> Measurement:
    """One run of wrk after a short one that warms, with the CPU time that the peer's processes spent on it."""
    code = status(peer.base, target, peer.token)
    if code != 200:
        raise SystemExit(f"{peer.name} answered {code} to `{target}`")
    wrk(peer, target, 1)
    before = cpu_seconds(peer.pid)
    output = wrk(peer, target, seconds)
    spent = cpu_seconds(peer.pid) - before
    count = int(re.search(r"(\d+) requests in", output)[1])
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    failed = int(refused[1]) if refused else 0
    failed += sum(int(n) for n in broken.groups()) if broken else 0
    return Measurement(float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]), re.search(r"50%\s+(\S+)", output)[1],
                       re.search(r"99%\s+(\S+)", output)[1], 1e6 * spent / max(count, 1), failed)


def wrk(peer: Peer, target: str, seconds: int) -> str:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    if peer.token:
        command += ["-H", f"Authorization: Bearer {peer.token}"]
    return subprocess.run([*command, f"{peer.base}/{target}"], check=True, capture_output=True, text=True, timeout=seconds + 30).stdout


def row(name: str, work: str, m: Measurement) -> None:
    print(f"{name:<28}{work:<8}{m.rate:>9.0f}{m.p50:>10}{m.p99:>10}{m.cpu:>12.1f}{m.failed:>8}", flush=True)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children, living ones by /proc/PID/stat."""
    total = 0.0
    for process in tree(pid):
        with contextlib.suppress(FileNotFoundError):
            fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICK
    return total


def tree(pid: int) -> list[int]:
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def resident_mib(pid: int) -> float:
    return sum(int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{p}/status").read_text())[1]) for p in tree(pid)) / 1024


def start(stack, directory, name: str, command: list[str], port: int) -> int:
    """Starts a process that is ended with the stack, and returns its id once its port accepts."""
    log = open(directory / f"{name}.out", "w")
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)

    def end():
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process.pid
        time.sleep(0.002)
    raise SystemExit(f"{name} did not listen on {port}: {(directory / f'{name}.out').read_text()[-2000:]}")


def status(base: str, target: str, token: str | None) -> int:
    parts = re.match(r"https://([^:/]+):(\d+)(/.*)", f"{base}/{target}")
    connection = http.client.HTTPSConnection(parts[1], int(parts[2]), context=ssl._create_unverified_context(), timeout=10)
    connection.request("GET", parts[3], headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def es256(directory: pathlib.Path, scope: str) -> str:
    """An access token of the same size and kind as the gateway's, signed by openssl."""
    now = int(time.time())
    claims = {"iss": "https://localhost:8443", "sub": "clinician", "aud": "https://localhost:8443/fhir", "client_id": "bench", "iat": now, "exp": now + 3600,
              "jti": "b6f4a1d2-3c55-4a0e-9d51-1f2e3a4b5c6d", "scope": scope, "patient": "p1", "grant": "0123456789abcdef0123456789abcdef"}
    signed = ".".join(b64(json.dumps(part, separators=(",", ":")).encode()) for part in ({"alg": "ES256", "typ": "at+jwt", "kid": "1"}, claims))
    der = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(directory / "jwt.key")], input=signed.encode(), capture_output=True, check=True).stdout
    r_length = der[3]
    r, s = der[4:4 + r_length], der[6 + r_length:]
    return f"{signed}.{b64(int.from_bytes(r, 'big').to_bytes(32, 'big') + int.from_bytes(s, 'big').to_bytes(32, 'big'))}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def write_bodies(bodies: pathlib.Path) -> None:
    patient = {"resourceType": "Patient", "id": "p1", "meta": {"versionId": "1", "lastUpdated": "2026-11-01T08:00:00Z"}, "active": True,
               "identifier": [{"system": "urn:example:mrn", "value": "77"}], "name": [{"use": "official", "family": "Larsen", "given": ["Nora", "Ida"]}],
               "gender": "female", "birthDate": "1961-04-09", "telecom": [{"system": "phone", "value": "555-0100", "use": "home"}],
               "address": [{"use": "home", "line": ["1 Hill Road"], "city": "Oslo", "postalCode": "0150", "country": "NO"}]}
    grow(patient, 1024)
    observations = []
    for n in range(20):
        observation = {"resourceType": "Observation", "id": f"o{n}", "meta": {"versionId": "1", "lastUpdated": "2026-11-01T08:00:00Z"}, "status": "final",
                       "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
                       "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}]}, "subject": {"reference": "Patient/p1"},
                       "encounter": {"reference": "Encounter/e1"}, "effectiveDateTime": f"2026-03-{n + 1:02}T08:00:00Z",
                       "valueQuantity": {"value": 60 + n, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"}}
        observations.append(grow(observation, 930))
    write = lambda name, value: (bodies / name).write_text(json.dumps(value, separators=(",", ":")))  # noqa: E731
    write("patient.json", patient)
    write("bundle.json", searchset(observations, "Observation?subject=Patient/p1&_count=20"))
    write("patients.json", searchset([patient], "Patient"))
    write("practitioners.json", searchset([{"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Berg"}]}], "Practitioner"))
    write("empty.json", {"resourceType": "Bundle", "type": "searchset", "total": 0})
    write("metadata.json", {"resourceType": "CapabilityStatement", "status": "active", "date": "2026-11-01", "kind": "instance", "fhirVersion": "4.0.1", "format": ["json"],
                            "rest": [{"mode": "server", "resource": [
                                {"type": kind, "versioning": "versioned", "interaction": [{"code": c} for c in ("read", "vread", "search-type")],
                                 "searchParam": [{"name": p, "type": t} for p, t in (("_id", "token"), ("patient", "reference"), ("subject", "reference"), ("name", "string"))]}
                                for kind in ("Patient", "Observation")]}]})


def grow(resource: dict, wanted: int) -> dict:
    """Fills the narrative up to a size in bytes."""
    resource["text"] = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"></div>'}
    missing = wanted - len(json.dumps(resource, separators=(",", ":")))
    resource["text"]["div"] = f'<div xmlns="http://www.w3.org/1999/xhtml">{("steady pulse at rest, " * 60)[:max(missing, 0)]}</div>'
    return resource


def searchset(resources: list[dict], query: str) -> dict:
    base = "http://127.0.0.1:@UPSTREAM_PORT@/fhir"
    return {"resourceType": "Bundle", "id": "b1", "type": "searchset", "total": len(resources), "link": [{"relation": "self", "url": f"{base}/{query}"}],
            "entry": [{"fullUrl": f"{base}/{r['resourceType']}/{r['id']}", "resource": r, "search": {"mode": "match"}} for r in resources]}


def render(name: str, directory: pathlib.Path, **values) -> None:
    """Fills a template of this directory, and the upstream's port in the bodies when it is known."""
    text = (HERE / f"{name}.in").read_text()
    for key, value in {"DIR": directory, **values}.items():
        text = text.replace(f"@{key}@", str(value))
    (directory / name).write_text(text)
    if name == "upstream.conf":
        for body in (directory / "bodies").iterdir():
            body.write_text(body.read_text().replace("@UPSTREAM_PORT@", str(values["UPSTREAM_PORT"])))


def openssl(directory: pathlib.Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def size(directory: pathlib.Path, name: str) -> int:
    return (directory / "bodies" / name).stat().st_size


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
