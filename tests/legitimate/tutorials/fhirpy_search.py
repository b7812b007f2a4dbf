"""Searching with `fhirpy`: search, limit, fetch_all, first."""
# as: provider
# scope: user/*.rs
import sys

from fhirpy import SyncFHIRClient

client = SyncFHIRClient(sys.argv[1], authorization=f"Bearer {sys.argv[2]}")

observations = client.resources("Observation").search(patient="p1").limit(5)
page = observations.fetch()
everything = observations.fetch_all()
print(len(page), len(everything))
assert len(page) == 5 and len(everything) >= 12

patient = client.resources("Patient").search(name="Larsen", birthdate="1961-04-09").first()
print(patient["name"][0]["family"])
assert patient["id"] == "p1"
assert client.reference("Patient", "p1").to_resource()["birthDate"] == "1961-04-09"
