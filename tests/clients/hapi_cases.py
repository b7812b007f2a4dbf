#!/usr/bin/env python3
"""The decision cases of `tests/decisions/` before a real FHIR server: HAPI FHIR JPA, or `--upstream URL` for another one.

The server is loaded with `world.json` (by PUT, so that ids stay), old versions included; a gateway stands in front of it, and
each case is asked with a token of exactly the claims of the case. Compared: the status; the entries, which must be those that
the server itself gives to the narrowed request of the case, asked directly; texts that must and must not be there; and no
canary for a token with a launch patient.

What a real server cannot show stands in `tests/decisions/on-a-server.json` by case and part, with the reason: skipped, or another
status. What waits for a stage is pending. All of these are printed and counted. `CASES=regex` runs those whose line matches.
"""
import argparse
import contextlib
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import gateways
import tokens
import wire
from named import Tests, expect

DIRECTORY = gateways.ROOT / "tests/decisions"
# What the cases call the server.
UPSTREAM = "http://up/fhir"
CANARY = "CANARY"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upstream", help="base URL of an empty FHIR R4 server; without it HAPI is started")
    parser.add_argument("--also", type=pathlib.Path, help="what this server answers otherwise than HAPI, a file like on-a-server.json that goes before it")
    options = parser.parse_args()
    tests = Tests("hapi_cases" if options.upstream is None else "server_cases")
    claims = read("tokens.json")
    parts = [(case["id"], part) for file in sorted((DIRECTORY / "cases").glob("*.json")) for case in json.loads(file.read_text()) for part in case["parts"]]
    with contextlib.ExitStack() as stack:
        upstream = options.upstream or stack.enter_context(gateways.hapi())
        upstream = upstream.rstrip("/")
        world = load(upstream, read("world.json"))
        named = [*claims.values(), *(part.get("claims", {}) for _, part in parts)]
        users = sorted({token.get("sub", "u1") for token in named})
        clients = sorted({token.get("client_id", "app") for token in named})
        more = "max_count = 50\n"
        gateway = stack.enter_context(tokens.served(upstream, clients, users, DIRECTORY / "policies", more))
        also = json.loads(options.also.read_text()) if options.also else []
        cases = Cases(upstream, gateway, claims, world, read("on-a-server.json") + also)

        def the_list_of_what_a_server_cannot_show_names_parts_that_there_are():
            unknown = [key for key in cases.exceptions if key not in {(number, part["description"]) for number, part in parts}]
            expect(not unknown, f"no such parts: {unknown}")

        def every_case_is_answered_as_it_must_be():
            failures = []
            wanted = os.environ.get("CASES")
            for number, part in parts:
                line = f"case {number} ({part['description']}, {part['request'][:100]})"
                if not wanted or re.search(wanted, line):
                    failures += [f"{line}: {why}" for why in cases.run(number, part)]
            expect(not failures, f"{len(failures)} failures:\n" + "\n".join(failures))
            expect(cases.ran > 150 or wanted, f"only {cases.ran} parts ran")

        def every_search_that_a_grant_for_one_patient_relies_on_is_probed_truthfully():
            failures = []
            for search_by in ("primary", "compartment", "filter", "every-parameter"):
                code, rows = checked(gateway.directory, search_by)
                unusable = [row for row in rows if row[2] == "unusable:"]
                failures += [f"{search_by}: {row} was not probed" for row in rows if row[2] not in ("honoured", "unusable:") and searched(upstream, row[0])]
                failures += [f"{search_by}: {row} is not so" for row in rows if row[2] in ("honoured", "unusable:") and (row[2] == "honoured") != confined(upstream, row)]
                expect(len(rows) > 55, f"{search_by}: only {len(rows)} rows")
                expect(code == (1 if unusable else 0), f"{search_by}: exit code {code} with {unusable}")
                print(f"{search_by}: {len(rows)} ways, unusable: {', '.join(' '.join(row[:2]) for row in unusable) or 'none'}")
                if search_by != "compartment" and options.upstream is None:
                    failures += [f"{search_by}: {row}" for row in unusable]
            expect(not failures, "\n".join(failures))

        def a_filter_finds_what_the_parameters_find_one_by_one():
            found = 0
            for patient in ("P1", "P2"):
                for resource_type, names in (("Observation", ("subject", "performer")), ("Condition", ("patient", "asserter")), ("Communication", ("subject", "sender", "recipient"))):
                    expression = " or ".join(f'{name} eq "Patient/{patient}"' for name in names)
                    each = [ids(upstream, f"{resource_type}?{name}=Patient/{patient}&_count=200") for name in names]
                    together = ids(upstream, f"{resource_type}?_count=200&_filter={urllib.parse.quote(expression)}")
                    expect(together == set().union(*each), f"{resource_type} of {patient}: {together} and {each}")
                    found += len(together)
            expect(found > 5, f"only {found} resources")

        tests.run(the_list_of_what_a_server_cannot_show_names_parts_that_there_are)
        tests.run(every_case_is_answered_as_it_must_be)
        tests.run(every_search_that_a_grant_for_one_patient_relies_on_is_probed_truthfully)
        if options.upstream is None:
            tests.run(a_filter_finds_what_the_parameters_find_one_by_one)
        cases.tell()
    return tests.conclude()


