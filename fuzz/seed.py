#!/usr/bin/env python3
"""Makes fuzz/seeds/ from what the tests ask and answer: the decision cases and their world, the scopes, smuggled messages and
JSON texts of the unit tests. What begins with `regression-` is an input that once failed, and stays as it is."""
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
SEEDS = ROOT / "fuzz/seeds"
CASES = [case for path in sorted((ROOT / "tests/decisions/cases").glob("*.json")) for case in json.loads(path.read_text())]
PARTS = [part for case in CASES for part in case["parts"]]
WORLD = json.loads((ROOT / "tests/decisions/world.json").read_text())
TYPES = re.findall(r'"(\w+)",', (ROOT / "fuzz/targets/search.rs").read_text().split("const TYPES")[1].split("];")[0])


def main() -> None:
    for target, seeds in {
        "scope": scopes(),
        "search": searches(),
        "fhir_request": connections(),
        "json_walk": texts(),
        "jws": signed(),
        "bundle_filter": answers(),
        "link_rewrite": resources(),
        "patch": patches(),
    }.items():
        directory = SEEDS / target
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.iterdir():
            if not old.name.startswith("regression-"):
                old.unlink()
        for name, seed in seeds.items():
            (directory / name).write_bytes(seed if isinstance(seed, bytes) else seed.encode())


def numbered(seeds) -> dict:
    return {f"{number:02}": seed for number, seed in enumerate(dict.fromkeys(seeds))}


def scopes() -> dict:
    tokens = json.loads((ROOT / "tests/decisions/tokens.json").read_text())
    literals = re.findall(r'"((?:patient|user|system|launch|http)[/:][^"\\\n]*)"', (ROOT / "src/smart/scope/tests.rs").read_text())
    texts = [token["scope"] for token in tokens.values()]
    texts += ["openid fhirUser profile offline_access online_access launch launch/patient launch/encounter"]
    return numbered(texts + [" ".join(literals[start : start + 6]) for start in range(0, min(len(literals), 60), 6)])


def searches() -> dict:
    seeds = []
    for part in PARTS:
        found = re.match(r"GET /fhir/(\w+)\?(.*)", part.get("request", ""))
        if found and found[1] in TYPES and len(found[2]) < 300:
            seeds.append(chr(TYPES.index(found[1])) + found[2])
    return numbered(seeds[:48])


def connections() -> dict:
    seeds = []
    for part in PARTS[::3]:
        method, _, target = part.get("request", "").partition(" ")
        if not target.isascii() or len(target) > 300:
            continue
        form = part.get("form", "")
        lines = [f"{method} {target} HTTP/1.1", "Host: gw.example", "Authorization: Bearer x"]
        lines += [line for line in part.get("headers", []) if isinstance(line, str) and line.isascii()]
        if form:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form.encode())}"]
        seeds.append("\r\n".join(lines) + "\r\n\r\n" + form)
    seeds = seeds[:32]
    head, hidden = "POST /fhir/Observation/_search HTTP/1.1\r\nHost: a\r\n", "GET /fhir/Patient/P2 HTTP/1.1\r\nHost: a\r\n\r\n"
    form = "Content-Type: application/x-www-form-urlencoded\r\n"
    seeds += [
        f"{head}{form}Transfer-Encoding: chunked\r\n\r\n6\r\ncode=1\r\n0\r\n\r\n{hidden}",
        f"{head}{form}Content-Length: 6\r\n\r\ncode=1\r\n{hidden}{hidden}",
        f"{head}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        f"{head}Content-Length: 0\r\nContent-Length: 33\r\n\r\n{hidden}",
        f"{head}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{hidden}",
        f"{head}Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n{hidden}",
        f"{head}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{hidden}",
        f"GET /fhir/Patient/P1 HTTP/1.1\nHost: a\n\n{hidden}",
        f"GET http://evil/fhir/Patient/P1 HTTP/1.1\r\nHost: a\r\n\r\n{hidden}",
        f"GET /fhir/Patient/P1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n{hidden}",
        f"{head}Expect: 100-continue\r\nContent-Length: 6\r\n\r\ncode=1{hidden}",
    ]
    return numbered(seeds)


def texts() -> dict:
    seeds = [json.dumps(WORLD["Observation/o1"], indent=1), json.dumps(WORLD["Patient/P1"], separators=(",", ":"))]
    seeds += [
        '{ "a":1.10, "b":[1e400,12345678901234567890,-0.0], "c":"\\u00e9\\ud83d\\ude00\\/" }',
        '{"a":1,"\\u0061":2}', '["\\ud800"]', "[1,2,]", '{"a":{"a":{"a":[[[[]]]]}}}', '"\x01"', "\ufeff{}", "01", "[1] 2",
        "[" * 70 + "]" * 70, "[\n" * 64 + "]" * 64, json.dumps({f"k{number}": number for number in range(40)}), ' \n\t{"":""}\r\n', "tru", "-",
    ]  # fmt: skip
    return numbered(seeds)


