#!/usr/bin/env python3
"""Checks the dependency tree against deny.toml: bans, licences, sources.

Takes nothing; reads deny.toml and `cargo metadata --locked` of the two packages of the tree it lies in, firebreak and its fuzz
targets. Prints one line per finding and ends with 1 when there is one. It does the part of `cargo deny check bans licenses sources` that decides, in a second, where
cargo-deny would take minutes to build; it does not look for duplicate versions and knows no advisories.
"""
import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
MANIFESTS = ["Cargo.toml", "fuzz/Cargo.toml"]


def main() -> int:
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    failed = 0
    for manifest in MANIFESTS:
        packages = built_packages(manifest, rules["graph"]["targets"])
        findings = [
            *banned(packages, rules["bans"]["deny"]),
            *unlicensed(packages, rules["licenses"]),
            *foreign(packages),
        ]
        for finding in findings:
            print(f"deny: {manifest}: {finding}", file=sys.stderr)
        print(f"deny: {manifest}: {len(packages)} packages, {len(findings)} findings")
        failed |= bool(findings)
    return int(failed)


def built_packages(manifest: str, targets: list[str]) -> list[dict]:
    """Every package that is built for one of the targets, dev and build dependencies included.

    `cargo tree` says which (the lock file and `cargo metadata` also name crates behind features that are off), `cargo
    metadata` says what each one is.
    """
    built = set()
    for target in targets:
        tree = cargo("tree", manifest, "--target", target, "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}")
        for line in tree.splitlines():
            name, version = line.split()[:2]
            built.add((name, version.removeprefix("v")))
    metadata = json.loads(cargo("metadata", manifest, "--format-version", "1"))
    return [package for package in metadata["packages"] if (package["name"], package["version"]) in built]


def cargo(verb: str, manifest: str, *arguments: str) -> str:
    command = ["cargo", verb, "--manifest-path", manifest, "--locked", "--all-features", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def banned(packages: list[dict], deny: list[dict]) -> list[str]:
    reasons = {rule["crate"]: rule["reason"] for rule in deny}
    return [
        f"`{p['name']} {p['version']}` is banned: {reasons[p['name']]}" for p in packages if p["name"] in reasons
    ]


def unlicensed(packages: list[dict], rules: dict) -> list[str]:
    def allowed(name: str) -> set[str]:
        exceptions = [rule["allow"] for rule in rules.get("exceptions", []) if rule["crate"] == name]
        return {*rules["allow"], *(licence for allow in exceptions for licence in allow)}

    return [
        f"`{p['name']} {p['version']}` has the licence `{p['license']}`, which deny.toml does not allow"
        for p in packages
        if not p["license"] or not satisfied(p["license"], allowed(p["name"]))
    ]


def foreign(packages: list[dict]) -> list[str]:
    """Sources: the root package itself, and one registry."""
    findings = []
    registries = {p["source"] for p in packages if p["source"]}
    for package in packages:
        source = package["source"]
        if source is not None and not source.startswith("registry+"):
            findings.append(f"`{package['name']} {package['version']}` comes from `{source}`, not from the registry")
        if source is None and not pathlib.Path(package["manifest_path"]).is_relative_to(ROOT):
            findings.append(f"`{package['name']} {package['version']}` comes from a path outside this tree")
    if len(registries) > 1:
        findings.append(f"packages come from {len(registries)} registries, expected one")
    return findings


def satisfied(expression: str, allow: set[str]) -> bool:
    """An SPDX expression: OR needs one side, AND needs both, WITH belongs to the licence before it."""
    tokens = re.findall(r"\(|\)|[A-Za-z0-9.+-]+", expression.replace("/", " OR "))
    position = 0

    def disjunction() -> bool:
        nonlocal position
        value = conjunction()
        while position < len(tokens) and tokens[position] == "OR":
            position += 1
            value = conjunction() or value
        return value

    def conjunction() -> bool:
        nonlocal position
        value = licence()
        while position < len(tokens) and tokens[position] == "AND":
            position += 1
            value = licence() and value
        return value

    def licence() -> bool:
        nonlocal position
        if position >= len(tokens):
            return False
        token = tokens[position]
        position += 1
        if token == "(":
            value = disjunction()
            position += 1
            return value
        if position < len(tokens) and tokens[position] == "WITH":
            token = f"{token} WITH {tokens[position + 1]}"
            position += 2
        return token in allow

    return disjunction() and position == len(tokens)


if __name__ == "__main__":
    sys.exit(main())
