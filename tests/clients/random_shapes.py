"""Random requests over the whole FHIR REST surface, made again from their seed: valid, odd, encoded, nested in bundles.

The same grammar as that of `tests/all/interference`, over the two records of `tests/hapi/load.py`.
"""
import json
import random
import urllib.parse

from shapes import FORM, GENERAL, JSON, OTHER, OWN, PRIMARY, REFUSED, RESULT, Shape

TYPES = [*PRIMARY, *OTHER]
MODIFIERS = ["", "", "", "", "", ":missing", ":not", ":exact", ":contains", ":text", ":identifier", ":Patient", ":Group", ":above", ":in", ":bogus"]
NAMES = ["_id", "patient", "subject", "code", "category", "status", "date", "encounter", "performer", "actor", "target", "identifier", "name", "_count", "_sort",
         "_total", "_summary", "_elements", "_include", "_revinclude", "_include:iterate", "_has:Observation:patient:code", "patient.name", "subject.name",
         "encounter.patient.name", "_filter", "_text", "_list", "_lastUpdated", "_since", "_at", "_type", "_page", "_tag", "nosuch"]
METHODS = ["GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"]
HEADERS = [("If-None-Match", 'W/"1"'), ("If-None-Match", "*"), ("If-Match", 'W/"1"'), ("If-Modified-Since", "Mon, 01 Jan 2029 00:00:00 GMT"), ("Accept", "application/fhir+json"),
           ("Accept", "application/fhir+xml"), ("Prefer", "respond-async"), ("Prefer", "return=representation"), ("If-None-Exist", "identifier=mrn-77"),
           ("X-HTTP-Method-Override", "DELETE"), ("X-Security-Context", "Patient/p2"), ("X-Cascade", "delete"), ("Range", "bytes=0-9"), ("Origin", "https://evil.example")]


