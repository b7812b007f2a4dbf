"""Creating a patient and reading it back with `requests`."""
# as: provider
# scope: user/*.cruds
import json
import sys

import requests

base_url, token = sys.argv[1], sys.argv[2]
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}

patient = {"resourceType": "Patient", "name": [{"use": "official", "family": "Chalmers", "given": ["Peter"]}], "gender": "male", "birthDate": "1974-12-25"}
response = requests.post(f"{base_url}/Patient", headers=headers, data=json.dumps(patient))
print(response.status_code)
assert response.status_code == 201
patient_id = response.headers["Location"].split("/Patient/")[1].split("/")[0]

response = requests.get(f"{base_url}/Patient/{patient_id}", headers=headers)
assert response.status_code == 200
assert response.json()["name"][0]["family"] == "Chalmers"