def checked(directory: pathlib.Path, search_by: str) -> tuple[int, list[list[str]]]:
    """Exit code of `firebreak check`, and type, way and what was found of each row of its table."""
    config = directory / f"{search_by}.toml"
    config.write_text((directory / "firebreak.toml").read_text().replace("[fhir]\n", f'[fhir]\nsearch_by = "{search_by}"\n'))
    done = subprocess.run([gateways.BINARY, "check", "--config", str(config)], capture_output=True, text=True, timeout=300)
    lines = [line.split() for line in done.stdout.split("searches:")[-1].splitlines()[1:] if line.startswith("        ")]
    return done.returncode, [line[:3] for line in lines]


def searched(upstream: str, resource_type: str, known: dict[str, set[str]] = {}) -> set[str]:  # noqa: B006
    """The search parameters of a type that the server says it searches."""
    if not known:
        for one in json.loads(direct(upstream, "GET", "metadata", None, (200,))[1])["rest"][0]["resource"]:
            if any(interaction["code"] == "search-type" for interaction in one.get("interaction", [])):
                known[one["type"]] = {parameter["name"] for parameter in one.get("searchParam", [])} | {"_id"}
    return known.get(resource_type, set())


def confined(upstream: str, row: list[str]) -> bool:
    """Whether the server confines a search so, asked in another way than the gateway does: it names the parameter in its
    CapabilityStatement, or finds nothing in the compartment of a patient that it does not have, or nothing by a filter of ids."""
    resource_type, way, _ = row
    if way == "_filter":
        status, body = direct(upstream, "GET", f"{resource_type}?_filter=_id%20eq%20nobody-of-that-name", None)
        return status == 200 and json.loads(body).get("total", 0) == 0 and not json.loads(body).get("entry")
    if way != "compartment":
        return way in searched(upstream, resource_type)
    status, body = direct(upstream, "GET", f"Patient/nobody-of-that-name/{resource_type}", None)
    return status == 200 and json.loads(body).get("total", 0) == 0 and not json.loads(body).get("entry")


def ids(upstream: str, search: str) -> set[str]:
    return {entry["resource"]["id"] for entry in json.loads(direct(upstream, "GET", search, None, (200,))[1]).get("entry", [])}


def read(name: str):
    return json.loads((DIRECTORY / name).read_text())


# What parts have where the upstream says something that a real one does not: to a change, or as the version of what it holds.
SCRIPTED = {"written", "etag"}
# What an operation gives in a case; a real server computes it.
RETURNED = {"answer", "answer_text", "refusal", "entries"}
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


