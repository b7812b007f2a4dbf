#!/usr/bin/env python3
"""Loads a FHIR R4 server with two patients: `load.py BASE [--own ID] [--hidden ID] [--without-hidden]`.

The first patient's record is the same in every world. Every resource of the second carries a canary, `CANARY-<patient>-<n>`,
in text, identifiers and codes, so that one byte of it in an answer is found by searching for the string. Some hidden resources
mention the first patient in places that confer no access. Prints JSON: what was loaded, and the canaries.

Standard library only. As a module: `load(base, world(own, hidden))`.
"""
import argparse
import json
import re
import sys
import urllib.error
import urllib.request

LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def world(own: str = "p1", hidden: str | None = "p2") -> list[dict]:
    """The resources of a world, in the order they are written; `hidden=None` leaves the second patient out."""
    resources = shared() + patient_record(own, Plain())
    if hidden:
        resources += patient_record(hidden, Canary(hidden)) + mentions(own, hidden, Canary(hidden, start=1000))
    return resources


class Plain:
    """Marks nothing: the record that may be read."""

    prefix = "own"

    def __call__(self, text: str) -> str:
        return text


class Canary:
    """Marks every text with a new canary."""

    prefix = "hid"

    def __init__(self, patient: str, start: int = 1):
        self.patient, self.next = patient, start

    def __call__(self, text: str) -> str:
        mark = f"CANARY-{self.patient}-{self.next} {text}"
        self.next += 1
        return mark


def shared() -> list[dict]:
    """What belongs to no patient."""
    return [
        {"resourceType": "Organization", "id": "org1", "name": "Riverside Hospital"},
        {"resourceType": "Practitioner", "id": "prac1", "name": [{"family": "Berg", "given": ["Ada"]}]},
        {"resourceType": "Location", "id": "loc1", "status": "active", "name": "Ward 3"},
        {"resourceType": "Medication", "id": "med1", "code": concept("http://www.nlm.nih.gov/research/umls/rxnorm", "197361", "amlodipine 5 MG")},
    ]