class Grammar:
    """Makes shapes for a token bound to `own`."""

    def __init__(self, seed: int, own: str, hidden: str, resources: list[dict]):
        self.dice, self.own, self.hidden = random.Random(seed), own, hidden
        self.names = [f"{r['resourceType']}/{r['id']}" for r in resources] + ["Observation/no-such", "Patient/no-such"]
        self.values = [own, hidden, f"Patient/{own}", f"Patient/{hidden}", f"Patient/{own},Patient/{hidden}", "Group/1", "Encounter/own-enc1", "Encounter/hid-enc1",
                       "8867-4", "laboratory", "final", "ge2026-03-02", "true", "1", "3", "-date", "date", "id,code", "count", "Observation:subject", "Provenance:target",
                       "MedicationRequest:medication", "accurate", "Larsen", "CAN", "own-obs1,hid-obs1", "a\\,b", "%", "", "*", f"x&patient={hidden}", "ä", "\0"]

    def shape(self) -> Shape:
        method, target, headers, body = self.request()
        headers = dict(headers)
        while self.dice.random() < 0.25:
            name, value = self.dice.choice(HEADERS)
            headers[name] = value
        if self.dice.random() < 0.05:
            method = self.dice.choice(METHODS)
        return Shape("random", method, target, tuple(headers.items()), body)

    def request(self, depth: int = 2):
        pick = self.dice.choice
        kind, name = pick(TYPES), pick(self.names)
        roll = self.dice.random()
        if roll < 0.18:
            # Often a search that is served.
            kind = pick(["Observation", *OWN])
            pairs = [f"patient={self.own}"] * self.dice.randint(0, 1) + [q.format(own=self.own) for q in self.dice.sample(OWN[kind], self.dice.randint(0, 2))]
            return "GET", f"{kind}?{'&'.join(pairs + [pick(RESULT)] * self.dice.randint(0, 1))}", {}, None
        if roll < 0.36:
            return "GET", f"{kind}{self.query(4)}", {}, None
        if roll < 0.50:
            name = pick([one for one in self.names if "/own-" in one or one == f"Patient/{self.own}"] if self.dice.random() < 0.5 else self.names)
            return "GET", f"{name}{self.query(1) if self.dice.random() < 0.2 else ''}", {}, None
        if roll < 0.58:
            return "GET", f"{name}/_history{pick(['', '/1', '/2', '/x', '?_count=1', '?_since=2020'])}", {}, None
        if roll < 0.66:
            return "POST", f"{kind}/_search{self.query(1)}", FORM, self.query(3).lstrip("?").encode()
        if roll < 0.78:
            paths = [f"{name}/{kind}", f"Patient/{self.own}/{kind}", f"Patient/{self.hidden}/{kind}", f"Patient/{self.own}/*", f"Encounter/hid-enc1/{kind}",
                     f"{kind}/_history", "_history", "", f"?_type={kind}", f"Patient/{self.own}/$everything", f"Patient/{self.hidden}/$everything", f"{name}/$everything",
                     f"{kind}/$lastn", f"{kind}/$docref?patient={self.hidden}", "$export", f"{name}/$validate", f"{name}/$meta", f"{kind}/$match", "$graphql", "$process-message"]
            return "GET", f"{pick(paths)}{self.query(2)}", {}, None
        if roll < 0.86:
            return self.change(kind, name)
        if roll < 0.94 and depth:
            entries = [self.entry(depth - 1) for _ in range(self.dice.randint(1, 4))]
            bundle = {"resourceType": "Bundle", "type": pick(["batch", "batch", "transaction", "history", ""]), "entry": entries}
            return "POST", pick(["", "/", "Bundle"]), JSON, json.dumps(bundle).encode()
        odd = [name.replace("/", "%2F"), name.replace("/", "//"), f"{name}/", f"{name};a=b", f"{name}/../{self.hidden}", name.upper(), f"./{name}", f"{name}%00", f"{name}?{'&' * 3}"]
        return "GET", pick(odd), {}, None

    def change(self, kind: str, name: str):
        pick = self.dice.choice
        of, id_ = name.split("/")
        body = {"resourceType": pick([of, kind]), "id": id_, "status": "final", "code": {"text": "x"},
                pick(["subject", "patient"]): {"reference": pick([f"Patient/{self.own}", f"Patient/{self.hidden}", f"Patient?identifier=mrn-77", "#p", "urn:uuid:x"])}}
        method = pick(["POST", "PUT", "PATCH", "DELETE"])
        if method == "PATCH":
            patch = [{"op": pick(["test", "replace", "add"]), "path": pick(["/status", "/subject/reference", "/note/0/text"]), "value": pick(["final", f"Patient/{self.hidden}"])}]
            return method, name, {"Content-Type": "application/json-patch+json"}, json.dumps(patch).encode()
        if method == "DELETE":
            return method, pick([name, f"{of}{self.query(1)}"]), {}, None
        return method, pick([of]) if method == "POST" else pick([name, f"{of}{self.query(1)}"]), JSON, json.dumps(body).encode()

    def entry(self, depth: int) -> dict:
        method, target, _, body = self.request(depth)
        entry = {"request": {"method": method, "url": self.dice.choice([target, f"/{target}", target])}}
        if self.dice.random() < 0.2:
            entry["request"][self.dice.choice(["ifMatch", "ifNoneExist", "ifNoneMatch"])] = self.dice.choice(['W/"1"', "identifier=mrn-77", "*"])
        if self.dice.random() < 0.3:
            entry["fullUrl"] = self.dice.choice(["urn:uuid:11111111-1111-4111-8111-111111111111", f"Patient/{self.hidden}", f"http://x/Patient/{self.own}"])
        try:
            entry["resource"] = json.loads(body or b"")
        except ValueError:
            pass
        return entry

    def query(self, most: int) -> str:
        pairs = []
        for _ in range(self.dice.randint(0, most)):
            roll = self.dice.random()
            if roll < 0.3:
                query = self.dice.choice([q for queries in OWN.values() for q in queries] + GENERAL)
                pairs.append(query.format(own=self.own, first="own-obs1"))
            elif roll < 0.45:
                pairs.append(self.dice.choice(RESULT))
            elif roll < 0.55:
                pairs.append(self.dice.choice(REFUSED).format(own=self.own))
            else:
                value = urllib.parse.quote(self.dice.choice(self.values), safe=self.dice.choice(["", "/,:", "/,:"]))
                pairs.append(f"{self.dice.choice(NAMES)}{self.dice.choice(MODIFIERS)}={value}")
        return f"?{'&'.join(pairs)}" if pairs else ""


def shapes(seed: int, count: int, own: str, hidden: str, resources: list[dict]) -> list[Shape]:
    """`count` different requests; the same for the same seed."""
    grammar, found = Grammar(seed, own, hidden, resources), {}
    while len(found) < count:
        found[grammar.shape()] = None
    return list(found)
