"""Counting with `fhirpy`."""
# as: provider
# scope: user/*.rs
import sys

from fhirpy import SyncFHIRClient

client = SyncFHIRClient(sys.argv[1], authorization=f"Bearer {sys.argv[2]}")

count = client.resources("Observation").search(patient="p1").count()
print(count)
assert count >= 12
