// Where a launch begins: with `iss` and `launch` from an EHR, or with `iss` alone.
import { authorize, fhirBase } from "./smart.js";
import { fail } from "./page.js";

const asked = new URLSearchParams(location.search);
authorize(asked.get("iss") ?? fhirBase, asked.get("launch"), asked.get("prompt")).catch(fail);
