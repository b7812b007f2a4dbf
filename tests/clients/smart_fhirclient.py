#!/usr/bin/env python3
"""PyPI `fhirclient` against `firebreak demo`: discovery by /metadata, a standalone launch by posted forms, read, search, refresh."""
import os
import sys

import gateways
import launch
from named import Tests, expect

SCOPE = "user/*.* patient/*.read openid profile fhirUser offline_access"


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
    return tests.conclude()


if __name__ == "__main__":
    sys.exit(main())
