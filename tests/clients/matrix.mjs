// Real OAuth and SMART clients, each through a whole launch: npm `openid-client` and `oauth4webapi` (strict about issuer, state,
// `iss`, `id_token`, `at_hash` and the shape of metadata), npm `fhirclient` in Node, and the discovery of `fhir-kit-client`; for every
// kind of client, standalone and from an EHR, with scopes of both versions, and with refreshes.
import { createServer } from 'node:http';
import { Person, REDIRECT, SECRET, LAUNCH, Tests, expect, fetching, handle, load, site } from './site.mjs';

const openid = await load('openid-client/build/index.js');
const oauth = await load('oauth4webapi/build/index.js');
const { Client: FhirKitClient } = await load('fhir-kit-client/dist/index.js');
const fhirclient = (await load('fhirclient/build/fhir-client.pure.js').catch(() => load('fhirclient/lib/entry/node.js'))).default;

const VERSIONS = { v1: 'patient/Patient.read patient/Observation.read', v2: 'patient/Patient.rs patient/Observation.rs' };

const tests = new Tests('matrix');
const gateway = await site({
  more: ({ client, redirects, app }) => client('asymmetric', `${redirects}\njwks_file = "${app}"`),
});
const clinician = gateway.logins.find((login) => login.role === 'clinician');
const fetched = fetching(gateway);

/** The authorization request of a launch, beside what the client puts into it. */
async function asked(kind, launch, version) {
  const scope = `openid fhirUser offline_access ${launch === 'ehr' ? 'launch' : 'launch/patient'} ${VERSIONS[version]}`;
  const context = { client_id: kind, patient: 'p1', encounter: 'e1', need_patient_banner: true, intent: 'review' };
  return { scope, aud: gateway.base, ...(launch === 'ehr' && { launch: (await handle(gateway, context)).launch }) };
}

/** What every token response has, and what the token reads. */
async function usable(given, launch, scope) {
  expect(given.patient === 'p1', given);
  expect(launch !== 'ehr' || (given.encounter === 'e1' && given.need_patient_banner === true && given.intent === 'review'), given);
  expect(typeof given.expires_in === 'number' && given.token_type.toLowerCase() === 'bearer', given);
  const returned = given.scope.split(' ');
  for (const one of scope.split(' ')) expect(returned.includes(one), `${one} is missing in ${given.scope}`);
  const read = async (path) => (await gateway.http(`${gateway.base}/${path}`, { headers: { Authorization: `Bearer ${given.access_token}` } })).status;
  expect((await read('Patient/p1')) === 200 && (await read('Observation/o1')) === 200, 'the launch patient is not read');
  expect((await read('Observation/o2')) === 404 && (await read('Condition/c1')) === 403, 'more than was granted is read');
}

const person = () => new Person(gateway, clinician);

/** npm `openid-client`: discovery, the code with all its checks, two refreshes in a row. */
async function withOpenidClient(kind, launch, version) {
  const authentication = {
    public: () => openid.None(),
    symmetric: () => openid.ClientSecretBasic(SECRET),
    asymmetric: () => openid.PrivateKeyJwt({ key: gateway.keys.es384.privateKey, kid: 'es' }),
  }[kind]();
  const configuration = await openid.discovery(new URL(gateway.issuer), kind, { id_token_signed_response_alg: 'RS256' }, authentication, { [openid.customFetch]: fetched });
  configuration[openid.customFetch] = fetched;
  const verifier = openid.randomPKCECodeVerifier();
  const request = await asked(kind, launch, version);
  const [state, nonce] = [openid.randomState(), openid.randomNonce()];
  const url = openid.buildAuthorizationUrl(configuration, {
    ...request, redirect_uri: REDIRECT, state, nonce, code_challenge: await openid.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  });
  const { url: back, page } = await person().authorize(url.origin + url.pathname, [...url.searchParams]);
  expect(back?.searchParams.has('code'), `no code: ${back ?? page.status}`);
  const given = await openid.authorizationCodeGrant(configuration, back, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true });
  await usable(given, launch, request.scope);
  expect(/Practitioner\/d1$/.test(given.claims().fhirUser), given.claims());
  const told = await openid.fetchUserInfo(configuration, given.access_token, given.claims().sub);
  expect(told.fhirUser === given.claims().fhirUser, told);
  let newest = given.refresh_token;
  for (const round of [1, 2]) {
    const again = await openid.refreshTokenGrant(configuration, newest, round === 2 ? { scope: request.scope } : undefined);
    expect(again.access_token !== given.access_token, 'the token did not change');
    await usable(again, launch, request.scope);
    newest = again.refresh_token ?? newest;
  }
}

