// SMART App Launch 2.2 for a public client in the browser: discovery, PKCE, state, token exchange and refresh.

const CLIENT_ID = "vitals-app";
const DATA = "patient/Patient.r patient/Observation.rs patient/Condition.rs patient/MedicationRequest.rs patient/Encounter.rs";
const SCOPES = { ehr: `launch openid fhirUser offline_access ${DATA}`, standalone: `launch/patient openid fhirUser offline_access ${DATA}` };
const REQUEST = "vitals.request";
const SESSION = "vitals.session";

/** The one FHIR server this app works with. A launch from any other is refused, so no link can lead it elsewhere. */
export const fhirBase = document.querySelector('meta[name="fhir-base"]').content;
const redirectUri = new URL("/app/", location.href).href;

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** Goes to the authorization endpoint; `launch` is the EHR's handle, absent when the app starts by itself; `prompt=consent` asks anew what may be seen. */
export async function authorize(iss, launch, prompt) {
  if (iss.replace(/\/$/, "") !== fhirBase) throw new Error(`This app works with ${fhirBase} only, not with ${iss}.`);
  const found = await discover(iss);
  if (!found.code_challenge_methods_supported?.includes("S256")) throw new Error("The server does not offer PKCE with S256.");
  const verifier = random();
  const challenge = base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
  const request = { state: random(), nonce: random(), verifier, iss, issuer: found.issuer, tokenEndpoint: found.token_endpoint };
  sessionStorage.removeItem(SESSION);
  sessionStorage.setItem(REQUEST, JSON.stringify(request));
  const url = new URL(found.authorization_endpoint);
  const parameters = {
    response_type: "code", client_id: CLIENT_ID, redirect_uri: redirectUri, scope: launch ? SCOPES.ehr : SCOPES.standalone,
    state: request.state, nonce: request.nonce, aud: iss, code_challenge: challenge, code_challenge_method: "S256",
  };
  if (launch) parameters.launch = launch;
  if (prompt === "consent") parameters.prompt = prompt;
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  location.replace(url);
}

/** The session after the redirect back, or the one that this tab had already; null when there is neither. */
export async function session() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has("code") && !answer.has("error")) return JSON.parse(sessionStorage.getItem(SESSION));
  history.replaceState(null, "", "/app/");
  const request = JSON.parse(sessionStorage.getItem(REQUEST));
  sessionStorage.removeItem(REQUEST);
  if (!request || answer.get("state") !== request.state) throw new Error("The answer does not belong to a request of this tab. Please launch again.");
  if (answer.has("iss") && request.issuer && answer.get("iss") !== request.issuer) throw new Error("The answer comes from another server than was asked.");
  if (answer.has("error")) throw new Error(explain(answer.get("error"), answer.get("error_description")));
  const token = await tokenRequest(request.tokenEndpoint, {
    grant_type: "authorization_code", code: answer.get("code"), redirect_uri: redirectUri, client_id: CLIENT_ID, code_verifier: request.verifier,
  });
  return remember({ iss: request.iss.replace(/\/$/, ""), tokenEndpoint: request.tokenEndpoint, user: user(token, request), token });
}

/** Reads from the FHIR server, with a fresh token when the old one is about to end or is refused. */
export async function fetchFhir(current, target) {
  if (current.expires - Date.now() < 30_000) await refresh(current);
  const url = target.startsWith("http") ? target : `${current.iss}/${target}`;
  if (!url.startsWith(`${current.iss}/`) && !url.startsWith(`${current.iss}?`)) throw new Error("The server referred to another server.");
  let response = await get(current, url);
  if (response.status === 401 && (await refresh(current))) response = await get(current, url);
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  const issue = body?.issue?.[0];
  const failure = new Error(issue?.details?.text ?? issue?.diagnostics ?? `The server answered ${response.status}.`);
  failure.status = response.status;
  throw failure;
}

/** Forgets the tokens of this tab. */
export function forget() {
  sessionStorage.removeItem(SESSION);
}

const get = (current, url) => fetch(url, { headers: { Accept: "application/fhir+json", Authorization: `Bearer ${current.token.access_token}` } });

async function discover(iss) {
  const response = await fetch(`${iss.replace(/\/$/, "")}/.well-known/smart-configuration`, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`The FHIR server has no SMART configuration (it answered ${response.status}).`);
  return response.json();
}

async function refresh(current) {
  const { refresh_token } = current.token;
  if (!refresh_token) return false;
  const token = await tokenRequest(current.tokenEndpoint, { grant_type: "refresh_token", refresh_token, client_id: CLIENT_ID });
  Object.assign(current, { token: { ...current.token, ...token } });
  remember(current);
  return true;
}

async function tokenRequest(endpoint, parameters) {
  const response = await fetch(endpoint, { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(parameters) });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(explain(body.error ?? `status ${response.status}`, body.error_description));
  return body;
}

function remember(current) {
  current.expires = Date.now() + (current.token.expires_in ?? 300) * 1000;
  sessionStorage.setItem(SESSION, JSON.stringify(current));
  return current;
}

// The token came straight from the token endpoint over TLS, so its claims may be used unsigned (OpenID Connect Core 3.1.3.7, 6).
function user(token, request) {
  if (!token.id_token) return null;
  const part = token.id_token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0))));
  if (claims.nonce !== request.nonce || ![claims.aud].flat().includes(CLIENT_ID)) throw new Error("The identity token belongs to another request.");
  return { name: claims.name, fhirUser: claims.fhirUser };
}

function explain(error, description) {
  const known = { access_denied: "Access was not given.", invalid_grant: "The sign-in has ended.", invalid_scope: "The server does not give this app what it asks for." };
  return [known[error] ?? `The server refused: ${error}.`, description].filter(Boolean).join(" ");
}
