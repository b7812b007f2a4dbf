#!/usr/bin/env python3
"""The audit promise on the built binary: a record is durable before the first byte of its answer leaves.

kill -9 under load, again and again: every 2xx that a client saw has its record, the log verifies, a torn end is repaired and
reported. A system-call trace: between the request and the first byte of its answer lies an fdatasync of the log. The
upstream is nginx with fixed bodies (bench/). ROUNDS sets the number of rounds, 30 when unset.
"""
import contextlib
import http.client
import os
import pathlib
import random
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import compare as bench
import gateways
import launch
from named import Tests, expect

REDIRECT = "http://127.0.0.1:9/callback"
ROUNDS = int(os.environ.get("ROUNDS", "30"))
CLIENTS = 8


class Served:
    """One configuration, started and killed many times."""

    def __init__(self, directory: pathlib.Path, upstream: str):
        self.port = gateways.free_port()
        self.directory = directory / "gateway"
        self.told = gateways.initialise(upstream, self.directory, self.port, REDIRECT)
        self.configuration = self.directory / "firebreak.toml"
        self.audit = self.directory / "state/audit"
        self.log = directory / "serve.log"
        self.context = ssl.create_default_context(cafile=self.told["ca_file"])
        self.parts = urllib.parse.urlsplit(self.told["fhir_base"])
        self.process = None

    def start(self, *prefix: str) -> None:
        self.log.write_text("")
        command = [*prefix, gateways.BINARY, "serve", "--config", str(self.configuration)]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        gateways.await_port(self.process, self.port)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(40)
            self.kill()

    def launch(self) -> str:
        app = launch.App(self.told["apps"][0]["client_id"], REDIRECT, "launch/patient patient/*.rs openid fhirUser")
        login = launch.Login(self.told["logins"][0]["username"], self.told["logins"][0]["password"], "p1")
        return launch.standalone(self.told["fhir_base"], self.told["ca_file"], app, login)["access_token"]

    def read(self, connection, token: str, request_id: str) -> int:
        """The status of one read, as soon as the client has seen the head of the answer."""
        headers = {"Authorization": f"Bearer {token}", "X-Request-ID": request_id}
        connection.request("GET", f"{self.parts.path}/{bench.READ}", headers=headers)
        answer = connection.getresponse()
        status = answer.status
        with contextlib.suppress(http.client.HTTPException, OSError):
            answer.read()
        return status

    def connect(self):
        return http.client.HTTPSConnection(self.parts.hostname, self.port, context=self.context, timeout=10)

    def verify(self) -> str:
        done = subprocess.run([gateways.BINARY, "audit", "verify", str(self.audit)], capture_output=True, text=True, timeout=120)
        expect(done.returncode == 0, f"audit verify ended with {done.returncode}: {done.stdout[-1500:]} {done.stderr[-1500:]}")
        return done.stdout + done.stderr

    def segments(self) -> list[pathlib.Path]:
        """The files of records, the newest last."""
        found = [f for f in self.audit.rglob("*") if f.is_file() and f.open("rb").read(6) == b'{"v":1' and not f.name.startswith("torn")]
        return sorted(found, key=lambda f: f.name)

    def recorded(self) -> set[str]:
        return {match for f in self.segments() for match in re.findall(r"durable-\d+-\d+-\d+", f.read_text())}


def hammer(served: Served, token: str, name: str, seen: list[str], started: threading.Semaphore) -> None:
    """Reads until the gateway is gone; remembers the id of each read that it saw succeed."""
    connection, count = served.connect(), 0
    with contextlib.suppress(OSError, http.client.HTTPException):
        while True:
            request_id = f"durable-{name}-{count}"
            count += 1
            if served.read(connection, token, request_id) == 200:
                seen.append(request_id)
                started.release()
    connection.close()


