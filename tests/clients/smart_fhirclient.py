#!/usr/bin/env python3
"""PyPI `fhirclient` against `firebreak demo`: discovery by /metadata, a standalone launch by posted forms, read, search, refresh;
the same as a confidential client, which authenticates by HTTP Basic."""
import contextlib
import http.server
import json
import os
import select
import subprocess
import sys
import threading
import time

import requests

import gateways
import launch
from named import Tests, expect

SCOPE = "user/*.* patient/*.read openid profile fhirUser offline_access"


def registered(gateway, redirect_uri: str) -> dict:
    """A client with a secret, added beside the running server; what `client add` prints."""
    command = [gateways.BINARY, "client", "add", "--config", f"{gateway.directory}/firebreak.toml", "--name", "Confidential", "--secret",
               "--redirect-uri", redirect_uri, "--scope", f"{SCOPE} launch/patient", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise AssertionError(f"client add ended with {done.returncode}: {done.stderr[-1000:]}")
    added = json.loads(done.stdout)
    # The server looks at its store every second.
    deadline = time.monotonic() + 10
    while True:
        page = requests.get(f"{gateway.origin}/authorize", params={"client_id": added["client_id"]}, verify=gateway.ca_file, timeout=10)
        if "This app is not known here" not in page.text:
            return added
        expect(time.monotonic() < deadline, "the server does not hear of the client")
        select.select([], [], [], 0.1)


@contextlib.contextmanager
def upstream():
    """A FHIR server with one patient; gives its base URL."""
    patient = {"resourceType": "Patient", "id": "p1", "meta": {"versionId": "1"}, "name": [{"family": "Brook", "given": ["Nell"]}]}
    statement = {"resourceType": "CapabilityStatement", "status": "active", "date": "2026-01-01", "kind": "instance",
                 "fhirVersion": "4.0.1", "format": ["json"], "rest": [{"mode": "server"}]}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = self.path.split("?")[0]
            found = {"resourceType": "Bundle", "type": "searchset", "entry": [
                {"fullUrl": f"{base}/Patient/p1", "resource": patient, "search": {"mode": "match"}}]}
            body = json.dumps({"/fhir/metadata": statement, "/fhir/Patient/p1": patient}.get(path, found)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        base = f"http://127.0.0.1:{server.server_port}/fhir"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield base
        server.shutdown()


def main() -> int:
    tests = Tests("pypi_fhirclient")
    with gateways.demo(app="http://127.0.0.1:9/") as gateway:
        # `requests` inside the package reads the CA from here.
        os.environ["REQUESTS_CA_BUNDLE"] = gateway.ca_file
        from fhirclient import client

        app = next(a for a in gateway.apps if any(u.startswith("http://127.0.0.1:9/") for u in a["redirect_uris"]))
        redirect = app["redirect_uris"][0]
        login = launch.Login(**{k: gateway.login("clinician")[k] for k in ("username", "password")})
        smart = client.FHIRClient(settings={"app_id": app["client_id"], "api_base": gateway.base, "redirect_uri": redirect, "scope": SCOPE})

        def the_capability_statement_is_served_without_a_token_and_names_the_oauth_uris():
            expect(not smart.prepare(), "an unauthorized client calls itself ready")
            expect(smart.authorize_url.startswith(gateway.origin), f"authorize URL is elsewhere: {smart.authorize_url}")

        def a_standalone_launch_ends_with_a_token_and_a_patient():
            url = launch.Browser(gateway.ca_file).authorize(smart.authorize_url, redirect, login)
            smart.handle_callback(url)
            expect(smart.ready, "no access token")
            expect(smart.patient_id, f"no launch patient: {smart.launch_context}")

        def the_launch_patient_is_read_and_parsed_strictly():
            patient = smart.patient
            expect(patient is not None and patient.id == smart.patient_id, "the patient was not read")
            expect(smart.human_name(patient.name[0]) != "Unnamed", "the patient has no name")

        def observations_are_searched_and_belong_to_the_launch_patient():
            from fhirclient.models.observation import Observation

            found = Observation.where(struct={"patient": smart.patient_id, "_count": "5"}).perform_resources(smart.server)
            expect(found, "no observations")
            for observation in found:
                expect(observation.subject.reference == f"Patient/{smart.patient_id}", f"a stranger's: {observation.subject.reference}")

        def the_token_is_refreshed():
            before = smart.server.auth.access_token
            expect(smart.server.auth.refresh_token, "no refresh token was issued")
            smart.reauthorize()
            expect(smart.server.auth.access_token != before, "the access token did not change")
            expect(smart.patient is not None, "the refreshed token reads nothing")

        tests.run(the_capability_statement_is_served_without_a_token_and_names_the_oauth_uris)
        if tests.run(a_standalone_launch_ends_with_a_token_and_a_patient):
            tests.run(the_launch_patient_is_read_and_parsed_strictly)
            tests.run(observations_are_searched_and_belong_to_the_launch_patient)
            tests.run(the_token_is_refreshed)
    with upstream() as base, gateways.served(base, "http://127.0.0.1:9/") as gateway:
        os.environ["REQUESTS_CA_BUNDLE"] = gateway.ca_file

        # C10, C11, F1
        def a_confidential_client_launches_reads_and_refreshes_by_its_secret_and_never_without():
            redirect = "http://127.0.0.1:9/confidential"
            added = registered(gateway, redirect)
            settings = {"app_id": added["client_id"], "app_secret": added["client_secret"], "api_base": gateway.base,
                        "redirect_uri": redirect, "scope": SCOPE}
            smart = client.FHIRClient(settings=settings)
            smart.prepare()
            login = launch.Login(**{k: gateway.logins[0][k] for k in ("username", "password")})
            smart.handle_callback(launch.Browser(gateway.ca_file).authorize(smart.authorize_url, redirect, login))
            expect(smart.patient is not None and smart.patient.id == "p1", "the patient was not read")
            auth = smart.server.auth
            before = auth.access_token
            expect(auth.refresh_token, "no refresh token was issued")
            smart.reauthorize()
            expect(auth.access_token != before and smart.patient is not None, "not refreshed")
            auth.app_secret = None
            try:
                smart.reauthorize()
            except Exception as error:  # whatever kind the package makes of a 401
                expect("401" in str(error) or "Unauthorized" in type(error).__name__, f"another error: {error!r}")
            else:
                raise AssertionError("the secret was left out, and a token came all the same")

        tests.run(a_confidential_client_launches_reads_and_refreshes_by_its_secret_and_never_without)
    return tests.conclude()


if __name__ == "__main__":
    sys.exit(main())
