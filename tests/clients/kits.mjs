// What the public conformance kits for SMART App Launch and the US certification assert, in our own words: discovery, launches,
// tokens, refresh, identity, and what has to be refused, driven as those kits do it: over HTTP, with a cookie jar and posted forms,
// from `http://localhost:4567`, the request posted from another site, the whole granted scope text at a refresh.
import { createPublicKey, createVerify } from 'node:crypto';
import { execFile } from 'node:child_process';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { ORIGIN, Person, REDIRECT, REDIRECT_QUERY, SECRET, Tests, assert, expect, handle, pkce, site } from './site.mjs';

const STANDALONE = 'launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs patient/Condition.rs';
const EHR = 'launch openid fhirUser offline_access user/Patient.rs user/Observation.rs user/Encounter.rs user/Practitioner.rs';
const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

const tests = new Tests('kits');
const gateway = await site({
  more: ({ client, redirects, app }) => `${client('asymmetric', `${redirects}\njwks_file = "${app}"`)}
[[client]]
client_id = "backend"
jwks_file = "${app}"
grant_types = ["client_credentials"]
scope = "system/Patient.rs system/Observation.rs"
roles = ["backend"]

[brands]
name = "Larkspur Hospital"
website = "https://larkspur.example"
portal = "https://larkspur.example/portal"
`,
});
const clinician = gateway.logins.find((login) => login.role === 'clinician');
const patient = gateway.logins.find((login) => login.role === 'patient');
const get = (url, headers = {}) => gateway.http(url, { headers });
const fhir = (path, token, headers = {}) => get(`${gateway.base}/${path}`, { ...(token && { Authorization: `Bearer ${token}` }), ...headers });
const configuration = (await get(`${gateway.base}/.well-known/smart-configuration`)).json;
const offered = {
  asymmetric: configuration.token_endpoint_auth_methods_supported.includes('private_key_jwt'),
  backend: configuration.grant_types_supported.includes('client_credentials'),
  introspection: Boolean(configuration.introspection_endpoint),
  revocation: Boolean(configuration.revocation_endpoint),
};
const KINDS = ['public', 'symmetric', ...(offered.asymmetric ? ['asymmetric'] : [])];
for (const [what, there] of Object.entries(offered)) if (!there) console.log(`kits: this gateway does not offer ${what}`);

/** The client's part of a token request, as the kits send it. */
async function authenticated(kind, alg = 'es384') {
  if (kind === 'public') return { form: { client_id: 'public' }, headers: {} };
  if (kind === 'symmetric') return { form: {}, headers: { Authorization: `Basic ${Buffer.from(`symmetric:${SECRET}`).toString('base64')}` } };
  const assertion = await assert(gateway.keys[alg], { client: kind, audience: configuration.token_endpoint });
  return { form: { client_assertion_type: JWT_BEARER, client_assertion: assertion }, headers: {} };
}

/** POST to the token endpoint from the kits' origin. */
const token = (form, headers = {}) => gateway.http(configuration.token_endpoint, { method: 'POST', form, headers: { Origin: ORIGIN, ...headers } });

/** The redirect that an authorization request ends in. `change` alters its parameters; `undefined` takes one away. */
async function authorized(kind, scope, { login = clinician, person = {}, change = {}, post = true, redirect = REDIRECT } = {}) {
  const { verifier, challenge } = pkce();
  const state = crypto.randomUUID();
  const all = { response_type: 'code', client_id: kind, redirect_uri: redirect, scope, state, aud: gateway.base, code_challenge: challenge, code_challenge_method: 'S256', ...change };
  const parameters = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const { url, page } = await new Person(gateway, login, person).authorize(configuration.authorization_endpoint, parameters, { post });
  return { url, page, verifier, state, redirect };
}

/** The exchange of a code. */
async function exchanged(kind, { url, verifier, redirect }, { change = {}, alg } = {}) {
  expect(url?.searchParams.has('code') && !url.searchParams.has('error'), `no code: ${url}`);
  const { form, headers } = await authenticated(kind, alg);
  const all = { grant_type: 'authorization_code', code: url.searchParams.get('code'), redirect_uri: redirect, code_verifier: verifier, ...form, ...change };
  return token(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)), headers);
}