def patient_record(patient: str, mark) -> list[dict]:
    """One of everything that the R4 Patient compartment knows and an app asks for, and enough Observations to page."""
    p = mark.prefix
    subject = {"reference": f"Patient/{patient}"}
    encounter = {"reference": f"Encounter/{p}-enc1"}
    by = {"reference": "Practitioner/prac1"}

    def at(day: int) -> str:
        return f"2026-03-{day:02}T08:00:00Z"

    def coded(system: str, code: str, text: str) -> dict:
        return concept(system, code if p == "own" else mark(code).split()[0], mark(text))

    record = [
        {"resourceType": "Patient", "active": True, "identifier": [{"system": "urn:example:mrn", "value": mark("mrn-77").replace(" ", "-")}],
         "name": [{"family": mark("Larsen"), "given": [mark("Nora")]}], "gender": "female", "birthDate": "1961-04-09",
         "telecom": [{"system": "phone", "value": mark("555-0100")}], "address": [{"line": [mark("1 Hill Road")], "city": mark("Oslo")}],
         "managingOrganization": {"reference": "Organization/org1"}, "generalPractitioner": [by]},
        {"resourceType": "Encounter", "id": "enc1", "status": "finished", "class": {"code": "AMB", "display": mark("ambulatory")}, "subject": subject,
         "period": {"start": at(1), "end": at(1)}, "reasonCode": [{"text": mark("check-up")}]},
        {"resourceType": "Encounter", "id": "enc2", "status": "finished", "class": {"code": "EMER", "display": mark("emergency")}, "subject": subject,
         "period": {"start": at(5)}, "participant": [{"individual": by}], "reasonCode": [{"text": mark("fall")}]},
        {"resourceType": "Condition", "id": "con1", "subject": subject, "encounter": encounter, "code": coded("http://snomed.info/sct", "38341003", "hypertension"),
         "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active", None), "recordedDate": at(2)},
        {"resourceType": "Condition", "id": "con2", "subject": subject, "code": coded("http://snomed.info/sct", "44054006", "diabetes"),
         "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active", None), "recordedDate": at(3)},
        {"resourceType": "MedicationRequest", "id": "mrq1", "status": "active", "intent": "order", "subject": subject, "encounter": encounter,
         "medicationCodeableConcept": {"text": mark("metformin")}, "authoredOn": at(4), "requester": by},
        {"resourceType": "MedicationRequest", "id": "mrq2", "status": "stopped", "intent": "order", "subject": subject,
         "medicationReference": {"reference": "Medication/med1"}, "note": [{"text": mark("stopped after rash")}]},
        {"resourceType": "MedicationStatement", "id": "mst1", "status": "active", "subject": subject, "medicationCodeableConcept": {"text": mark("vitamin D")}},
        {"resourceType": "AllergyIntolerance", "id": "alg1", "patient": subject, "code": coded("http://snomed.info/sct", "764146007", "penicillin"),
         "recorder": by, "recordedDate": at(2)},
        {"resourceType": "Immunization", "id": "imm1", "status": "completed", "patient": subject, "vaccineCode": {"text": mark("influenza")},
         "occurrenceDateTime": "2025-10-02", "lotNumber": mark("lot-9")},
        {"resourceType": "Procedure", "id": "prc1", "status": "completed", "subject": subject, "code": {"text": mark("suture")}, "performedDateTime": at(5)},
        {"resourceType": "CarePlan", "id": "cpl1", "status": "active", "intent": "plan", "subject": subject, "title": mark("diet")},
        {"resourceType": "CareTeam", "id": "ctm1", "status": "active", "subject": subject, "name": mark("team"), "participant": [{"member": by}]},
        {"resourceType": "Goal", "id": "gol1", "lifecycleStatus": "active", "subject": subject, "description": {"text": mark("walk daily")}},
        {"resourceType": "DocumentReference", "id": "doc1", "status": "current", "subject": subject, "description": mark("discharge letter"),
         "content": [{"attachment": {"contentType": "text/plain", "title": mark("letter")}}]},
        {"resourceType": "ServiceRequest", "id": "srq1", "status": "active", "intent": "order", "subject": subject, "code": {"text": mark("x-ray")}},
        {"resourceType": "Coverage", "id": "cov1", "status": "active", "beneficiary": subject, "payor": [{"reference": "Organization/org1"}], "subscriberId": mark("sub-5")},
        {"resourceType": "QuestionnaireResponse", "id": "qnr1", "status": "completed", "subject": subject, "item": [{"linkId": "1", "text": mark("pain?")}]},
        {"resourceType": "Appointment", "id": "apt1", "status": "booked", "description": mark("follow-up"), "start": at(20), "end": at(20),
         "participant": [{"actor": subject, "status": "accepted"}, {"actor": by, "status": "accepted"}]},
        {"resourceType": "Consent", "id": "cns1", "status": "active", "patient": subject, "dateTime": at(1),
         "scope": concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy", mark("privacy")),
         "category": [concept(LOINC, "59284-0", mark("consent"))]},
        {"resourceType": "FamilyMemberHistory", "id": "fmh1", "status": "completed", "patient": subject, "name": mark("mother"),
         "relationship": concept("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "MTH", None)},
        {"resourceType": "RelatedPerson", "id": "rel1", "patient": subject, "name": [{"family": mark("Larsen"), "given": [mark("Ola")]}]},
        {"resourceType": "Device", "id": "dev1", "patient": subject, "deviceName": [{"name": mark("pump"), "type": "user-friendly-name"}]},
        {"resourceType": "Provenance", "id": "prv1", "target": [{"reference": f"Patient/{patient}"}], "recorded": at(1),
         "agent": [{"who": by, "type": {"text": mark("author")}}]},
    ]
    record += [
        {"resourceType": "Observation", "id": f"obs{n}", "status": "final", "subject": subject, "encounter": encounter,
         "category": [concept(CATEGORY, "vital-signs" if n <= 9 else "laboratory", None)],
         "code": coded(LOINC, ["8867-4", "8480-6", "8310-5"][n % 3], ["heart rate", "systolic pressure", "temperature"][n % 3]),
         "effectiveDateTime": at(n), "valueQuantity": {"value": 60 + n, "unit": "1", "system": "http://unitsofmeasure.org", "code": "1"},
         "note": [{"text": mark(f"reading {n}")}]}
        for n in range(1, 13)
    ]
    # Last, for the server wants what it points at to exist.
    record += [
        {"resourceType": "DiagnosticReport", "id": "rep1", "status": "final", "subject": subject, "code": concept(LOINC, "58410-2", mark("blood count")),
         "issued": at(6), "conclusion": mark("normal"), "result": [{"reference": f"Observation/{p}-obs1"}]},
    ]
    for resource in record:
        # The same id in every world: <prefix>-<name>, but a patient is itself.
        resource["id"] = f"{p}-{resource['id']}" if "id" in resource else patient
        resource["text"] = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{mark(resource["resourceType"])}</div>'}
        resource["meta"] = {"tag": [{"system": "urn:example:tag", "code": "loaded" if p == "own" else mark("loaded").split()[0]}]}
    return record


def mentions(own: str, hidden: str, mark) -> list[dict]:
    """Resources of the hidden patient that name the first one where naming confers nothing."""
    subject = {"reference": f"Patient/{hidden}"}
    return [
        {"resourceType": "Observation", "id": "hid-focus", "status": "final", "subject": subject, "focus": [{"reference": f"Patient/{own}"}],
         "code": {"text": mark("focus on the other patient")}, "hasMember": [{"reference": "Observation/own-obs1"}]},
        {"resourceType": "Communication", "id": "hid-about", "status": "completed", "subject": subject, "about": [{"reference": "Condition/own-con1"}],
         "payload": [{"contentString": mark("about the other patient's condition")}]},
        {"resourceType": "Basic", "id": "hid-ext", "code": {"text": mark("basic")}, "subject": subject,
         "extension": [{"url": "urn:example:also", "valueReference": {"reference": f"Patient/{own}"}}]},
        {"resourceType": "Task", "id": "hid-task", "status": "requested", "intent": "order", "for": subject, "description": mark("call the patient")},
        {"resourceType": "Binary", "id": "hid-bin", "contentType": "text/plain", "securityContext": subject,
         "data": "Q0FOQVJZLXNlY3JldA=="},
    ]


def concept(system: str, code: str, text: str | None) -> dict:
    value = {"coding": [{"system": system, "code": code}]}
    if text:
        value["text"] = text
    return value


def canaries(resources: list[dict]) -> list[str]:
    """The marks in the resources, and the Binary's data, whose bytes cannot carry one of the numbered kind."""
    found = sorted(set(re.findall(r"CANARY-[A-Za-z0-9]+-\d+", json.dumps(resources))))
    return found + ["CANARY-secret", "Q0FOQVJZLXNlY3JldA"] if found else []


def load(base: str, resources: list[dict]) -> None:
    """Writes each resource by PUT under its own id, in order; any answer but 200 or 201 is an error."""
    for resource in resources:
        request = urllib.request.Request(
            f"{base.rstrip('/')}/{resource['resourceType']}/{resource['id']}",
            data=json.dumps(resource).encode(),
            method="PUT",
            headers={"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status in (200, 201), answer.status
        except urllib.error.HTTPError as error:
            raise SystemExit(f"`{resource['resourceType']}/{resource['id']}` was not stored: {error.code} {error.read()[:500]!r}") from error


def main() -> int:
    parser = argparse.ArgumentParser(description="load a FHIR server with two patients")
    parser.add_argument("base")
    parser.add_argument("--own", default="p1")
    parser.add_argument("--hidden", default="p2")
    parser.add_argument("--without-hidden", action="store_true")
    arguments = parser.parse_args()
    resources = world(arguments.own, None if arguments.without_hidden else arguments.hidden)
    load(arguments.base, resources)
    print(json.dumps({"loaded": len(resources), "canaries": canaries(resources)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
