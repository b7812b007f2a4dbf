"""Every request shape that a patient's token could try: what is allowed, what is refused, and what is merely odd.

A shape is (label, method, target, headers, body); the target is relative to the FHIR base and sent byte for byte. None of
them contains a canary, so a canary in an answer came from the upstream.
"""
import dataclasses
import urllib.parse

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/fhir+json"}

# Types of the record, each with the parameter that ties it to its patient.
PRIMARY = {
    "Observation": "subject", "Condition": "patient", "Encounter": "patient", "MedicationRequest": "subject", "MedicationStatement": "subject",
    "AllergyIntolerance": "patient", "Immunization": "patient", "Procedure": "patient", "DiagnosticReport": "subject", "CarePlan": "patient",
    "CareTeam": "patient", "Goal": "patient", "DocumentReference": "subject", "ServiceRequest": "subject", "Coverage": "beneficiary",
    "QuestionnaireResponse": "subject", "Appointment": "actor", "Consent": "patient", "FamilyMemberHistory": "patient",
    "RelatedPerson": "patient", "Device": "patient", "Provenance": "target",
}
# Types outside the compartment or unsafe in it.
OTHER = ["Patient", "Practitioner", "Organization", "Location", "Medication", "Communication", "Basic", "Task", "Binary", "Group", "Person",
         "List", "AuditEvent", "Bundle", "Linkage", "NoSuchType", "observation"]
# Parameters over the resource's own content, with values that both records have.
OWN = {
    "Patient": ["gender=female", "birthdate=1961-04-09", "birthdate=ge1960", "name=Larsen", "name:exact=Larsen", "name:contains=ars", "family=Larsen",
                "given=Nora", "active=true", "identifier=urn:example:mrn|mrn-77", "identifier=urn:example:mrn|", "address-city=Oslo", "phone=555-0100",
                "telecom:missing=false", "organization=Organization/org1", "general-practitioner=Practitioner/prac1"],
    "Observation": ["code=http://loinc.org|8867-4", "code=8867-4,8480-6", "code:not=8867-4", "code:text=heart", "code:missing=false", "status=final",
                    "category=vital-signs", "category:not=vital-signs", "date=ge2026-03-02&date=lt2026-03-09", "date=2026-03-03", "value-quantity=gt65",
                    "value-quantity=62|http://unitsofmeasure.org|1", "code-value-quantity=8867-4$gt60", "encounter=Encounter/own-enc1",
                    "encounter=Encounter/hid-enc1", "has-member=Observation/own-obs1", "focus=Patient/{own}", "performer=Practitioner/prac1"],
    "Condition": ["clinical-status=active", "code=38341003", "recorded-date=gt2026-01-01", "encounter=Encounter/hid-enc1", "code:text=hypertension"],
    "Encounter": ["status=finished", "class=AMB", "date=2026-03-01", "participant=Practitioner/prac1", "_id=own-enc1", "_id=hid-enc1", "_id=own-enc1,hid-enc1"],
    "MedicationRequest": ["status=active", "intent=order", "requester=Practitioner/prac1", "medication=Medication/med1", "authoredon=2026-03-04"],
    "AllergyIntolerance": ["recorder=Practitioner/prac1", "date=2026-03-02", "code=764146007"],
    "DiagnosticReport": ["result=Observation/own-obs1", "result=Observation/hid-obs1", "issued=2026-03-06"],
    "Appointment": ["status=booked", "date=2026-03-20", "actor=Practitioner/prac1", "practitioner=Practitioner/prac1"],
    "Coverage": ["payor=Organization/org1", "status=active"],
    "Provenance": ["agent=Practitioner/prac1", "recorded=2026-03-01"],
}
GENERAL = ["_id={first}", "_id=no-such", "_lastUpdated=gt2020-01-01", "_tag=urn:example:tag|loaded", "_tag:not=urn:example:tag|loaded", "_profile=urn:example:none",
           "_security=urn:example:none", "_language=en"]
RESULT = ["_count=1", "_count=3", "_count=0", "_count=1000", "_count=-1", "_count=x", "_sort=_lastUpdated", "_sort=-_lastUpdated", "_sort=_id", "_sort=-date",
          "_elements=id", "_elements=subject,status", "_summary=true", "_summary=text", "_summary=data", "_summary=false", "_summary=count", "_total=none",
          "_total=accurate", "_total=estimate", "_format=json", "_format=application/fhir%2Bjson", "_format=xml", "_pretty=true", "_count=2&_sort=-_lastUpdated&_elements=code"]
