#!/usr/bin/env python3
"""What guides ask of servers and what client libraries send is allowed with the right scopes, in front of HAPI FHIR JPA.

`tests/legitimate/cases.json`: each case names in words where the request comes from (guide and section, or library and call),
the scopes that are enough for it, and what it must find. A case is asked with a token of exactly these scopes, by everybody in
`as`: `patient` (the person), `clinician` (launched with the patient), `provider` (a clinician without a launch), `backend`.
Beside them, scripts as tutorials have them, of which only the base URL and the token were changed.

What is not allowed yet says what it waits for (`pending`). It is asked all the same, counted, and a failure when it is allowed: then
the word must go. `CASES=regex` runs those whose line matches. `--upstream URL` takes another FHIR server than HAPI.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys

import gateways
import tokens
import wire
from named import Tests, expect

sys.path.insert(0, str(gateways.ROOT / "tests/hapi"))
import load  # noqa: E402

DIRECTORY = gateways.ROOT / "tests/legitimate"
CLAIMS = {
    "patient": {"patient": "p1", "fhirUser": "Patient/p1", "roles": ["patient"]},
    "clinician": {"patient": "p1", "fhirUser": "Practitioner/prac1", "roles": ["clinician"]},
    "provider": {"fhirUser": "Practitioner/prac1", "roles": ["clinician"]},
    "backend": {"sub": "app", "roles": ["backend"]},
}
HOST = tokens.ORIGIN.removeprefix("https://")
# Nobody's upper bound is told by a case: what is found in more pages is looked for in this many.
PAGES = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upstream", help="base URL of an empty FHIR R4 server; without it HAPI is started")
    parser.add_argument("--without", action="append", default=[], help="a tutorial that asks for what this server does not have; it is named")
    options = parser.parse_args()
    tests = Tests("legitimate")
    cases = json.loads((DIRECTORY / "cases.json").read_text())
    wanted = os.environ.get("CASES")
    with contextlib.ExitStack() as stack:
        upstream = options.upstream or stack.enter_context(gateways.hapi())
        load.load(upstream, load.world("p1", "p2") + json.loads((DIRECTORY / "world.json").read_text()))
        gateway = stack.enter_context(tokens.served(upstream, ["app"], ["u1"]))
        connection = wire.Connection(gateway.port, HOST)
        ran, pending = 0, {}

        def every_request_of_guides_and_clients_is_allowed():
            nonlocal ran
            failures = []
            for case in cases:
                line = f"{case['source']}: {case['request']} with `{case['scope']}`"
                if wanted and not re.search(wanted, line):
                    continue
                for who in case.get("as", ["patient", "clinician"]):
                    why = answered(gateway, connection, case, who)
                    if "pending" in case:
                        pending.setdefault(case["pending"], set()).add(line)
                        failures += [] if why else [f"{line} as {who}: allowed; take `pending` away"]
                    else:
                        ran += 1
                        failures += [f"{line} as {who}: {why}"] if why else []
            expect(not failures, f"{len(failures)} failures:\n" + "\n".join(failures))
            expect(ran > 200 or wanted, f"only {ran} requests were made")

        tests.run(every_request_of_guides_and_clients_is_allowed)
        for script in sorted((DIRECTORY / "tutorials").glob("*.py")):
            if script.stem in options.without:
                print(f"left out: the tutorial {script.stem}")
                continue
            run = lambda script=script: tutorial(gateway, script, pending)
            run.__name__ = f"the_tutorial_{script.stem}_runs_with_nothing_changed_but_base_and_token"
            tests.run(run)
        print(f"    {ran} requests made; pending: {sum(map(len, pending.values()))}")
        for why, lines in sorted(pending.items()):
            print(f"    {len(lines)} until there is: {why}")
            for line in sorted(lines):
                print(f"      {line}")
    return tests.conclude()


def answered(gateway: tokens.Served, connection: wire.Connection, case: dict, who: str) -> str | None:
    """Why it is not as it must be; None when it is."""
    method, target = case["request"].split(" ", 1)
    token = gateway.signer.sign(CLAIMS[who] | {"scope": case["scope"]})
    body = case.get("body")
    body = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    headers = [("Authorization", f"Bearer {token}"), *case.get("headers", {}).items()]
    answer = connection.send(method, f"/fhir/{target}", headers, body)
    if answer.status != case.get("status", 200):
        return f"{answer.status}: {answer.text()[:300]}"
    text = answer.text()
    for has in case.get("has", []):
        if has not in text:
            return f"lacks `{has}`: {text[:300]}"
    if "CANARY" in text and who in ("patient", "clinician"):
        return f"a canary: {text[:300]}"
    missing = set(case.get("finds", []))
    for _ in range(PAGES):
        if not missing:
            return None
        bundle = json.loads(answer.text())
        missing -= {f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in bundle.get("entry", [])}
        link = next((link["url"] for link in bundle.get("link", []) if link["relation"] == "next"), None)
        if link is None:
            break
        answer = connection.send("GET", link.removeprefix(tokens.ORIGIN), headers[:1])
    return f"does not find {sorted(missing)}" if missing else None


def tutorial(gateway: tokens.Served, script: pathlib.Path, pending: dict) -> None:
    """Runs a script; its comments name the token (`# as: provider`, `# scope: …`) and what it waits for (`# pending: …`)."""
    words = dict(re.findall(r"^# (as|scope|pending): (.*)$", script.read_text(), re.MULTILINE))
    token = gateway.signer.sign(CLAIMS[words["as"]] | {"scope": words["scope"]})
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(relay(gateway.port))
        done = subprocess.run([sys.executable, str(script), f"http://127.0.0.1:{port}/fhir", token], capture_output=True, text=True, timeout=120)
    if "pending" in words:
        pending.setdefault(words["pending"], set()).add(f"tutorial {script.name}")
        expect(done.returncode, f"{script.name} runs: take `pending` away")
        return
    expect(done.returncode == 0, f"{script.name} ended with {done.returncode}: {done.stderr[-1500:]}")


@contextlib.contextmanager
def relay(port: int):
    """A port at which the gateway is reached under its own name, as behind a load balancer; links come back through it."""
    import http.server
    import threading

    class Relay(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self):
            here = f"http://127.0.0.1:{self.server.server_address[1]}"
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            fields = [(n, v) for n, v in self.headers.items() if n.lower() not in ("host", "content-length", "connection", "accept-encoding")]
            connection = wire.Connection(port, HOST)
            answer = connection.send(self.command, self.path, fields, body)
            connection.close()
            content = answer.body.replace(tokens.ORIGIN.encode(), here.encode())
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name not in ("content-length", "connection"):
                    self.send_header(name, value.replace(tokens.ORIGIN, here))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = pass_on

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
