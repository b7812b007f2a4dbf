"""Firebreak as a peer of the comparison: `init`, `serve` on one worker thread, a token by a real launch, and the budgets."""
import os
import pathlib
import re
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import gateways
import launch

REDIRECT = "http://127.0.0.1:9/callback"
AUDITED, UNAUDITED = "Firebreak, durable audit", "Firebreak, audit in memory"
NGINX, HAPROXY = "nginx, no authorization", "HAProxy, ES256 JWT"
IDLE_CONNECTIONS = 10_000


def start(stack, directory: pathlib.Path, upstream_port: int, binary: str, audit: bool, bench):
    """A gateway in front of the bench's upstream, with a patient's token of a standalone launch."""
    gateways.BINARY = binary
    port = bench.free_port()
    name = "firebreak" if audit else "firebreak-unaudited"
    told = gateways.initialise(f"http://127.0.0.1:{upstream_port}/fhir", directory / name, port, REDIRECT)
    configuration = directory / name / "firebreak.toml"
    # One address holds all connections here, some of them idle for longer than a client may be.
    settings = {"limits": {"connections": "20000", "connections_per_address": "20000", "header_timeout": '"300s"'}}
    if not audit:
        memory = stack.enter_context(tempfile.TemporaryDirectory(prefix="firebreak-bench-", dir="/dev/shm"))
        settings["audit"] = {"directory": f'"{memory}/audit"'}
    configuration.write_text(configured(configuration.read_text(), settings))
    os.environ["TOKIO_WORKER_THREADS"] = "1"
    began = time.monotonic()
    pid = bench.start(stack, directory, name, [binary, "serve", "--config", str(configuration)], port)
    started = time.monotonic() - began
    app = launch.App(told["apps"][0]["client_id"], REDIRECT, "launch/patient patient/*.rs openid fhirUser offline_access")
    login = launch.Login(told["logins"][0]["username"], told["logins"][0]["password"], "p1")
    token = launch.standalone(told["fhir_base"], told["ca_file"], app, login)
    peer = bench.Peer(AUDITED if audit else UNAUDITED, told["fhir_base"], pid, token["access_token"])
    peer.started, peer.resident = started, bench.resident_mib(pid)
    return peer


def configured(text: str, settings: dict[str, dict[str, str]]) -> str:
    """A configuration with keys set in its sections; what it said of them before goes."""
    for section, keys in settings.items():
        head, found, body = text.partition(f"[{section}]\n")
        if not found:
            head, body = f"{text.rstrip()}\n\n", ""
        end = re.search(r"^\[", body, re.MULTILINE)
        own, rest = (body[: end.start()], body[end.start():]) if end else (body, "")
        kept = [line for line in own.splitlines(keepends=True) if line.partition("=")[0].strip() not in keys]
        text = f"{head}[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) + "".join(kept) + rest
    return text


def budgets(table, peers, directory: pathlib.Path, arguments, bench) -> None:
    """The ratios of the budgets, each with what was allowed. Printed, never asserted."""
    audited = next(p for p in peers if p.name == AUDITED)

    def cpu(name, work):
        return table[name, work].cpu

    print("\nThe audit log cannot be switched off; in memory (tmpfs) its sync costs nothing, and the rest of its work is still done.")
    print("budget                                                        allowed    measured")
    mark("read, audit in memory: CPU per request against nginx", "<= 1.3 x", cpu(UNAUDITED, "read") / cpu(NGINX, "read"), 1.3, " x")
    mark("read, durable audit: CPU per request against nginx", "<= 1.6 x", cpu(AUDITED, "read") / cpu(NGINX, "read"), 1.6, " x")
    mark("read, durable audit: throughput against HAProxy with a JWT", ">= 3 x", table[AUDITED, "read"].rate / table[HAPROXY, "read"].rate, 3, " x", least=True)
    mark("search of 20, audit in memory: CPU per request against nginx", "<= 1.5 x", cpu(UNAUDITED, "search") / cpu(NGINX, "search"), 1.5, " x")
    mark("durable audit: throughput against audit in memory (read)", ">= 70 %", 100 * table[AUDITED, "read"].rate / table[UNAUDITED, "read"].rate, 70, " %", least=True)
    mark("resident memory, idle", "<= 48 MiB", audited.resident, 48, " MiB")
    mark("start to first accepted connection", "<= 150 ms", 1000 * audited.started, 150, " ms")
    direct = next(p for p in peers if p.name == NGINX)
    rate = table[AUDITED, "read"].rate / 2
    seconds = 2 if arguments.smoke else 8
    mark("added p99 latency at half load, durable audit", "<= 2 ms", p99_at(audited, rate, seconds, directory, bench) - p99_at(direct, rate, seconds, directory, bench), 2, " ms")
    if arguments.smoke:
        print("not measured in a smoke run: 10,000 idle connections")
    else:
        mark("resident memory, 10,000 idle TLS connections", "<= 350 MiB", idle_connections(audited, bench), 350, " MiB")
    print("not measured here: cached reads (no cache yet), token endpoint, growth with tokens and policies")


def mark(what: str, allowed: str, measured: float, limit: float, unit: str, least: bool = False) -> None:
    kept = measured >= limit if least else measured <= limit
    print(f"{what:<62}{allowed:<11}{measured:>8.2f}{unit:<5}{'kept' if kept else 'MISSED'}", flush=True)


def p99_at(peer, rate: float, seconds: int, directory: pathlib.Path, bench) -> float:
    """The 99th percentile in milliseconds at a fixed rate, by h2load over HTTP/1.1 connections."""
    log = directory / "h2load.log"
    log.unlink(missing_ok=True)
    connections = 32
    per_client = max(1, round(rate / connections))
    command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-D{seconds}", f"--rps={per_client}", f"--log-file={log}"]
    if peer.token:
        command += ["-H", f"authorization: Bearer {peer.token}"]
    subprocess.run([*command, f"{peer.base}/{bench.READ}"], check=True, capture_output=True, timeout=seconds + 30)
    times = [int(line.split("\t")[2]) for line in log.read_text().splitlines() if line.count("\t") >= 2]
    return statistics.quantiles(times, n=100)[98] / 1000 if len(times) > 100 else float("nan")


def idle_connections(peer, bench) -> float:
    """Resident memory in MiB while 10,000 TLS connections lie idle, or as many as the file limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = min(IDLE_CONNECTIONS, hard - 200)
    parts = re.match(r"https://[^:/]+:(\d+)", peer.base)
    context = ssl._create_unverified_context()
    held = []
    try:
        for _ in range(wanted):
            plain = socket.create_connection(("127.0.0.1", int(parts[1])), timeout=5)
            held.append(context.wrap_socket(plain, server_hostname="localhost"))
        return bench.resident_mib(peer.pid)
    except OSError as error:
        print(f"{len(held)} of {wanted} idle connections were accepted: {error}", file=sys.stderr)
        return bench.resident_mib(peer.pid)
    finally:
        for connection in held:
            connection.close()
