#!/usr/bin/env python3
"""PyPI `fhirpy` with a static bearer token against `firebreak demo`: read, search, paging, count, errors.

Two tokens: the clinician's with `user/*.rs` and the launch patient's with `patient/*.rs`.
"""
import os
import sys

import gateways
import launch
from named import Tests, expect


def main() -> int:
    tests = Tests("pypi_fhirpy")
    with gateways.demo(app="http://127.0.0.1:9/") as gateway:
        os.environ["REQUESTS_CA_BUNDLE"] = gateway.ca_file
        from fhirpy import SyncFHIRClient
        from fhirpy.base.exceptions import ForbiddenError, OperationOutcome, ResourceNotFound

        app = next(a for a in gateway.apps if any(u.startswith("http://127.0.0.1:9/") for u in a["redirect_uris"]))
        login = launch.Login(**{k: gateway.login("clinician")[k] for k in ("username", "password")})

        def connect(scope: str):
            token = launch.standalone(gateway.base, gateway.ca_file, launch.App(app["client_id"], app["redirect_uris"][0], scope), login)
            bearer = f"Bearer {token['access_token']}"
            options = {"verify": gateway.ca_file}
            return SyncFHIRClient(gateway.base, authorization=bearer, requests_config=options), token

        def a_static_bearer_token_reads_the_launch_patient():
            client, token = connect("launch/patient patient/*.rs")
            patient = client.reference("Patient", token["patient"]).to_resource()
            expect(patient.id == token["patient"], f"read `{patient.id}`")
            return client, token

        def a_search_pages_through_every_observation_of_the_patient(client, token):
            found = client.resources("Observation").search(patient=token["patient"]).limit(3).fetch_all()
            expect(len(found) > 3, f"{len(found)} observations, expected more than a page")
            expect(len({o.id for o in found}) == len(found), "an observation came twice")
            for observation in found:
                expect(observation["subject"]["reference"] == f"Patient/{token['patient']}", "a stranger's observation")

        def the_first_match_of_a_search_is_given(client, token):
            condition = client.resources("Condition").search(patient=token["patient"]).first()
            expect(condition is not None and condition["resourceType"] == "Condition", f"{condition}")

        def a_strangers_patient_is_not_found_or_refused_with_an_outcome(client, token):
            try:
                client.reference("Patient", "no-such-patient").to_resource()
            except (ResourceNotFound, OperationOutcome):
                return
            raise AssertionError("a patient that is not the launch patient was read")

        def patients_are_counted_for_whom_all_of_them_are_within_reach():
            client, _ = connect("user/*.rs")
            counted, found = client.resources("Patient").count(), len(client.resources("Patient").limit(10).fetch_all())
            expect(counted == found >= 20, f"{counted} counted, {found} found")

        def a_count_for_one_patient_is_refused_with_an_outcome_that_says_so(client, _):
            try:
                count = client.resources("Observation").count()
            except ForbiddenError as refused:
                expect("_summary=count" in str(refused), f"the refusal does not say what is not served: {refused}")
                return
            raise AssertionError(f"{count} observations were counted")

        connected = tests.run(a_static_bearer_token_reads_the_launch_patient)
        if connected:
            tests.run(a_search_pages_through_every_observation_of_the_patient, *connected)
            tests.run(the_first_match_of_a_search_is_given, *connected)
            tests.run(a_strangers_patient_is_not_found_or_refused_with_an_outcome, *connected)
            tests.run(a_count_for_one_patient_is_refused_with_an_outcome_that_says_so, *connected)
        tests.run(patients_are_counted_for_whom_all_of_them_are_within_reach)
    return tests.conclude()


if __name__ == "__main__":
    sys.exit(main())
