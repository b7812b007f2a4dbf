// Login with a real OpenID provider: an app of another origin, `firebreak serve`, and Keycloak, in Chromium. The person goes from
// the gateway's button to Keycloak's form and back; the app reads the record through the gateway. The person manages their apps,
// signs out here and there, and signs out there alone; an EHR shows the app in a frame, where Keycloak shows nothing.
import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { framed, pages } from './ehr_page.mjs';
import { BINARY, ROOT, apart, backIn, bounded, expect, freePort, launch, load, play, walk } from './lib.mjs';
import { becomesReady } from './checks.mjs';

const SCOPE = 'launch/patient patient/*.rs openid fhirUser offline_access';
const SECRET = 'keycloak-knows-the-gateway-by-this';
const ID = 'hospital';
const run = promisify(execFile);

/** A FHIR server with one patient and one practitioner. */
async function upstream() {
  const patient = { resourceType: 'Patient', id: 'p1', meta: { versionId: '1' }, name: [{ family: 'Brook', given: ['Nell'] }], gender: 'female', birthDate: '1974-05-03' };
  const practitioner = { resourceType: 'Practitioner', id: 'ada', name: [{ family: 'Quill', given: ['Ada'] }] };
  const known = { Patient: patient, Practitioner: practitioner };
  const server = createServer((request, response) => {
    const [, , type, id] = new URL(request.url, 'http://fhir').pathname.split('/');
    const answer = (status, body) => response.writeHead(status, { 'content-type': 'application/fhir+json' }).end(JSON.stringify(body));
    request.resume();
    if (type === 'metadata') return answer(200, { resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', fhirVersion: '4.0.1', format: ['json'], rest: [{ mode: 'server' }] });
    if (!id || id === '_search') {
      const found = known[type] ? [known[type]] : [];
      return answer(200, { resourceType: 'Bundle', type: 'searchset', total: found.length, entry: found.map((resource) => ({ fullUrl: `${base}/${type}/${resource.id}`, resource, search: { mode: 'match' } })) });
    }
    return known[type]?.id === id ? answer(200, known[type]) : answer(404, { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'not-found' }] });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const base = `http://127.0.0.1:${server.address().port}/fhir`;
  return { base, stop: () => new Promise((done) => { server.close(done); server.closeAllConnections(); }) };
}

/** A process with all that it starts; ended as one. */
function running(command, arguments_, options) {
  const child = spawn(command, arguments_, { ...options, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { said.push(chunk); if (said.length > 500) said.shift(); });
  const gone = new Promise((done) => child.once('exit', done));
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  const stop = async () => {
    if (ended()) return;
    process.kill(-child.pid, 'SIGTERM');
    await bounded(gone, 15_000, `the end of ${command}`).catch(() => process.kill(-child.pid, 'SIGKILL'));
  };
  return { ended, stop, said: () => Buffer.concat(said).toString().slice(-3000) };
}

/** Waits until `url` is answered with 200. */
async function answers(url, child, seconds) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const status = await fetch(url).then((answer) => answer.status, () => 0);
    if (status === 200) return;
    expect(!child.ended(), `it ended before ${url} answered: ${child.said()}`);
    expect(Date.now() < deadline, `${url} did not answer after ${seconds} s: ${status} ${child.said()}`);
    await new Promise((done) => setTimeout(done, 500));
  }
}

function listens(port) {
  return new Promise((done) => {
    const probe = connect(port, '127.0.0.1');
    const tell = (yes) => { probe.destroy(); done(yes); };
    probe.once('connect', () => tell(true)).once('error', () => tell(false));
  });
}

/** Keycloak with our realm, a FHIR server, and the gateway in front of it. */
async function hospital(app) {
  const directory = mkdtempSync(join(tmpdir(), 'firebreak-keycloak-'));
  const opened = [];
  const stop = async () => {
    for (const what of opened) await what.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const fhir = await upstream();
    opened.unshift(fhir);
    const [port, own, keycloakPort] = [await freePort(), join(directory, 'gateway'), await freePort()];
    const { stdout: told } = await run(BINARY, ['init', '--upstream', fhir.base, '--directory', own, '--port', String(port), '--redirect-uri', app, '--launch-url', `${app}launch`, '--print-json'], { timeout: 60_000 });
    const gateway = JSON.parse(told.split('\n').find((line) => line.startsWith('{')));

    const realm = readFileSync(join(ROOT, 'tests/keycloak/realm.json'), 'utf8').replaceAll('ORIGIN', gateway.origin).replaceAll('CLIENT_SECRET', SECRET);
    writeFileSync(join(directory, 'realm.json'), realm);
    // It tells the gateway who signed out, over https.
    const trusting = { ...process.env, KC_TRUSTSTORE_PATHS: gateway.ca_file };
    const keycloak = running(join(ROOT, 'tests/keycloak/start'), [String(keycloakPort), join(directory, 'realm.json')], { env: trusting });
    opened.unshift(keycloak);
    const issuer = `http://127.0.0.1:${keycloakPort}/realms/hospital`;
    await answers(`${issuer}/.well-known/openid-configuration`, keycloak, 420);

    writeFileSync(join(own, 'keycloak.secret'), SECRET, { mode: 0o600 });
    appendFileSync(join(own, 'firebreak.toml'), `
[[provider]]
id = "${ID}"
name = "St. Elsewhere"
issuer = "${issuer}"
client_id = "firebreak"
client_secret_file = "keycloak.secret"
user_types = ["Practitioner"]
roles = ["clinician"]
[provider.claims]
fhir_user = "fhirUser"
roles = "realm_access.roles"
role_map = { physician = "clinician" }

[[client]]
client_id = "ehr"
jwks_file = "ehr.jwks"
[client.ehr]
frame_ancestors = ["${ehr.origin}"]
partitioned_cookies = true
`);
    const jwk = { ...(await keys.jose.exportJWK(keys.publicKey)), kid: 'ehr', alg: 'ES384', use: 'sig' };
    writeFileSync(join(own, 'ehr.jwks'), JSON.stringify({ keys: [jwk] }));
    const configuration = join(own, 'firebreak.toml');
    gateway.checked = (await run(BINARY, ['check', '--config', configuration], { timeout: 60_000, cwd: own })).stdout;
    const serve = running(BINARY, ['serve', '--config', configuration], { cwd: own });
    opened.unshift(serve);
    const began = Date.now();
    while (!(await listens(port))) {
      expect(!serve.ended() && Date.now() < began + 20_000, `the gateway does not listen: ${serve.said()}`);
      await new Promise((done) => setTimeout(done, 100));
    }
    return { ...gateway, issuer, said: serve.said, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const keys = await load('jose').then(async (jose) => ({ jose, ...(await jose.generateKeyPair('ES384', { extractable: true })) }));
const ehr = await pages();

await play({ name: 'keycloak', apps: true, gateway: hospital }, async ({ tests, album, gateway, site, chromium }) => {
  site.configure({ clientId: gateway.apps[0].client_id, base: gateway.fhir_base, scope: SCOPE });

  const toKeycloak = async (page) => {
    await launch(page, site);
    await page.click(`button[name=provider][value=${ID}]`);
    await page.waitForURL((url) => url.href.startsWith(gateway.issuer), { timeout: 30_000 });
  };
  const asPerson = async (page, name) => {
    await page.fill('#username', name);
    await page.fill('#password', `${name}-of-the-tests`);
    const left = page.waitForURL((url) => !url.href.startsWith(gateway.issuer), { timeout: 30_000 });
    await page.click('#kc-login');
    await left;
    await page.waitForLoadState('load');
  };

  await tests.run('check_finds_keycloak_its_keys_and_what_to_register', async () => {
    const line = gateway.checked.split('\n').find((text) => text.includes('provider `hospital`'));
    expect(line?.startsWith('ok') && line.includes('signing key') && line.includes(`/login/callback/${ID}`), gateway.checked);
  });

  await tests.run('a_person_logs_in_with_keycloak_and_the_app_reads_the_record', () => apart(chromium, async (page) => {
    await launch(page, site);
    await album.take(page, 'login');
    await page.click(`button[name=provider][value=${ID}]`);
    await page.waitForURL((url) => url.href.startsWith(gateway.issuer), { timeout: 30_000 });
    await asPerson(page, 'ada');
    const steps = await walk(page, backIn(site), {}, album);
    expect(steps.includes('picker') && steps.includes('consent') && !steps.includes('login'), `passed ${steps}`);
    await becomesReady(page);
    const read = await page.evaluate(async () => ({ patient: await client.patient.read(), user: client.user.fhirUser, token: client.state.tokenResponse }));
    expect(read.patient.id === 'p1' && read.patient.name[0].family === 'Brook', read.patient);
    expect(read.user.endsWith('Practitioner/ada'), read.user);
    const claims = JSON.parse(Buffer.from(read.token.access_token.split('.')[1], 'base64url'));
    expect(claims.user_iss === gateway.issuer && claims.user_sub && claims.roles.join() === 'clinician', claims);
    const refreshed = await page.evaluate(async () => { await client.refresh(); return (await client.patient.read()).id; });
    expect(refreshed === 'p1', refreshed);
  }));

  await tests.run('a_person_whose_role_the_provider_may_not_assert_is_refused_and_can_go_back_to_the_app', () => apart(chromium, async (page) => {
    await toKeycloak(page);
    await asPerson(page, 'sam');
    const text = await page.locator('body').innerText();
    expect(text.includes('may not be used here') && page.url().startsWith(gateway.origin), text);
    await album.take(page, 'refused');
    await page.click('button[name=decision][value=deny]');
    await page.waitForURL((url) => url.origin === site.origin, { timeout: 30_000 });
    expect(new URL(page.url()).searchParams.get('error') === 'access_denied' || /denied/i.test(await page.locator('#out').innerText()), page.url());
  }));

  await tests.run('after_a_refusal_keycloak_asks_anew_and_another_account_gets_in', () => apart(chromium, async (page) => {
    await toKeycloak(page);
    await asPerson(page, 'rosa');
    expect((await page.locator('body').innerText()).includes('may not be used here'), 'a RelatedPerson was let in');
    await page.click('text=Try again');
    await page.click(`button[name=provider][value=${ID}]`);
    await page.waitForURL((url) => url.href.startsWith(gateway.issuer), { timeout: 30_000 });
    // Keycloak knows who was there, and asks for the password of that one; another account is a click away.
    const other = page.locator('#reset-login');
    if (await other.count()) await other.click();
    await asPerson(page, 'ada');
    await walk(page, backIn(site), {});
    await becomesReady(page);
  }));

  const manage = async (page) => {
    await page.goto(`${gateway.origin}/manage`);
    await page.click(`button[name=provider][value=${ID}]`);
    await page.waitForURL((url) => url.href.startsWith(gateway.issuer), { timeout: 30_000 });
    await asPerson(page, 'ada');
    await page.waitForURL(`${gateway.origin}/manage`, { timeout: 30_000 });
  };

  // V3
  await tests.run('a_person_manages_their_apps_after_a_login_with_keycloak_on_the_page', () => apart(chromium, async (page) => {
    await page.goto(`${gateway.origin}/manage`);
    await album.take(page, 'manage-login');
    await manage(page);
    expect((await page.locator('.who').innerText()).includes('Ada Quill'), 'not signed in as Ada');
    await album.take(page, 'manage');
    await page.locator('button[value=withdraw]').first().click();
    await page.waitForSelector('[role=status]');
    expect((await page.context().cookies(gateway.origin)).every((cookie) => !cookie.name.includes('manage-login')), 'the binding is left behind');
  }));

  await tests.run('signing_out_goes_on_at_keycloak_and_comes_back', () => apart(chromium, async (page) => {
    await manage(page);
    await page.goto(`${gateway.origin}/logout`);
    await album.take(page, 'logout');
    await page.click('button[value=provider]');
    await page.waitForURL((url) => url.href.startsWith(gateway.issuer), { timeout: 30_000 });
    // It knows us by our client id alone, so it asks.
    await page.click('#kc-logout');
    await page.waitForURL((url) => url.pathname === `/logout/callback/${ID}`, { timeout: 30_000 });
    expect((await page.locator('h1').innerText()) === 'You are signed out', await page.locator('body').innerText());
    await page.goto(`${gateway.origin}/manage`);
    await page.click(`button[name=provider][value=${ID}]`);
    await page.waitForSelector('#username', { timeout: 30_000 });
  }));

  // T11
  await tests.run('who_signs_out_at_keycloak_is_signed_out_here', () => apart(chromium, async (page) => {
    await manage(page);
    const there = await page.context().newPage();
    await there.goto(`${gateway.issuer}/protocol/openid-connect/logout?client_id=firebreak`);
    await there.click('#kc-logout');
    await there.waitForLoadState('load');
    for (const end = Date.now() + 20_000; ;) {
      await page.goto(`${gateway.origin}/manage`);
      if (await page.locator('button[name=provider]').count()) break;
      expect(Date.now() < end, 'the session goes on');
    }
  }));

  // A13: Keycloak lets nobody frame it
  await tests.run('in_a_frame_of_an_ehr_the_button_leads_to_a_window_where_the_launch_ends', () => apart(chromium, async (page) => {
    const assertion = await new keys.jose.SignJWT({ jti: crypto.randomUUID() }).setProtectedHeader({ alg: 'ES384', kid: 'ehr', typ: 'JWT' })
      .setIssuer('ehr').setSubject('ehr').setAudience(`${gateway.origin}/launch-contexts`).setExpirationTime('4m').sign(keys.privateKey);
    const { stdout } = await run('curl', ['--silent', '--cacert', gateway.ca_file, '--header', `Authorization: Bearer ${assertion}`,
      '--json', JSON.stringify({ client_id: gateway.apps[0].client_id, patient: 'p1' }), `${gateway.origin}/launch-contexts`], { timeout: 20_000 });
    const launched = JSON.parse(stdout).launch_url;
    expect(launched, stdout);
    site.configure({ scope: `launch ${SCOPE}` });
    const frame = await framed(page, ehr, launched);
    await frame.waitForSelector(`button[name=provider][value=${ID}]`, { timeout: 20_000 });
    await frame.click(`button[name=provider][value=${ID}]`);
    await frame.waitForSelector('a[target=_blank]', { timeout: 20_000 });
    await album.take(page, 'way-out');
    const opened = page.context().waitForEvent('page', { timeout: 20_000 });
    await frame.click('a[target=_blank]');
    const window = await opened;
    await window.waitForSelector(`button[name=provider][value=${ID}]`, { timeout: 20_000 });
    await window.click(`button[name=provider][value=${ID}]`);
    await window.waitForURL((url) => url.href.startsWith(gateway.issuer), { timeout: 30_000 });
    await asPerson(window, 'ada');
    await walk(window, backIn(site), {});
    await becomesReady(window);
    expect(await window.evaluate(() => client.patient.id) === 'p1', 'no patient');
    site.configure({ scope: SCOPE });
  }));

  await tests.run('without_javascript_the_way_to_keycloak_is_the_same', async () => {
    const context = await chromium.instance.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    const verifier = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
    const query = new URLSearchParams({ response_type: 'code', client_id: gateway.apps[0].client_id, redirect_uri: `${site.origin}/`, scope: SCOPE, state: 'st4te', aud: gateway.fhir_base, code_challenge: verifier, code_challenge_method: 'S256' });
    await page.goto(`${gateway.origin}/authorize?${query}`);
    await page.click(`button[name=provider][value=${ID}]`);
    await page.waitForURL((url) => url.href.startsWith(gateway.issuer), { timeout: 30_000 });
    await asPerson(page, 'ada');
    await page.waitForSelector('input[name=patient], [name=decision]');
    await context.close();
  });
});
await ehr.stop();