class Cases:
    """Runs parts and counts what became of them."""

    def __init__(self, upstream: str, gateway: tokens.Served, claims: dict, world: dict, exceptions: list):
        self.upstream, self.gateway, self.claims, self.world = upstream, gateway, claims, world
        self.exceptions = {(one["case"], one["part"]): one for one in exceptions}
        self.connection = wire.Connection(gateway.port, tokens.ORIGIN.removeprefix("https://"))
        self.ran, self.left = 0, {}

    def run(self, number: int, part: dict) -> list[str]:
        """What is wrong with the answer; nothing, too, when the part is left out for a reason that is counted."""
        exception = self.exceptions.get((number, part["description"]), {})
        why = None
        if part.get("stage"):
            why = f"pending until `{part['stage']}` is built"
        elif part.get("shown_by"):
            why = "shown over a socket by a test in tests/all"
        elif "status" not in exception and exception:
            why = exception["because"]
        elif "$" in part["request"] and RETURNED & set(part):
            why = "what the operation returns is part of the case: shown before the recording upstream (tests/all/request_path)"
        elif SCRIPTED & set(part):
            why = "what the upstream says to a change is part of the case: shown before the recording upstream (tests/all/request_path)"
        if why:
            self.left.setdefault(why, []).append(f"{number:>3} {part['description']}")
            return []
        self.ran += 1
        try:
            return self.failures(part, exception.get("status", part["expect"]["status"]), exception)
        except Exception as error:  # noqa: BLE001: whatever it is, this part failed and the others go on
            self.connection.close()
            return [f"{type(error).__name__}: {error}"]

    def failures(self, part: dict, status: int, exception: dict) -> list[str]:
        method, target = part["request"].split(" ", 1)
        token = self.claims.get(part["token"], {}) | part.get("claims", {}) if part.get("token") else None
        with self.stored(part, target), self.restored(method):
            headers = [(name, self.here(value)) for name, value in part.get("headers", [])]
            names = {name.lower() for name, _ in headers}
            body, media_type = self.body(part)
            if body is not None and "content-type" not in names:
                headers.append(("Content-Type", media_type))
            if token is not None and "authorization" not in names:
                headers.append(("Authorization", f"Bearer {self.gateway.signer.sign(signable(token))}"))
            if part.get("page"):
                target = self.page(part, target)
            if part.get("link"):
                target = self.link(part, target)
            answer = self.connection.send(method, self.here(target), headers, body)
        text = answer.text()
        found = [] if answer.status == status else [f"status {answer.status} instead of {status}: {text[:300]}"]
        if exception.get("status") is not None:
            return found
        expected = part["expect"]
        if expected.get("entries") is not None and status == 200:
            released = entries(text)
            by_the_server = self.narrowed(expected.get("upstream")) if expected.get("upstream") else None
            missing = [one for one in expected["entries"] if one not in released]
            if missing:
                found.append(f"entries {released} lack {missing}")
            if by_the_server is not None and sorted(released) != sorted(by_the_server):
                found.append(f"entries {released}, and the server gives {by_the_server} to the narrowed request")
        found += [f"lacks `{has}`: {text[:300]}" for has in map(self.here, expected.get("has", [])) if has not in text]
        found += [f"has `{lacks}`: {text[:300]}" for lacks in map(self.here, expected.get("lacks", [])) if lacks in text]
        if token is not None and token.get("patient") is not None and CANARY in text + repr(answer.headers):
            found.append(f"a canary: {text[:300]}")
        if urllib.parse.urlsplit(self.upstream).netloc in text and self.upstream not in self.here(part["request"]):
            found.append(f"the server's address: {text[:300]}")
        return found

    def body(self, part: dict) -> tuple[bytes | None, str]:
        """What is sent, and as what unless the part says it."""
        if part.get("form") is not None:
            return self.here(part["form"]).encode(), "application/x-www-form-urlencoded"
        if part.get("nested"):
            return b"[" * part["nested"], "application/fhir+json"
        text = part["body_text"] if "body_text" in part else "body" in part and json.dumps(part["body"], ensure_ascii=False)
        patch = part["request"].startswith("PATCH ")
        return (self.here(text).encode(), "application/json-patch+json" if patch else "application/fhir+json") if text is not False else (None, "")

    @contextlib.contextmanager
    def restored(self, method: str):
        """What is changed meanwhile is put back afterwards, so that no part finds what another one left."""
        if method.upper() not in CHANGING:
            yield
            return
        since = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            yield
        finally:
            names = changed(self.upstream, since)
            for name in names:
                if name in self.world:
                    direct(self.upstream, "PUT", name, self.world[name], (200, 201))
            created = [name for name in names if name not in self.world]
            # What another refers to goes after that one.
            for _ in range(len(created)):
                created = [name for name in created if direct(self.upstream, "DELETE", name)[0] not in (200, 204, 404, 410)]
            if created:
                raise AssertionError(f"the server keeps {created}")

    def page(self, part: dict, target: str) -> str:
        """The `next` link of a first page of one, as the token that the case names was given it."""
        token = self.gateway.signer.sign(signable(self.claims[part["page"]["token"]]))
        first = self.connection.send("GET", f"{target}?_count=1", [("Authorization", f"Bearer {token}")])
        links = {link["relation"]: link["url"] for link in json.loads(first.text()).get("link", [])}
        return links["next"].removeprefix(tokens.ORIGIN)

    def link(self, part: dict, target: str) -> str:
        """The link to a Binary in the resource that the case names, as its token was given it."""
        token = self.gateway.signer.sign(signable(self.claims[part["link"]["token"]]))
        parent = self.connection.send("GET", f"/fhir/{part['link']['parent']}", [("Authorization", f"Bearer {token}")])
        link = re.search(re.escape(tokens.ORIGIN + target) + r"\?gw=[\w-]+", parent.text())
        if link is None:
            raise LookupError(f"no link to {target} in {parent.text()[:300]}")
        return link.group().removeprefix(tokens.ORIGIN)

    @contextlib.contextmanager
    def stored(self, part: dict, target: str):
        """The resource that the case says the server has, as long as it is asked for."""
        if part.get("answer") is None:
            yield
            return
        resource = json.loads(self.here(json.dumps(part["answer"])))
        name = f"{resource['resourceType']}/{resource['id']}"
        before = direct(self.upstream, "GET", name)
        direct(self.upstream, "PUT", name, resource, (200, 201))
        try:
            yield
        finally:
            if before[0] == 200:
                direct(self.upstream, "PUT", name, json.loads(before[1]), (200, 201))
            else:
                direct(self.upstream, "DELETE", name, None, (200, 204))

    def narrowed(self, line: str) -> list[str] | None:
        """What the server itself gives to the upstream request of a case."""
        if line == "none":
            return []
        if " and " in line:
            # Searched in parts: each resource once.
            found = [self.narrowed(one) for one in line.split(" and ")]
            return None if None in found else list(dict.fromkeys(one for part in found for one in part))
        method, path, *query = line.split(" ", 2)
        if method != "POST" or not path.endswith("/_search"):
            return None
        pairs = [pair.split("=", 1) for pair in query[0].split("&")] if query else []
        url = f"{path.removesuffix('/_search')}?{urllib.parse.urlencode([(name, self.here(value)) for name, value in pairs])}"
        status, body = direct(self.upstream, "GET", url)
        return entries(body) if status == 200 else None

    def here(self, text: str) -> str:
        quoted = urllib.parse.quote(UPSTREAM, safe="")
        return text.replace(UPSTREAM, self.upstream).replace(quoted, urllib.parse.quote(self.upstream, safe=""))

    def tell(self) -> None:
        """What was left out, and why."""
        print(f"    {self.ran} parts ran; left out: {sum(map(len, self.left.values()))}")
        for why, parts in sorted(self.left.items()):
            print(f"    {len(parts)}: {why}")
            for part in parts:
                print(f"      {part}")