def patches() -> dict:
    document = json.dumps({**WORLD["Observation/o1"], "valueQuantity": {"value": 1.10}, "performer": [{"display": "a/b~c"}, {}]})
    asked = [part["body"] for part in PARTS if part["request"].startswith("PATCH ") and isinstance(part.get("body"), list)]
    asked += [
        [{"op": "add", "path": "/performer/-", "value": 1}, {"op": "move", "from": "/performer/0", "path": "/performer/1"}],
        [{"op": "copy", "from": "", "path": "/performer/0/x"}, {"op": "test", "path": "/status", "value": "final"}],
        [{"op": "move", "from": "/performer", "path": "/performer/0"}, {"op": "remove", "path": "/performer/00"}],
        [{"op": "add", "path": "/a~1b~0c", "value": {}}, {"op": "replace", "path": "/a~1b~0c", "value": [1e3, "\u00e9"]}],
        [{"op": "remove", "path": "/meta"}, {"op": "test", "path": "/meta", "value": None}], [],
    ]  # fmt: skip
    return numbered(f"{document}\n{json.dumps(patch)}" for patch in asked)


def signed() -> dict:
    now = 1_800_000_000
    access = {"iss": "https://gw.example", "sub": "dr", "aud": "https://gw.example/fhir", "client_id": "app", "iat": now,
              "exp": now + 300, "jti": "j", "scope": "patient/*.rs", "gid": "g", "patient": "P1", "roles": ["clinician"]}  # fmt: skip
    assertion = {"iss": "c", "sub": "c", "aud": "https://gw.example/token", "exp": now + 100, "jti": "1", "iat": now}
    proof = {"jti": "1", "htm": "GET", "htu": "https://gw.example/fhir/Patient/P1", "iat": now,
             "ath": "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A"}  # fmt: skip
    said = lambda choice, header, claims: bytes([choice]) + f"{json.dumps(header)}\n{json.dumps(claims)}".encode()
    seeds = [bytes([kind]) + changes for kind in (0, 1, 2) for changes in (b"", b"\x05\x00A", b"\x40\x00.\x41\x00.", b"\x01", b"\xff\xff=")]
    seeds += [
        said(3, {"alg": "ES256", "typ": "at+jwt", "kid": "KID"}, access),
        said(3, {"alg": "ES256", "typ": "at+jwt", "kid": "KID"}, {**access, "exp": now}),
        said(3, {"alg": "ES256", "typ": "at+jwt", "kid": "KID"}, {**access, "nbf": now + 60}),
        said(3, {"alg": "ES256", "typ": "at+jwt", "kid": "KID"}, {**access, "aud": ["https://gw.example/fhir"]}),
        said(3, {"alg": "none", "typ": "at+jwt", "kid": "KID"}, access),
        said(3, {"alg": "ES256", "typ": "JWT", "kid": "KID", "crit": ["b64"], "b64": False}, access),
        said(4, {"alg": "ES384", "typ": "JWT", "kid": "k"}, assertion),
        said(4, {"alg": "ES384", "typ": "JWT", "kid": "k"}, {**assertion, "exp": now + 4000}),
        said(4, {"alg": "ES384", "kid": "k", "jku": "https://evil.example/jwks"}, assertion),
        said(4, {"alg": "HS384", "typ": "JWT", "kid": "k"}, assertion),
        said(5, {"alg": "ES256", "typ": "dpop+jwt", "jwk": "KEY"}, proof),
        said(5, {"alg": "ES256", "typ": "dpop+jwt", "jwk": "KEY"}, {**proof, "iat": now - 100}),
        said(5, {"alg": "ES256", "typ": "dpop+jwt", "jwk": "KEY"}, {**proof, "htu": "https://gw.example/fhir/Patient/P2"}),
        said(5, {"alg": "ES256", "typ": "dpop+jwt", "jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}}, proof),
        b"\x06" + json.dumps({"keys": [
            {"kty": "EC", "kid": "a", "crv": "P-384", "use": "sig", "alg": "ES384",
             "x": "qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3",
             "y": "NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f"},
            {"kty": "oct", "kid": "b", "k": "AQAB"}]}).encode(),
        b"\x06" + json.dumps({"keys": [{"kty": "EC", "kid": "a", "d": "AQAB"}, {"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"}]}).encode(),
        b"\x07eyJhbGciOiJub25lIn0.e30.", b"\x07a.b.c",
    ]  # fmt: skip
    return numbered(seeds)


def entry(resource: dict, mode: str = "match") -> dict:
    return {"fullUrl": f"http://up.internal/fhir/Observation/{resource.get('id', '')}", "resource": resource,
            "search": {"mode": mode, "score": 0.5}}  # fmt: skip


def observation(name: str, patient: str, **more) -> dict:
    canary = {} if patient == "P1" else {"note": [{"text": f"CANARY {name}"}]}
    return {"resourceType": "Observation", "id": name, "subject": {"reference": f"Patient/{patient}"}, **canary, **more}


def answers() -> dict:
    own, other = observation("o1", "P1", valueQuantity={"value": 1.10}), observation("o2", "P2")
    absolute = observation("o3", "P1", performer=[{"reference": "http://up.internal/fhir/Practitioner/d1"}])
    absolute["subject"] = {"reference": "http://up.internal/fhir/Patient/P1", "display": "http://up.internal/fhir"}
    outcome = {"resourceType": "OperationOutcome", "id": "CANARY", "issue": [{"severity": "warning", "code": "not-found", "diagnostics": "CANARY"}]}
    links = [{"relation": relation, "url": f"http://up.internal/fhir?_getpages=CANARY&page={relation}"} for relation in ("self", "next", "prev", "hub")]
    bundle = lambda entries, **more: json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries, **more})
    return numbered([
        bundle([entry(own)], id="CANARY", total=7, link=links, meta={"lastUpdated": "2026-01-01T00:00:00Z", "source": "#x"}),
        bundle([entry(own), entry(other)]),
        bundle([entry(own), entry(other, "include"), entry(outcome, "outcome")]),
        bundle([entry(absolute), entry({"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Careful"}]}, "include"),
                entry({"resourceType": "Patient", "id": "P2", "name": [{"family": "CANARY"}]}, "include"),
                entry({"resourceType": "CareTeam", "id": "t1", "subject": {"reference": "Patient/P1"}}, "include"),
                entry({"resourceType": "RelatedPerson", "id": "r1", "patient": {"reference": "Patient/P2"}, "name": "CANARY"}, "include")]),
        bundle([entry(own), entry({"resourceType": "DiagnosticReport", "id": "d1", "subject": {"reference": "Patient/P1"}}, "include"),
                entry({"resourceType": "DiagnosticReport", "id": "d2", "subject": {"reference": "Patient/P2"},
                       "result": [{"reference": "Observation/o1"}], "conclusion": "CANARY"}, "include")]),
        bundle([entry(absolute), entry(own), {"fullUrl": "http://up.internal/fhir/Observation/CANARY"}]),
        bundle([{"resource": own, "request": {"url": "CANARY"}, "response": {"location": "CANARY"}}], signature={"data": "CANARY"}),
        bundle([entry(observation("o4", "P2", performer=[{"reference": "Patient/P1"}, {"reference": "Patient/P2"}]))]),
        bundle([entry({"resourceType": "Patient", "id": "P1", "name": [{"family": "CANARY"}]})]),
        bundle([entry({**own, "subject": {"reference": "Patient/P1/_history/2"}, "contained": [other]})]),
        bundle([entry({**own, "subject": {"identifier": {"value": "P1"}, "type": "Patient"}})]),
        bundle([], timestamp="2026-01-01T00:00:00Z"),
        json.dumps(outcome), json.dumps(own), "[]",
        bundle([entry(own)], total=1).replace('"Patient/P1"', '"\\u0050atient\\/P1"'),
    ])  # fmt: skip