/** npm `oauth4webapi`: RFC 8414 metadata, the raw responses with all their checks, RS384 assertions, `client_secret_post`. */
async function withOauth4webapi(kind, launch, version) {
  const options = { [oauth.customFetch]: fetched };
  const issuer = new URL(gateway.issuer);
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { ...options, algorithm: 'oauth2' }));
  const authentication = {
    public: () => oauth.None(),
    symmetric: () => oauth.ClientSecretPost(SECRET),
    asymmetric: () => oauth.PrivateKeyJwt({ key: gateway.keys.rs384.privateKey, kid: 'rs' }, {
      // SMART's own audience, where the package has the issuer.
      [oauth.modifyAssertion]: (_, payload) => { payload.aud = server.token_endpoint; },
    }),
  }[kind]();
  const client = { client_id: kind, id_token_signed_response_alg: 'RS256' };
  const verifier = oauth.generateRandomCodeVerifier();
  const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
  const request = await asked(kind, launch, version);
  const { url } = await person().authorize(server.authorization_endpoint, {
    response_type: 'code', client_id: kind, redirect_uri: REDIRECT, ...request, state, nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  }, { post: true });
  const parameters = oauth.validateAuthResponse(server, client, url, state);
  const response = await oauth.authorizationCodeGrantRequest(server, client, authentication, parameters, REDIRECT, verifier, options);
  const given = await oauth.processAuthorizationCodeResponse(server, client, response, { expectedNonce: nonce, requireIdToken: true });
  await oauth.validateApplicationLevelSignature(server, response, options);
  await usable(given, launch, request.scope);
  const again = await oauth.processRefreshTokenResponse(server, client, await oauth.refreshTokenGrantRequest(server, client, authentication, given.refresh_token, options));
  await usable(again, launch, request.scope);
}

/** npm `oauth4webapi` as a resource server: what it asks for as a JWT (RFC 9701) is verified and is what comes as JSON. */
async function introspected() {
  const options = { [oauth.customFetch]: fetched };
  const issuer = new URL(gateway.issuer);
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { ...options, algorithm: 'oauth2' }));
  const client = { client_id: 'symmetric' };
  const told = async (token, requestJwtResponse) => {
    const response = await oauth.introspectionRequest(server, client, oauth.ClientSecretPost(SECRET), token, { ...options, requestJwtResponse });
    const type = response.headers.get('content-type');
    const answer = await oauth.processIntrospectionResponse(server, client, response);
    if (requestJwtResponse) await oauth.validateApplicationLevelSignature(server, response, options);
    return { type, answer };
  };
  const verifier = oauth.generateRandomCodeVerifier();
  const { url } = await person().authorize(server.authorization_endpoint, {
    response_type: 'code', client_id: 'public', redirect_uri: REDIRECT, ...(await asked('public', 'standalone', 'v2')), state: 'introspected',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  }, { post: true });
  const app = { client_id: 'public' };
  const parameters = oauth.validateAuthResponse(server, app, url, 'introspected');
  const response = await oauth.authorizationCodeGrantRequest(server, app, oauth.None(), parameters, REDIRECT, verifier, options);
  const given = await oauth.processAuthorizationCodeResponse(server, app, response);
  for (const token of [given.access_token, given.refresh_token, 'invalid_token_value']) {
    const [plain, signed] = [await told(token, false), await told(token, true)];
    expect(plain.type === 'application/json' && signed.type === 'application/token-introspection+jwt', [plain.type, signed.type]);
    expect(JSON.stringify(plain.answer) === JSON.stringify(signed.answer), { plain, signed });
    expect(plain.answer.active === (token !== 'invalid_token_value'), plain);
  }
}