def changed(upstream: str, since: str) -> list[str]:
    """The resources that were written or deleted, by the server's own history."""
    status, body = direct(upstream, "GET", f"_history?_since={since}&_count=200")
    if status != 200:
        raise AssertionError(f"the server has no history to restore it by: {status} {body[:300]}")
    named = [one.get("fullUrl", "") or one["request"]["url"] for one in json.loads(body).get("entry", [])]
    return sorted({"/".join(url.removeprefix(upstream).strip("/").split("/")[:2]) for url in named})


def signable(claims: dict) -> dict:
    """Claims without those that are null: a token does not have them."""
    return {name: value for name, value in claims.items() if value is not None}


def entries(text: str) -> list[str]:
    try:
        return [f"{one['resource']['resourceType']}/{one['resource'].get('id')}" for one in json.loads(text).get("entry", [])]
    except ValueError:
        return ["no bundle"]


def direct(upstream: str, method: str, target: str, resource=None, allowed=None):
    """A request to the server itself; an answer of another status than `allowed` is an error."""
    data = None if resource is None else json.dumps(resource).encode()
    headers = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json", "Cache-Control": "no-cache"}
    request = urllib.request.Request(f"{upstream}/{target}" if target else upstream, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, body = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read().decode("utf-8", "replace")
    if allowed and status not in allowed:
        raise AssertionError(f"the server answered {status} to {method} {target}: {body[:300]}")
    return status, body


def load(upstream: str, world: dict) -> dict:
    """What the server holds afterwards, by name. First everything in its first version, in one transaction since there are circles; then later versions, one by one.
    References by the server's own address become relative: HAPI takes no others."""
    text = json.dumps(world).replace(f"{UPSTREAM}/", "")
    versions: dict[str, list] = {}
    for key, resource in json.loads(text).items():
        name, _, version = key.partition("/_history/")
        resource.get("meta", {}).pop("versionId", None)
        versions.setdefault(name, []).append((int(version) if version else 1_000_000, resource))
    ordered = {name: [resource for _, resource in sorted(found, key=lambda one: one[0])] for name, found in versions.items()}
    entry = [{"fullUrl": f"{upstream}/{name}", "resource": found[0], "request": {"method": "PUT", "url": name}} for name, found in ordered.items()]
    direct(upstream, "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entry}, (200,))
    for name, found in ordered.items():
        for resource in found[1:]:
            direct(upstream, "PUT", name, resource, (200, 201))
    # A resource that was and is no more.
    gone = {"resourceType": "Observation", "id": "o3", "status": "final", "code": {"text": CANARY}, "subject": {"reference": "Patient/P2"}}
    direct(upstream, "PUT", "Observation/o3", gone, (200, 201))
    direct(upstream, "DELETE", "Observation/o3", None, (200, 204))
    return {name: found[-1] for name, found in ordered.items()}


if __name__ == "__main__":
    sys.exit(main())
