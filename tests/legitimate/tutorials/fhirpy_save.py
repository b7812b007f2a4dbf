"""Creating, changing and deleting a patient with `fhirpy`."""
# as: provider
# scope: user/*.cruds
import sys

from fhirpy import SyncFHIRClient

client = SyncFHIRClient(sys.argv[1], authorization=f"Bearer {sys.argv[2]}")

patient = client.resource("Patient", name=[{"text": "First"}], gender="male")
patient.save()
print(patient.id)
patient["name"][0]["text"] = "Second"
patient.save()
again = client.reference("Patient", patient.id).to_resource()
assert again["name"][0]["text"] == "Second"
patient.delete()