/** A token response whose every member is what the kits want it to be. */
function good(reply, asked) {
  expect(reply.status === 200, reply);
  expect(/no-store/.test(reply.headers['cache-control']) && /no-cache/.test(reply.headers.pragma), reply.headers);
  const body = reply.json;
  for (const name of ['access_token', 'token_type', 'scope']) expect(typeof body[name] === 'string' && body[name].trim(), `${name}: ${JSON.stringify(body)}`);
  expect(body.token_type.toLowerCase() === 'bearer' && typeof body.expires_in === 'number' && body.expires_in <= 3600, body);
  for (const name of ['refresh_token', 'id_token', 'patient', 'encounter', 'intent', 'tenant', 'smart_style_url']) {
    expect(body[name] === undefined || typeof body[name] === 'string', `${name}: ${JSON.stringify(body)}`);
  }
  const given = body.scope.split(' ');
  for (const scope of asked.split(' ')) expect(given.includes(scope), `\`${scope}\` is missing in \`${body.scope}\``);
  return body;
}

async function launched(kind, scope, options) {
  return good(await exchanged(kind, await authorized(kind, scope, options)), scope);
}

async function refreshed(kind, form) {
  const { form: own, headers } = await authenticated(kind);
  return token({ grant_type: 'refresh_token', ...form, ...own }, headers);
}

const refused = (reply, statuses, error) => expect(statuses.includes(reply.status) && reply.json?.error === error, `${reply.status} ${reply.text}, expected ${statuses} ${error}`);

/** The claims of the `id_token`, by the documents that its issuer publishes and nothing else. */
async function identity(body, kind) {
  const [head, claims] = body.id_token.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url')));
  expect(head.alg === 'RS256' && head.kid, head);
  const discovered = await get(`${claims.iss.replace(/\/$/, '')}/.well-known/openid-configuration`);
  expect(discovered.status === 200 && discovered.headers['content-type'].startsWith('application/json'), discovered);
  for (const name of ['issuer', 'authorization_endpoint', 'token_endpoint', 'jwks_uri', 'response_types_supported', 'subject_types_supported', 'id_token_signing_alg_values_supported']) {
    expect(discovered.json[name], `${name} is missing`);
  }
  expect(discovered.json.id_token_signing_alg_values_supported.includes('RS256') && discovered.json.issuer === claims.iss, discovered.json);
  const keys = (await get(discovered.json.jwks_uri)).json.keys;
  const rsa = keys.filter((key) => key.kty === 'RSA' && key.kid === head.kid);
  expect(rsa.length === 1, `\`${head.kid}\` is not one of the RSA keys`);
  expect(keys.every((key) => !['d', 'p', 'q', 'dp', 'dq', 'qi'].some((name) => name in key)), 'a private member is published');
  const [signed, signature] = [body.id_token.slice(0, body.id_token.lastIndexOf('.')), body.id_token.split('.')[2]];
  const verifies = createVerify('RSA-SHA256').update(signed).verify(createPublicKey({ key: rsa[0], format: 'jwk' }), Buffer.from(signature, 'base64url'));
  expect(verifies, 'the signature does not verify');
  expect(claims.aud === kind && claims.sub.length >= 1 && claims.sub.length <= 255 && claims.exp * 1000 > Date.now() && claims.iat, claims);
  return claims;
}

