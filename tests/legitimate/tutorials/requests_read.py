"""Reading a patient and the observations with `requests`."""
# as: provider
# scope: user/*.rs
import sys

import requests

base_url, token = sys.argv[1], sys.argv[2]
headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}

response = requests.get(f"{base_url}/Patient/p1", headers=headers)
response.raise_for_status()
patient = response.json()
print(patient["name"][0]["family"])

response = requests.get(f"{base_url}/Observation", params={"patient": patient["id"], "code": "http://loinc.org|8867-4"}, headers=headers)
bundle = response.json()
for entry in bundle["entry"]:
    quantity = entry["resource"]["valueQuantity"]
    print(entry["resource"]["effectiveDateTime"], quantity["value"], quantity["unit"])
assert bundle["total"] == len(bundle["entry"]) > 0