/** npm `fhirclient` in Node: its launch page, its redirect, a read, a search and a refresh. */
async function withFhirclient(kind, launch, version) {
  const stored = new Map();
  const storage = { get: async (name) => stored.get(name), set: async (name, value) => { stored.set(name, value); return value; }, unset: async (name) => stored.delete(name) };
  const request = await asked(kind, launch, version);
  let sent;
  const incoming = (query) => ({ url: `/custom/smart_stu2_2/redirect?${query}`, headers: { host: 'localhost:4567' }, protocol: 'http', get: () => 'localhost:4567', socket: {} });
  const outgoing = { status() { return this; }, json() {}, redirect(to) { sent = to; }, writeHead(_, headers) { sent = headers.location ?? headers.Location; }, end() {}, setHeader(name, value) { if (/location/i.test(name)) sent = value; } };
  const begin = fhirclient(incoming(new URLSearchParams({ iss: gateway.base, ...(request.launch && { launch: request.launch }) })), outgoing, storage);
  await begin.authorize({
    client_id: kind, scope: request.scope, redirect_uri: REDIRECT, iss: gateway.base, pkceMode: 'required',
    ...(kind === 'symmetric' && { clientSecret: SECRET }), ...(kind === 'asymmetric' && { clientPrivateJwk: { ...(await exported(gateway.keys.es384)), kid: 'es' } }),
  });
  const { url } = await person().authorize(sent.split('?')[0], [...new URL(sent).searchParams]);
  const client = await fhirclient(incoming(url.searchParams), outgoing, storage).ready();
  expect(client.patient.id === 'p1', client.state.tokenResponse);
  expect(/Practitioner\/d1$/.test(client.user.fhirUser), client.user.fhirUser);
  expect((await client.patient.read()).id === 'p1', 'the patient is not read');
  expect((await client.request('Observation?patient=p1')).entry.length === 1, 'the observations are not found');
  const before = client.state.tokenResponse.access_token;
  if (kind === 'asymmetric') {
    // This package signs no assertion at a refresh, and without one a confidential client is nobody (B2 45).
    const refused = await client.refresh().catch((error) => error);
    return expect(/invalid_client/.test(String(refused)), refused);
  }
  await client.refresh();
  expect(client.state.tokenResponse.access_token !== before, 'the token did not change');
  expect((await client.patient.read()).id === 'p1', 'the refreshed token reads nothing');
}

const { jose } = await import('./site.mjs');
const exported = async ({ privateKey, alg, kid }) => ({ ...(await jose.exportJWK(privateKey)), alg, kid, key_ops: ['sign'] });

const CLIENTS = { openid_client: withOpenidClient, oauth4webapi: withOauth4webapi, fhirclient: withFhirclient };

try {
  const discovered = (await gateway.http(`${gateway.base}/.well-known/smart-configuration`)).json;
  const asymmetric = discovered.token_endpoint_auth_methods_supported.includes('private_key_jwt');
  if (!asymmetric) console.log('matrix: this gateway does not offer asymmetric clients');
  for (const [name, launches] of Object.entries(CLIENTS)) {
    for (const kind of ['public', 'symmetric', ...(asymmetric ? ['asymmetric'] : [])]) {
      for (const launch of ['standalone', 'ehr']) {
        for (const version of ['v1', 'v2']) {
          const end = name === 'fhirclient' && kind === 'asymmetric' ? 'is_refused_a_refresh_without_assertion' : 'refreshes';
          await tests.run(`${name}_${kind}_${launch}_${version}_launches_and_${end}`, () => launches(kind, launch, version));
        }
      }
    }
  }
  // I7
  await tests.run('oauth4webapi_verifies_a_signed_answer_about_a_token_and_it_is_the_plain_one', introspected);
  // D1, D10
  await tests.run('fhir_kit_client_finds_the_endpoints_whichever_document_answers_first', async () => {
    const kit = new FhirKitClient({ baseUrl: gateway.base });
    for (let round = 0; round < 10; round += 1) {
      const found = await kit.smartAuthMetadata();
      expect(found.authorizeUrl?.href === discovered.authorization_endpoint && found.tokenUrl?.href === discovered.token_endpoint, found);
    }
  });
} finally {
  await gateway.stop();
}
tests.conclude();