async function discovery() {
  // D1
  await tests.run('the_smart_configuration_is_json_for_everybody_whatever_they_accept', async () => {
    for (const accept of ['*/*', 'application/json', 'application/fhir+xml', 'text/html']) {
      const reply = await get(`${gateway.base}/.well-known/smart-configuration`, { Accept: accept });
      expect(reply.status === 200 && reply.headers['content-type'].startsWith('application/json') && reply.json, reply);
    }
  });
  // D2, D3, D4, D7
  await tests.run('the_smart_configuration_has_what_the_kits_look_for', async () => {
    for (const name of ['authorization_endpoint', 'token_endpoint', 'issuer', 'jwks_uri']) expect(/^https:\/\//.test(configuration[name]), name);
    for (const name of ['capabilities', 'grant_types_supported', 'code_challenge_methods_supported', 'scopes_supported']) {
      expect(configuration[name].every((member) => typeof member === 'string'), name);
    }
    expect(configuration.grant_types_supported.includes('authorization_code') && configuration.code_challenge_methods_supported.join() === 'S256', configuration);
    expect(configuration.capabilities.includes('sso-openid-connect'), configuration.capabilities);
    for (const [name, value] of Object.entries(configuration)) expect(!name.endsWith('_endpoint') || /^https:\/\//.test(value), name);
  });
  // D8, D11
  await tests.run('the_capabilities_are_those_that_certification_asks_for', async () => {
    const standalone = 'launch-standalone client-public client-confidential-symmetric sso-openid-connect context-standalone-patient permission-offline permission-patient authorize-post permission-v2 permission-v1';
    const ehr = 'launch-ehr client-confidential-symmetric sso-openid-connect context-banner context-style context-ehr-patient context-ehr-encounter permission-offline permission-user authorize-post permission-v2 permission-v1';
    const asymmetric = offered.asymmetric ? ' client-confidential-asymmetric' : '';
    for (const name of `${standalone} ${ehr}${asymmetric}`.split(' ')) expect(configuration.capabilities.includes(name), name);
  });
  // D9, D10
  await tests.run('the_capability_statement_is_public_and_names_the_same_endpoints', async () => {
    const reply = await fhir('metadata', undefined, { Origin: ORIGIN });
    expect(reply.status === 200 && reply.json.resourceType === 'CapabilityStatement', reply);
    expect(['*', ORIGIN].includes(reply.headers['access-control-allow-origin']), reply.headers);
    const { security } = reply.json.rest[0];
    expect(security.service.some((service) => service.coding.some((coding) => coding.code === 'SMART-on-FHIR')), security);
    const uris = security.extension.find((extension) => extension.url.endsWith('/oauth-uris')).extension;
    const stated = Object.fromEntries(uris.map(({ url, valueUri }) => [url, valueUri]));
    const members = { authorize: 'authorization_endpoint', token: 'token_endpoint', introspect: 'introspection_endpoint', revoke: 'revocation_endpoint', manage: 'management_endpoint', register: 'registration_endpoint' };
    for (const [url, member] of Object.entries(members)) expect(stated[url] === configuration[member], `${url}: ${stated[url]}, ${member}: ${configuration[member]}`);
  });
  // Z1, B3 79
  await tests.run('tls_1_1_and_older_fail_and_1_2_and_1_3_verify', async () => {
    const connects = (version) => new Promise((done) => {
      const socket = tls.connect({ port: gateway.port, host: 'localhost', servername: 'localhost', ca: gateway.ca, minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' });
      socket.once('secureConnect', () => { done(socket.authorized); socket.destroy(); });
      socket.once('error', () => done(false));
    });
    for (const [version, works] of [['TLSv1', false], ['TLSv1.1', false], ['TLSv1.2', true], ['TLSv1.3', true]]) {
      expect((await connects(version)) === works, version);
    }
  });
}

async function standalone(kind) {
  const body = await tests.run(`a_standalone_launch_of_a_${kind}_client_ends_in_a_good_token_response`, async () => {
    const back = await authorized(kind, STANDALONE);
    expect(back.url.searchParams.get('state') === back.state && !back.url.searchParams.has('error'), back.url.href);
    const reply = await exchanged(kind, back);
    expect(kind !== 'public' || ['*', ORIGIN].includes(reply.headers['access-control-allow-origin']), reply.headers);
    return good(reply, STANDALONE);
  });
  if (!body) return;
  await tests.run(`the_token_of_a_${kind}_client_reads_the_patient_in_context_and_nothing_is_read_without_one`, async () => {
    expect((await fhir(`Patient/${body.patient}`, body.access_token)).json?.resourceType === 'Patient', body.patient);
    expect((await fhir(`Patient/${body.patient}`)).status === 401, 'read without a token');
  });
  await tests.run(`the_id_token_of_a_${kind}_client_is_verified_and_its_user_read`, async () => {
    const { fhirUser } = await identity(body, kind);
    const [type] = /(Patient|Practitioner|RelatedPerson|Person)\/[^/]+$/.exec(fhirUser);
    const user = await fhir(type, body.access_token, { Origin: ORIGIN });
    expect(user.status === 200 && type.startsWith(`${user.json.resourceType}/`), `${fhirUser}: ${user.status}`);
    expect(['*', ORIGIN].includes(user.headers['access-control-allow-origin']), user.headers);
  });
  await tests.run(`a_${kind}_client_refreshes_twice_running_and_with_the_whole_granted_scope`, async () => {
    let newest = body.refresh_token;
    for (const more of [{}, {}, { scope: body.scope }, { scope: body.scope.split(' ').reverse().join(' ') }]) {
      const again = good(await refreshed(kind, { refresh_token: newest, ...more }), body.scope);
      expect(again.scope.split(' ').every((scope) => body.scope.split(' ').includes(scope)), `${again.scope} is more than ${body.scope}`);
      expect((await fhir(`Patient/${again.patient}`, again.access_token)).status === 200, 'the new token does not read');
      newest = again.refresh_token ?? newest;
    }
  });
}

async function launches() {
  // A1, A11, A12
  await tests.run('the_request_is_taken_by_get_and_from_another_sites_form_and_the_query_of_the_redirect_stays', async () => {
    for (const post of [false, true]) {
      const back = await authorized('public', STANDALONE, { post, redirect: REDIRECT_QUERY });
      expect(back.url.searchParams.get('keep') === 'a b' && back.url.searchParams.get('iss') === gateway.issuer, back.url.href);
      good(await exchanged('public', back), STANDALONE);
      const denied = await authorized('public', STANDALONE, { post, redirect: REDIRECT_QUERY, person: { decision: 'deny' } });
      expect(denied.url.searchParams.get('error') === 'access_denied' && denied.url.searchParams.get('state') === denied.state, denied.url.href);
    }
  });
  // L1, T8, P4
  await tests.run('an_ehr_launch_brings_banner_style_patient_and_encounter_and_reads_them', async () => {
    const context = { client_id: 'symmetric', patient: 'p1', encounter: 'e1', need_patient_banner: false, smart_style_url: `${gateway.issuer}/style.json` };
    const { launch, launch_url: url } = await handle(gateway, context);
    const at = new URL(url);
    expect(at.searchParams.get('iss') === gateway.base && at.searchParams.get('launch') === launch, url);
    const body = await launched('symmetric', EHR, { change: { launch } });
    expect(body.patient === 'p1' && body.encounter === 'e1' && body.need_patient_banner === false && body.smart_style_url, body);
    for (const path of ['Patient/p1', 'Encounter/e1', 'Observation/o2']) expect((await fhir(path, body.access_token)).status === 200, path);
  });
  // L3
  await tests.run('an_ehr_launch_with_patient_scopes_reads_that_patient_alone', async () => {
    const { launch } = await handle(gateway, { client_id: 'public', patient: 'p1' });
    const body = await launched('public', 'launch openid fhirUser patient/Patient.rs', { change: { launch } });
    expect(body.patient === 'p1', body);
    expect((await fhir('Patient/p1', body.access_token)).status === 200 && (await fhir('Patient/p2', body.access_token)).status === 404, 'reads');
  });
  // L2, B1 9
  await tests.run('a_launch_handle_is_spent_by_its_first_use', async () => {
    const { launch } = await handle(gateway, { client_id: 'public', patient: 'p1' });
    await launched('public', 'launch patient/Patient.rs', { change: { launch } });
    for (const bad of [launch, 'unknown']) {
      const { url } = await authorized('public', 'launch patient/Patient.rs', { change: { launch: bad } });
      expect(url.searchParams.get('error') === 'invalid_request' && !url.searchParams.has('code'), url.href);
    }
  });
  // P2
  await tests.run('scopes_of_version_1_are_returned_as_asked_and_work', async () => {
    const scope = 'launch/patient openid fhirUser offline_access patient/Patient.read patient/Observation.read';
    const body = await launched('public', scope);
    expect((await fhir('Observation?patient=p1', body.access_token)).json.entry.length === 1, 'search');
  });
  // A8, P5, B3 63
  await tests.run('a_limited_grant_is_what_was_left_on_and_the_rest_is_refused', async () => {
    const back = await authorized('public', STANDALONE, { person: { withheld: ['patient/Condition.rs', 'offline_access'] } });
    const { json: body } = await exchanged('public', back);
    const given = body.scope.split(' ').filter((scope) => scope.includes('.')).sort();
    expect(given.join(' ') === 'patient/Observation.rs patient/Patient.rs' && body.refresh_token === undefined, body);
    for (const [path, status] of [['Observation?patient=p1', 200], ['Condition?patient=p1', 403]]) {
      expect((await fhir(path, body.access_token)).status === status, path);
    }
  });
  // A8, P6: asked for whole types, the person picks categories of them
  await tests.run('categories_that_were_picked_are_granted_instead_of_the_whole_type', async () => {
    const asked = 'launch/patient openid fhirUser offline_access patient/Condition.rs patient/Observation.rs patient/Patient.rs';
    const only = ['patient/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item',
      'patient/Condition.rs?category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern',
      'patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory'];
    const { status, json: body } = await exchanged('public', await authorized('public', asked, { person: { only } }));
    expect(status === 200, body);
    const given = body.scope.split(' ').filter((scope) => scope.includes('.'));
    for (const type of ['Condition', 'Observation']) {
      expect(!given.some((scope) => new RegExp(`^patient/${type}\\.[^?]*$`).test(scope)), `the whole of ${type}: ${body.scope}`);
      expect(given.some((scope) => new RegExp(`^patient/${type}\\.rs\\?.+=.+`).test(scope)), `nothing of ${type}: ${body.scope}`);
    }
    expect([...given].sort().join(' ') === [...only, 'patient/Patient.rs'].sort().join(' '), body.scope);
    for (const path of ['Patient/p1', 'Observation?patient=p1', 'Condition?patient=p1']) expect((await fhir(path, body.access_token)).status === 200, path);
    expect((await fhir('Encounter?patient=p1', body.access_token)).status === 403, 'what was not asked for');
    // The same again at a refresh, as a whole and in the words of the response.
    const { json: again } = await refreshed('public', { refresh_token: body.refresh_token, scope: body.scope });
    expect(again.scope === body.scope, again);
  });
  // O6, O7, P4
  await tests.run('a_patient_launches_with_their_own_record_and_reads_themselves', async () => {
    const body = await launched('public', STANDALONE, { login: patient });
    const { fhirUser } = await identity(body, 'public');
    expect(/Patient\/p1$/.test(fhirUser) && body.patient === 'p1', body);
    expect((await fhir('Patient/p1', body.access_token)).status === 200, 'read');
  });
}

async function refusals() {
  // A6, B1 5, B1 6
  await tests.run('a_foreign_audience_gives_no_code', async () => {
    for (const aud of ['https://inferno.healthit.gov/invalid_aud', `${gateway.base}x`, undefined]) {
      const { url } = await authorized('public', STANDALONE, { change: { aud } });
      expect(!url?.searchParams.has('code') && url?.searchParams.get('error') === 'invalid_request', `${aud}: ${url}`);
    }
    await launched('public', STANDALONE, { change: { aud: `${gateway.base}/` } });
  });
  // A7, B1 8
  await tests.run('a_request_without_s256_gives_no_code', async () => {
    for (const change of [{ code_challenge: undefined }, { code_challenge_method: 'plain' }, { code_challenge_method: undefined }, { code_challenge: 'short' }]) {
      const { url } = await authorized('public', STANDALONE, { change });
      expect(url.searchParams.get('error') === 'invalid_request' && !url.searchParams.has('code'), url.href);
    }
  });
  // A3, B1 1, B1 2
  await tests.run('an_unknown_client_or_redirect_is_told_on_our_page_and_nobody_is_sent_anywhere', async () => {
    for (const change of [{ client_id: 'BAD_CLIENT_ID' }, { redirect_uri: `${REDIRECT}/` }, { redirect_uri: 'https://evil.example/' }]) {
      const { url, page } = await authorized('public', STANDALONE, { change });
      expect(url === undefined && page.status === 400, `${url} ${page?.status}`);
    }
  });
  // B2 23, B2 30
  await tests.run('a_bad_code_is_400_and_a_bad_client_401', async () => {
    for (const kind of KINDS) {
      const { form, headers } = await authenticated(kind);
      const request = { grant_type: 'authorization_code', code: 'BAD_CODE', redirect_uri: REDIRECT, code_verifier: pkce().verifier };
      refused(await token({ ...request, ...form }, headers), [400], 'invalid_grant');
    }
    const basic = { Authorization: `Basic ${Buffer.from(`BAD_CLIENT_ID:${SECRET}`).toString('base64')}` };
    const back = await authorized('symmetric', STANDALONE);
    const request = { grant_type: 'authorization_code', code: back.url.searchParams.get('code'), redirect_uri: REDIRECT, code_verifier: back.verifier };
    refused(await token(request, basic), [401], 'invalid_client');
  });
  // B2 27, B2 29
  await tests.run('a_verifier_that_is_missing_blank_wrong_or_the_challenge_gives_no_token', async () => {
    for (const verifier of [undefined, '', pkce().verifier, 'challenge']) {
      const back = await authorized('public', STANDALONE);
      const { createHash } = await import('node:crypto');
      const challenge = createHash('sha256').update(back.verifier).digest('base64url');
      const reply = await exchanged('public', back, { change: { code_verifier: verifier === 'challenge' ? challenge : verifier } });
      expect(reply.status === 400 && /invalid_(grant|request)/.test(reply.json.error), `${verifier}: ${reply.status} ${reply.text}`);
    }
  });
  // B2 42
  await tests.run('a_refresh_token_that_never_was_is_refused', async () => {
    for (const kind of KINDS) refused(await refreshed(kind, { refresh_token: 'BAD_REFRESH_TOKEN' }), [400], 'invalid_grant');
  });
  // B5, B2 21
  await tests.run('an_unknown_grant_type_is_400', async () => {
    for (const kind of KINDS) {
      const { form, headers } = await authenticated(kind);
      refused(await token({ grant_type: 'not_a_grant_type', scope: 'system/*.rs', ...form }, headers), [400], 'unsupported_grant_type');
    }
  });
  // V2
  await tests.run('a_grant_that_is_taken_back_reads_and_refreshes_no_more', async () => {
    const body = await launched('public', STANDALONE);
    expect((await fhir('Patient/p1', body.access_token)).status === 200, 'it reads before');
    const { gid } = JSON.parse(Buffer.from(body.access_token.split('.')[1], 'base64url'));
    await promisify(execFile)(process.env.FIREBREAK_BINARY ?? 'target/release/firebreak', ['grant', 'revoke', '--config', gateway.config, gid]);
    const deadline = Date.now() + 5_000;
    let status;
    do status = (await fhir('Patient/p1', body.access_token)).status; while (status === 200 && Date.now() < deadline);
    expect(status === 401, `${status} five seconds after`);
    refused(await refreshed('public', { refresh_token: body.refresh_token }), [400], 'invalid_grant');
  });
}

async function brands() {
  // W1
  await tests.run('the_brands_bundle_is_public_can_be_kept_and_its_parts_fit_each_other', async () => {
    const url = configuration.user_access_brand_bundle;
    const reply = await get(url, { Origin: 'https://any.example' });
    expect(reply.status === 200 && reply.headers['access-control-allow-origin'] === '*' && /^W\//.test(reply.headers.etag), reply);
    const again = await get(url, { Origin: 'https://any.example', 'If-None-Match': reply.headers.etag });
    expect(again.status === 304 && again.headers['access-control-allow-origin'] === '*', again);
    const { resourceType, type, timestamp, entry } = reply.json;
    expect(resourceType === 'Bundle' && type === 'collection' && !Number.isNaN(Date.parse(timestamp)) && entry.length > 0, reply.json);
    const having = (kind) => entry.map(({ resource }) => resource).filter((resource) => resource.resourceType === kind);
    const [organizations, endpoints] = [having('Organization'), having('Endpoint')];
    const known = new Set(endpoints.map(({ id }) => `Endpoint/${id}`));
    const named = new Set();
    for (const organization of organizations) {
      const own = (organization.endpoint ?? []).map(({ reference }) => reference);
      own.forEach((reference) => named.add(reference));
      expect(own.every((reference) => known.has(reference)), own);
      const portals = (organization.extension ?? []).filter((extension) => extension.url.endsWith('/organization-portal')).flatMap(({ extension }) => extension);
      for (const portal of portals.filter((part) => part.url === 'portalEndpoint')) expect(own.includes(portal.valueReference.reference), portal);
    }
    expect([...known].every((reference) => named.has(reference)), 'an endpoint that no organization names');
    for (const endpoint of endpoints) {
      const statement = await get(`${endpoint.address}/metadata`);
      expect(statement.status === 200 && statement.json.resourceType === 'CapabilityStatement', endpoint.address);
    }
    const { system, value } = configuration.user_access_brand_identifier;
    const ours = organizations.flatMap(({ identifier }) => identifier).filter((identifier) => identifier.system === system && identifier.value === value);
    expect(ours.length === 1, ours);
  });
}

async function backend() {
  const request = async ({ client = 'backend', audience = configuration.token_endpoint, claims, header, form, alg = 'es384' } = {}) => token({
    grant_type: 'client_credentials', scope: 'system/Patient.rs system/Observation.rs', client_assertion_type: JWT_BEARER,
    client_assertion: await assert(gateway.keys[alg], { client, audience, claims, header }), ...form,
  });
  // B1, B2, B3
  await tests.run('a_backend_service_gets_a_short_token_without_refresh_by_es384_and_rs384', async () => {
    for (const alg of ['es384', 'rs384']) {
      const body = good(await request({ alg }), 'system/Patient.rs system/Observation.rs');
      expect(body.refresh_token === undefined && body.expires_in <= 300, body);
      expect((await fhir('Patient/p2', body.access_token)).status === 200, 'it does not read');
    }
  });
  // B5
  await tests.run('a_backend_service_with_an_unknown_grant_type_is_400', async () => refused(await request({ form: { grant_type: 'not_a_grant_type' } }), [400], 'unsupported_grant_type'));
  // B6, C9, B2 34
  await tests.run('a_backend_service_with_a_wrong_assertion_type_is_400', async () => {
    const reply = await request({ form: { client_assertion_type: 'not_an_assertion_type' } });
    expect(reply.status === 400 && /invalid_(client|request)/.test(reply.json.error), reply);
  });
  // B6, B2 37
  await tests.run('a_backend_service_with_a_wrong_issuer_is_refused', async () => refused(await request({ claims: { iss: 'not_a_valid_iss' } }), [400, 401], 'invalid_client'));
}

async function introspection() {
  const ask = (form, headers) => gateway.http(configuration.introspection_endpoint, { method: 'POST', form, headers });
  const { headers } = await authenticated('symmetric');
  // I1, I2, I3, I4
  await tests.run('introspection_tells_of_a_token_what_its_response_told', async () => {
    const body = await launched('symmetric', STANDALONE);
    const claims = await identity(body, 'symmetric');
    const reply = await ask({ token: body.access_token }, headers);
    expect(reply.status === 200 && reply.json.active === true && reply.json.client_id === 'symmetric', reply);
    const sorted = (scope) => scope.split(' ').sort().join(' ');
    expect(sorted(reply.json.scope) === sorted(body.scope) && Number.isInteger(reply.json.exp), reply.json);
    expect(reply.json.patient === body.patient && reply.json.iss === claims.iss && reply.json.sub === claims.sub && reply.json.fhirUser === claims.fhirUser, reply.json);
  });
  // I1, I5
  await tests.run('introspection_of_a_bad_token_says_inactive_and_nothing_else', async () => {
    const reply = await ask({ token: 'invalid_token_value' }, headers);
    expect(reply.status === 200 && reply.text === '{"active":false}', reply);
  });
  // I6, B3 71
  await tests.run('introspection_by_nobody_is_401', async () => expect((await ask({ token: 'x' }, {})).status === 401, 'not refused'));
}

async function revocation() {
  // V1
  await tests.run('a_client_gives_its_tokens_back_and_an_unknown_token_is_no_error', async () => {
    for (const kind of KINDS) {
      const body = await launched(kind, STANDALONE);
      const { form, headers } = await authenticated(kind);
      const revoke = (given) => gateway.http(configuration.revocation_endpoint, { method: 'POST', form: { token: given, ...form }, headers });
      if (kind !== 'asymmetric') expect((await revoke('unknown_token_value')).status === 200, 'unknown');
      expect((await revoke(body.refresh_token)).status === 200, 'known');
      expect((await fhir('Patient/p1', body.access_token)).status === 401, 'the access token lives on');
      refused(await refreshed(kind, { refresh_token: body.refresh_token }), [400], 'invalid_grant');
    }
  });
}

try {
  await discovery();
  for (const kind of KINDS) await standalone(kind);
  await launches();
  await refusals();
  await brands();
  if (offered.backend) await backend();
  if (offered.introspection) await introspection();
  if (offered.revocation) await revocation();
} finally {
  await gateway.stop();
}
tests.conclude();