REFUSED = ["subject:Patient.name=Larsen", "subject.name=Larsen", "patient.birthdate=1961-04-09", "patient.identifier=mrn-77", "encounter.class=EMER",
           "_has:Observation:patient:code=8867-4", "_has:Provenance:target:agent=x", "_include=*", "_include=Observation:subject", "_include:iterate=Observation:encounter",
           "_revinclude=Provenance:target", "_revinclude=*", "_include=Observation:has-member", "_revinclude=Observation:focus", "_filter=subject%20ne%20Patient/{own}",
           "_filter=code%20eq%208867-4", "_query=mine", "_text=Larsen", "_content=Larsen", "_list=1", "_in=1", "_contained=true", "_contained=both", "_containedType=contained",
           "code:above=8867-4", "code:below=8867-4", "code:in=http://127.0.0.1:9/vs", "code:not-in=http://127.0.0.1:9/vs", "_getpages=abc", "ct=abc", "_page_token=1",
           "_offset=1", "_getpagesoffset=0", "_cursor=1", "_cascade=delete", "_expunge=true", "_method=PUT", "_graph=true", "_mdm=true", "access_token=x", "_type=Patient",
           "_since=2020-01-01", "_at=2020", "_contentType=x", "nosuchparameter=1", "subject:identifier=urn:x|1"]


@dataclasses.dataclass(frozen=True)
class Shape:
    """One request."""

    label: str
    method: str
    target: str
    headers: tuple = ()
    body: bytes | None = None
    follow: bool = True


def shapes(own: str, hidden: str, base: str, upstream: str, resources: list[dict]) -> list[Shape]:
    """All of them, for a token bound to `own`. `base` is the gateway's base, `upstream` the server's behind it."""
    found = [*reads(resources, own, hidden), *searches(own, hidden, base, upstream), *posts(own, hidden), *oddities(own, hidden), *interactions(own, hidden, resources)]
    return found


def reads(resources: list[dict], own: str, hidden: str):
    """read, vread, HEAD and conditional reads of everything there is, and of what there is not."""
    targets = [f"{r['resourceType']}/{r['id']}" for r in resources]
    targets += [f"Patient/{hidden}", "Patient/no-such", "Observation/no-such", "Binary/hid-bin", "Observation/hid-focus", f"Observation/{own}", "Practitioner/no-such"]
    for target in dict.fromkeys(targets):
        yield Shape("read", "GET", target)
        yield Shape("vread", "GET", f"{target}/_history/1")
        yield Shape("vread of no version", "GET", f"{target}/_history/99")
        yield Shape("head", "HEAD", target)
        yield Shape("history", "GET", f"{target}/_history")
    for target in (f"Patient/{own}", f"Patient/{hidden}", "Observation/own-obs1", "Observation/hid-obs1"):
        for name, value in (("If-None-Match", 'W/"1"'), ("If-None-Match", "*"), ("If-Modified-Since", "Mon, 23 Nov 2026 00:00:00 GMT"),
                            ("If-Modified-Since", "Mon, 23 Nov 2037 00:00:00 GMT"), ("Range", "bytes=0-10"), ("Accept", "application/fhir+xml"),
                            ("Accept", "text/html"), ("Accept", "*/*"), ("Accept-Encoding", "gzip"), ("Prefer", "respond-async"), ("Prefer", "handling=lenient"),
                            ("X-HTTP-Method-Override", "DELETE"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "http"), ("Forwarded", "host=evil.example"),
                            ("X-Rewrite-History", "true"), ("X-Cascade", "delete"), ("X-Request-Tenant", "other"), ("X-Original-URL", f"/Patient/{hidden}"),
                            ("X-Request-ID", "mine"), ("Origin", "https://evil.example"), ("Upgrade", "websocket")):
            yield Shape(f"read with {name}", "GET", target, ((name, value),))
        for query in ("_format=json", "_format=xml", "_pretty=true", "_elements=id", "_summary=true", "_summary=text", "x=1", "_include=*"):
            yield Shape("read with a parameter", "GET", f"{target}?{query}")