def one_round(served: Served, token: str, number: int) -> list[str]:
    """Load, and a kill in the middle of it; gives the ids of the reads that clients saw succeed."""
    seen: list[list[str]] = [[] for _ in range(CLIENTS)]
    started = threading.Semaphore(0)
    threads = [threading.Thread(target=hammer, args=(served, token, f"{number}-{i}", seen[i], started)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    # Killed once it is under load, after a number of answers that differs from round to round.
    for _ in range(random.Random(number).randint(1, 400)):
        if not started.acquire(timeout=10):
            break
    served.kill()
    for thread in threads:
        thread.join(30)
    return [request_id for ids in seen for request_id in ids]


def main() -> int:
    tests = Tests("durability")
    with tempfile.TemporaryDirectory(prefix="firebreak-durability-") as name, contextlib.ExitStack() as stack:
        directory = pathlib.Path(name)
        os.chmod(directory, 0o755)
        upstream_port = bench.prepare(directory)
        bench.start(stack, directory, "upstream", ["nginx", "-p", name, "-c", f"{name}/upstream.conf", "-g", "daemon off;"], upstream_port)
        served = Served(directory, f"http://127.0.0.1:{upstream_port}/fhir")
        stack.callback(served.stop)

        def a_gateway_starts_and_gives_a_token():
            served.start()
            return served.launch()

        token = tests.run(a_gateway_starts_and_gives_a_token)
        if not token:
            print(served.log.read_text()[-3000:], file=sys.stderr)
            return tests.conclude()

        def every_success_that_a_client_saw_has_its_record_after_kill_9():
            seen = []
            for number in range(ROUNDS):
                if number:
                    served.start()
                seen += one_round(served, token, number)
                missing = set(seen) - served.recorded()
                expect(not missing, f"round {number}: {len(missing)} of {len(seen)} answers have no record: {sorted(missing)[:5]}")
            expect(len(seen) >= 10 * ROUNDS, f"only {len(seen)} answers in {ROUNDS} rounds")
            print(f"    {ROUNDS} rounds, {len(seen)} answers, none without its record")

        def the_log_verifies_after_all_of_that():
            served.start()
            served.stop()
            served.verify()

        def a_torn_end_is_repaired_and_reported():
            served.start()
            served.kill()
            newest = served.segments()[-1]
            whole = newest.read_bytes()
            last = whole.rstrip(b"\n").rsplit(b"\n", 1)[-1]
            newest.write_bytes(whole + last[: len(last) // 2])
            served.start()
            expect("torn" in served.log.read_text(), f"the repair was not reported: {served.log.read_text()[-800:]}")
            expect(served.read(served.connect(), token, "durable-0-0-999999") == 200, "the repaired gateway does not serve")
            served.stop()
            served.verify()

        def a_changed_byte_in_a_record_is_found():
            newest = served.segments()[-1]
            whole = newest.read_bytes()
            at = whole.index(b"durable-")
            newest.write_bytes(whole[:at] + b"Durable-" + whole[at + 8:])
            try:
                done = subprocess.run([gateways.BINARY, "audit", "verify", str(served.audit)], capture_output=True, text=True, timeout=120)
                expect(done.returncode != 0, "audit verify did not notice a changed byte")
            finally:
                newest.write_bytes(whole)

        def a_second_process_on_the_same_files_is_refused():
            served.start()
            other = directory / "gateway/second.toml"
            other.write_text(served.configuration.read_text().replace(f":{served.port}\"", f":{gateways.free_port()}\""))
            done = subprocess.run([gateways.BINARY, "serve", "--config", str(other)], capture_output=True, text=True, timeout=30)
            expect(done.returncode != 0, "a second process started on the same state")
            served.stop()

        def no_byte_of_an_answer_leaves_before_the_sync_that_covers_it():
            # Nothing is asked of the upstream but for requests: the trace takes each of its answers for one to a client.
            text = served.configuration.read_text()
            served.configuration.write_text(text.replace("[fhir]\n", "[fhir]\nsoftware = \"other\"\n", 1))
            trace = directory / "trace"
            served.start("strace", "-f", "-yy", "-s", "0", "-e", "trace=fdatasync,fsync,read,recvfrom,readv,recvmsg,write,sendto,writev,sendmsg", "-o", str(trace))
            connection = served.connect()
            statuses = [served.read(connection, token, f"durable-0-1-{n}") for n in range(20)]
            connection.close()
            child = int(pathlib.Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()[0])
            os.kill(child, signal.SIGTERM)
            served.process.wait(40)
            expect(statuses == [200] * 20, f"answers {statuses}")
            checked = check_trace(trace.read_text().splitlines(), served.port, str(served.audit))
            expect(checked >= 20, f"only {checked} answers were seen in the trace")

        tests.run(every_success_that_a_client_saw_has_its_record_after_kill_9)
        served.stop()
        tests.run(the_log_verifies_after_all_of_that)
        served.stop()
        tests.run(a_torn_end_is_repaired_and_reported)
        served.stop()
        tests.run(a_changed_byte_in_a_record_is_found)
        tests.run(a_second_process_on_the_same_files_is_refused)
        served.stop()
        tests.run(no_byte_of_an_answer_leaves_before_the_sync_that_covers_it)
    return tests.conclude()


def check_trace(lines: list[str], port: int, audit: str) -> int:
    """How many answers were seen; an error when bytes went to a client after a request came in without a sync in between.

    One connection, one request at a time. An answer is the first data written to the client's socket after the upstream's
    answer was read (the handshake and the session tickets come before that).
    """
    answered, upstream_answer, synced, pending = 0, False, False, {}
    for line in lines:
        thread = line.split(None, 1)[0]
        if "<unfinished ...>" in line:
            pending[thread] = line
            # A write has begun: what it sends may leave from now on, so it counts when it begins; a sync when it ends.
            if re.search(r" (write|sendto|writev|sendmsg)\(", line) is None:
                continue
        elif " resumed>" in line:
            begun = pending.pop(thread, "")
            if re.search(r" (write|sendto|writev|sendmsg)\(", begun):
                continue
            line = begun.replace("<unfinished ...>", "") + line.partition("resumed>")[2]
        name = re.match(r"\d+\s+(\w+)\(", line)
        if not name:
            continue
        client = f"127.0.0.1:{port}->" in line
        socket = "<TCP:" in line
        if name[1] in ("fdatasync", "fsync") and audit in line:
            synced = synced or upstream_answer
        elif name[1] in ("read", "recvfrom", "readv", "recvmsg") and socket and not client and not re.search(r"= -1|= 0$", line):
            if not upstream_answer:
                upstream_answer, synced = True, False
        elif name[1] in ("write", "sendto", "writev", "sendmsg") and client and upstream_answer:
            expect(synced, f"answer {answered + 1} left before the sync: {line[:200]}")
            answered += 1
            upstream_answer = False
    return answered


if __name__ == "__main__":
    sys.exit(main())