def resources() -> dict:
    base = "http://store/fhir"
    document = {
        "resourceType": "DocumentReference", "id": "d", "url": f"{base}/DocumentReference/canonical",
        "meta": {"profile": [f"{base}/StructureDefinition/x"], "source": base},
        "extension": [{"url": f"{base}/e", "valueUrl": f"{base}/Patient/p1"}, {"url": "x", "extension": [{"url": base, "valueUri": f"{base}/x"}]}],
        "identifier": [{"system": f"{base}/mrn", "value": base}],
        "contained": [{"resourceType": "Library", "url": f"{base}/Library/l", "content": [{"url": f"{base}/Binary/c"}]}],
        "subject": {"reference": f"{base}/Patient/p1", "display": base},
        "content": [{"attachment": {"url": f"{base}/Binary/b", "title": base, "size": 12345678901234567890}}],
    }  # fmt: skip
    urls = ["hhttp://store/fhir/a", "http://store:80/fhir/a", "HTTP://STORE/fhir", "http://store/fhirX", "http://x@store/fhir", "//store/fhir",
            "http://store/fhir/../a", "http://store/fhir/%2e%2e", "http://store\\fhir", "https://up.internal:8443/r4/Patient/1?x#y",
            " http://store/fhir", "http:///store/fhir", "http://st%6fre/fhir", "http://store/fhir?x=http://store/fhir"]  # fmt: skip
    references = {"resourceType": "List", "entry": [{"item": {"reference": url}} for url in urls]}
    bundle = {"resourceType": "Bundle", "link": [{"relation": "self", "url": f"{base}/x"}],
              "entry": [{"fullUrl": f"{base}/Patient/p", "resource": {"url": base}, "response": {"location": f"{base}/Patient/p/_history/1"}}]}  # fmt: skip
    escaped = json.dumps(document).replace("/", "\\/").replace("store", "st\\u006fre")
    return numbered([json.dumps(document), json.dumps(references), json.dumps(bundle), escaped, json.dumps(WORLD["Observation/o1"]),
                     '{"reference":{"reference":"http://store/fhir/A"},"location":[{"url":["http://store/fhir/B",{"url":"http://store/fhir/C"}]}]}'])  # fmt: skip


if __name__ == "__main__":
    main()