def searches(own: str, hidden: str, base: str, upstream: str):
    """Search by GET and POST over every type, and every parameter where both records have values for it."""
    encoded = urllib.parse.quote
    for kind in [*PRIMARY, *OTHER]:
        yield Shape("search all", "GET", kind)
        yield Shape("search all by POST", "POST", f"{kind}/_search", tuple(FORM.items()), b"")
        for primary in dict.fromkeys(["patient", "subject", PRIMARY.get(kind, "patient")]):
            for value in (f"Patient/{own}", own, f"Patient/{hidden}", hidden, f"Patient/{own},Patient/{hidden}", f"{base}/Patient/{own}", f"{base}/Patient/{hidden}",
                          f"{upstream}/Patient/{hidden}", f"Patient/{own}&{primary}=Patient/{hidden}", f"Patient/{own}/_history/1", f"https://evil.example/Patient/{own}"):
                yield Shape("search by patient", "GET", f"{kind}?{primary}={encoded(value, safe='&=')}")
            for modifier in (":not", ":missing", ":Patient", ":Group", ":identifier", ":exact"):
                yield Shape("search by patient, modified", "GET", f"{kind}?{primary}{modifier}={'true' if modifier == ':missing' else own}")
        yield from (Shape("search, general parameter", "GET", f"{kind}?{q.format(first='own-' + kind[:3].lower() + '1', own=own)}") for q in GENERAL)
    for kind, queries in OWN.items():
        for query in queries:
            query = query.format(own=own)
            yield Shape("search, own parameter", "GET", f"{kind}?{query}")
            yield Shape("search, own parameter and patient", "GET", f"{kind}?patient={own}&{query}")
            yield Shape("search, own parameter by POST", "POST", f"{kind}/_search", tuple(FORM.items()), query.encode())
    for kind in ("Observation", "Patient", "Condition"):
        for query in RESULT:
            yield Shape("search, result parameter", "GET", f"{kind}?{query}")
            yield Shape("search, result parameter by POST", "POST", f"{kind}/_search", tuple(FORM.items()), query.encode())
        for query in REFUSED:
            query = query.format(own=own)
            yield Shape("search, refused parameter", "GET", f"{kind}?{query}")
            yield Shape("search, refused parameter after patient", "GET", f"{kind}?patient={own}&{query}")
            yield Shape("search, refused parameter by POST", "POST", f"{kind}/_search", tuple(FORM.items()), query.encode())


def posts(own: str, hidden: str):
    """POST _search in odd shapes: parameters in both places, wrong types of body."""
    yield Shape("post, url and body", "POST", f"Observation/_search?patient={own}", tuple(FORM.items()), b"_count=2")
    yield Shape("post, url and body disagree", "POST", f"Observation/_search?patient={own}", tuple(FORM.items()), f"patient={hidden}".encode())
    yield Shape("post, stranger in the url", "POST", f"Observation/_search?patient={hidden}", tuple(FORM.items()), f"patient={own}".encode())
    yield Shape("post, json body", "POST", "Observation/_search", tuple(JSON.items()), b"{}")
    yield Shape("post, no type", "POST", "Observation/_search", (), f"patient={own}".encode())
    yield Shape("post, form with charset", "POST", "Observation/_search", (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),), b"_count=1")
    yield Shape("post, form with utf-16", "POST", "Observation/_search", (("Content-Type", "application/x-www-form-urlencoded; charset=utf-16"),), b"_count=1")
    yield Shape("post, get with body", "GET", "Observation", tuple(FORM.items()), f"patient={hidden}".encode())
    yield Shape("post, too many", "POST", "Observation/_search", tuple(FORM.items()), b"&".join([b"status=final"] * 70))
    yield Shape("post, compartment", "POST", f"Patient/{hidden}/Observation/_search", tuple(FORM.items()), b"")


