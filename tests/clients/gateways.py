"""Starts what the tests run against, each on loopback ports that the operating system chose, and ends it by its process id.

`demo()`: `firebreak demo`. `hapi()`: the HAPI oracle. `served(upstream)`: `firebreak init` and `firebreak serve` in front
of a server. All are context managers; the environment variable FIREBREAK_BINARY names the binary (default: release build).
"""
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("FIREBREAK_BINARY") or str(ROOT / "target/release/firebreak")


@dataclasses.dataclass
class Gateway:
    """A running gateway: its FHIR base, the file of its CA, who can log in, which apps it knows."""

    base: str
    origin: str
    ca_file: str
    logins: list[dict]
    apps: list[dict]
    directory: str | None = None
    pid: int | None = None
    addresses: dict = dataclasses.field(default_factory=dict)

    def login(self, role: str) -> dict:
        """The login of a role (`clinician`, `patient`): by its roles, its name, or what it is called to people."""
        for login in self.logins:
            if role in (login.get("role"), login.get("username"), *login.get("roles", [])) or role in login.get("display_name", "").lower():
                return login
        raise AssertionError(f"no login `{role}` among {[l.get('username') for l in self.logins]}")

    def app(self, redirect_uri: str) -> dict:
        """The app that was registered with a redirect URI."""
        for app in self.apps:
            if redirect_uri in app.get("redirect_uris", []):
                return app
        raise AssertionError(f"no app has the redirect URI `{redirect_uri}`: {self.apps}")


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], **options):
    """A process that is ended with its context: asked first, and killed after ten seconds."""
    options["env"] = {"FIREBREAK_LOG": "warn", **os.environ}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


def line_of(process, wanted, seconds: float) -> str:
    """The first line of output for which `wanted` is true; an error when the process ends or the time runs out."""
    deadline = time.monotonic() + seconds
    seen = []
    while time.monotonic() < deadline:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        line = process.stdout.readline()
        if not line:
            raise AssertionError(f"`{process.args[0]}` ended with {process.wait()} before it was ready: {seen[-5:]}")
        if wanted(line):
            return line
        seen.append(line.rstrip())
    raise AssertionError(f"`{process.args[0]}` was not ready after {seconds} s: {seen[-5:]}")


def drain(process) -> None:
    """Keeps reading what a process prints, so that it never blocks on a full pipe."""
    import threading

    threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()


@contextlib.contextmanager
def demo(app: str | None = None):
    """`firebreak demo`, with an app of another origin registered when one is given."""
    command = [BINARY, "demo", "--port", str(free_port()), "--print-json"]
    if app:
        command += ["--app", app]
    with tempfile.TemporaryDirectory(prefix="firebreak-demo-") as directory, running(command, cwd=directory) as process:
        told = json.loads(line_of(process, lambda line: line.startswith("{"), 30))
        drain(process)
        ca_file = str(pathlib.Path(directory, told["ca_file"]))
        yield Gateway(told["fhir_base"], told["origin"], ca_file, told["logins"], told["apps"], directory, process.pid, told)


@contextlib.contextmanager
def hapi():
    """The HAPI oracle, empty; gives its base URL. Ends when our end of its standard input closes, whatever happens to us."""
    command = [str(ROOT / "tests/hapi/start"), "0", "--until-stdin-closes"]
    with running(command, stdin=subprocess.PIPE) as process:
        line = line_of(process, lambda text: text.startswith("READY "), 400)
        drain(process)
        yield line.split()[1]


@contextlib.contextmanager
def served(upstream: str, redirect_uri: str):
    """`firebreak init --upstream` into a new directory, then `firebreak serve` on its configuration."""
    with tempfile.TemporaryDirectory(prefix="firebreak-served-") as parent:
        directory = pathlib.Path(parent, "gateway")
        port = free_port()
        told = initialise(upstream, directory, port, redirect_uri)
        configuration = directory / "firebreak.toml"
        with running([BINARY, "serve", "--config", str(configuration)], cwd=parent, stderr=open(pathlib.Path(parent, "log"), "w")) as process:
            drain(process)
            gateway = Gateway(told["fhir_base"], told["origin"], told["ca_file"], told["logins"], told["apps"], str(directory), process.pid, told)
            try:
                await_port(process, port)
                yield gateway
            except BaseException:
                print(pathlib.Path(parent, "log").read_text()[-4000:])
                raise


def initialise(upstream: str, directory: pathlib.Path, port: int, redirect_uri: str, binary: str = BINARY, **options) -> dict:
    """Runs `init` and reads what it tells: addresses, the first login and the first client. `options` as of subprocess.run."""
    command = [binary, "init", "--upstream", upstream, "--directory", str(directory), "--port", str(port),
               "--redirect-uri", redirect_uri, "--print-json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    if done.returncode:
        raise AssertionError(f"init ended with {done.returncode}: {done.stderr[-2000:]}")
    match = re.search(r"^\{.*\}$", done.stdout, re.MULTILINE)
    if not match:
        raise AssertionError(f"init printed no JSON line: {done.stdout[-1000:]}")
    return json.loads(match.group(0))


def await_port(process, port: int, seconds: float = 20) -> None:
    """Returns when something accepts connections on the port; an error when the process ends first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"`{process.args[0]}` ended with {process.returncode} before it listened")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        select.select([], [], [], 0.05)
    raise AssertionError(f"nothing listened on port {port} after {seconds} s")