def oddities(own: str, hidden: str):
    """Paths and queries that two parsers could read differently."""
    for target in (f"Patient%2F{hidden}", f"Patient/%70{hidden[1:]}", f"Patient/{own}/../{hidden}", f"Patient/{own}%2f..%2f{hidden}", f"Patient/./{hidden}", f"./Patient/{hidden}",
                   f"/Patient/{hidden}", f"Patient//{hidden}", f"Patient/{hidden}/", f"patient/{hidden}", f"PATIENT/{hidden}", f"Patient/{hidden};a=b", f"Patient;a/{hidden}",
                   f"Patient/{own}?/../{hidden}", f"Patient/{hidden}%00", f"Patient/{hidden}%20", f"Patient/{hidden}.json", f"%50atient/{hidden}", f"Patient\\{hidden}",
                   f"%2e%2e/fhir/Patient/{hidden}", f"../fhir/Patient/{hidden}", f"Patient/{'a' * 65}", f"Patient/{own},{hidden}", f"Patient/{own}%2C{hidden}", "Patient/", "/",
                   f"Patient/{hidden}#x", f"Patient/%C3%A9", f"Patient/{own}/Patient/{hidden}", "Patient/*", f"Patient/{own}/*", "%24everything", f"Patient/{own}/%24everything"):
        yield Shape("odd path", "GET", target)
    for query in (f"%70atient={hidden}", f"patient=%70{hidden[1:]}", f"patient={own}&patient={hidden}", f"patient={own}%26patient={hidden}", f"patient={own};patient={hidden}",
                  f"patient={own}%00", f"patient={own}%2C{hidden}", f"patient={own}\\,{hidden}", f"patient={own}%5C%2C{hidden}", "patient=", "patient", "=", "&&", "?", "%", "%zz",
                  "%FF=1", f"patient={own}%0d%0aX:1", f"Patient={hidden}", f" patient={own}".replace(" ", "+"), f"patient%3Amissing=true", f"patient:Patient={hidden}",
                  f"subject:Patient={hidden}&subject={own}", f"patient[]={hidden}", f"patient.={hidden}", f"patient:={hidden}", f"code=8867-4&code=8480-6", "code=|8867-4", "code=http://loinc.org|",
                  "code=%7C", "code=\\|", "date=ap2026-03-03", "date=xx", "date=ge2026-03-02%20", "_id=" + ",".join(["a"] * 300), "_sort=subject.name", "_sort=-subject", "_elements=*",
                  "_elements=", "_summary=maybe", "_count=1&_count=2", "_count=99999999999999999999", "_lastUpdated=gt2020&_lastUpdated=lt2100", "x" * 9000 + "=1"):
        yield Shape("odd query", "GET", f"Observation?{query}")


def interactions(own: str, hidden: str, resources: list[dict]):
    """Everything that is neither read nor type search: refused for every grant, and without an effect."""
    for target in ("metadata", "metadata?_format=json", "metadata?mode=terminology", ".well-known/smart-configuration", ".well-known/openid-configuration"):
        yield Shape("public", "GET", target)
    for target in ("", "?_getpages=abc", "_history", "Observation/_history", "Patient/_history", f"?_type=Patient&_id={hidden}", "_search", "$everything", f"Patient/{own}/$everything",
                   f"Patient/{hidden}/$everything", "Patient/$everything", "Patient/$match", "$graphql?query={PatientList{id}}", f"Patient/{own}/Observation", f"Patient/{hidden}/Observation",
                   f"Patient/{own}/*", f"Encounter/hid-enc1/Observation", "Observation/$lastn?patient=" + own, "$export", "Patient/$export", "Group/1/$export", "$meta", f"Patient/{hidden}/$meta",
                   "$get-resource-counts", "$diff", f"Patient/{own}/$diff?fromVersion=1", "Observation/$validate", "ValueSet/$expand?url=http://127.0.0.1:9/", "$reindex", "swagger-ui/", "api-docs"):
        yield Shape("refused interaction", "GET", target)
    patient = next(r for r in resources if r["resourceType"] == "Patient")
    import json

    body = json.dumps(patient).encode()
    for method, target in (("PUT", f"Patient/{own}"), ("PUT", f"Patient/{hidden}"), ("POST", "Patient"), ("DELETE", f"Patient/{own}"), ("DELETE", f"Observation/hid-obs1"),
                           ("PATCH", f"Patient/{own}"), ("PUT", "Patient?identifier=mrn-77"), ("DELETE", "Observation?code=8867-4"), ("POST", f"Patient/{own}"),
                           ("POST", "Patient/$validate"), ("OPTIONS", f"Patient/{own}"), ("TRACE", f"Patient/{own}"), ("PROPFIND", "Patient"), ("POST", "$reindex"), ("CONNECT", "Patient")):
        yield Shape(f"refused {method}", method, target, tuple(JSON.items()), body)
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": f"Patient/{hidden}"}}]}
    for target in ("", "/", "_search"):
        yield Shape("refused bundle", "POST", target, tuple(JSON.items()), json.dumps(batch).encode())
    yield Shape("refused bundle", "POST", "", tuple(JSON.items()), json.dumps(batch | {"type": "transaction"}).encode())
