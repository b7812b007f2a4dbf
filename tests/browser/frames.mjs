// An EHR of another origin that shows apps inside its own page: the whole launch in that frame, with login and consent, in a
// Chromium that blocks third-party cookies; the way out where that is not wanted; and pages that may not frame us.
import { spawn, execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import net from 'node:net';
import { framed, pages } from './ehr_page.mjs';
import { BINARY, apart, expect, freePort, load, play } from './lib.mjs';

const SCOPE = 'launch openid fhirUser patient/Patient.rs patient/Observation.rs';
const keys = await load('jose').then(async (jose) => ({ jose, ...(await jose.generateKeyPair('ES384', { extractable: true })) }));
const ehr = await pages();
const stranger = await pages();

await play({ name: 'frames', apps: true, gateway: served }, async ({ tests, album, gateway, site, chromium }) => {
  site.configure({ clientId: 'my-app', scope: SCOPE });
  const token = (frame) => frame.evaluate(() => client.state.tokenResponse);

  // Otherwise the others show nothing.
  await tests.run('this_chromium_keeps_no_third_party_cookie', () => apart(chromium, async (page) => {
    const foreign = `${ehr.origin.replace('127.0.0.1', 'localhost')}/cookie`;
    for (const expected of ['none', 'none']) {
      const frame = await framed(page, ehr, foreign);
      await frame.waitForSelector('output');
      const got = await frame.locator('output').innerText();
      expect(got === expected, `the frame got ${got}`);
    }
    await page.goto(foreign);
    await page.reload();
    expect((await page.locator('output').innerText()).includes('kept'), 'nor one of its own');
  }));

  await tests.run('a_person_signs_in_and_allows_inside_the_frame_and_the_app_reads_there', () => apart(chromium, async (page) => {
    const frame = await framed(page, ehr, await launchUrl(gateway, 'ehr-frames'));
    await frame.waitForSelector('input[name=password]', { timeout: 20_000 });
    await album.take(page, 'login');
    await frame.fill('input[name=username]', gateway.login.username);
    await frame.fill('input[name=password]', gateway.login.password);
    await frame.press('input[name=password]', 'Enter');
    await frame.waitForSelector('input[name=csrf]', { state: 'attached', timeout: 20_000 });
    await album.take(page, 'consent');
    await frame.click('[name=decision][value=allow]');
    await ready(frame);
    await album.take(page, 'app');
    const given = await token(frame);
    expect(given.patient === 'p1' && given.scope === SCOPE, given);
    expect((await frame.evaluate(() => client.patient.read())).id === 'p1', 'the app does not read');
    const cookies = await page.context().cookies();
    expect(!cookies.some((cookie) => cookie.name.includes('firebreak')), `left behind: ${cookies.map((cookie) => cookie.name)}`);
  }));

  await tests.run('the_cookie_of_the_frame_is_partitioned_and_binds_nothing_else', () => apart(chromium, async (page) => {
    const frame = await framed(page, ehr, await launchUrl(gateway, 'ehr-frames'));
    await frame.waitForSelector('input[name=password]', { timeout: 20_000 });
    const session = await page.context().newCDPSession(page);
    const { cookies } = await session.send('Network.getAllCookies');
    const ours = cookies.filter((cookie) => cookie.name.includes('firebreak'));
    expect(ours.length === 1 && ours[0].name.startsWith('__Host-firebreak-framed-transaction-'), ours.map((cookie) => cookie.name));
    expect(ours[0].secure && ours[0].httpOnly && ours[0].sameSite === 'None' && ours[0].partitionKey, JSON.stringify({ ...ours[0], value: '' }));
    // The same address in a window of the same browser: the cookie is not sent there.
    const window = await page.context().newPage();
    const answer = await window.goto(frame.url());
    expect(answer.status() === 403, `${answer.status()}`);
    expect(!(await window.content()).includes('name="password"'), 'the transaction moved to a window');
  }));

  await tests.run('a_page_that_is_not_listed_shows_nothing_of_ours', () => apart(chromium, async (page) => {
    const errors = [];
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    const frame = await framed(page, stranger, await launchUrl(gateway, 'ehr-frames'));
    await page.waitForEvent('console', { predicate: (message) => /frame-ancestors|X-Frame-Options|Framing/.test(message.text()), timeout: 20_000 });
    expect(!(await frame.locator('input').count()), 'a page of ours is shown');
    expect(errors.some((text) => /frame-ancestors|Framing/.test(text)), errors.join('; '));
  }));

  await tests.run('without_partitioned_cookies_a_link_leads_to_a_window_where_the_launch_ends', () => apart(chromium, async (page) => {
    const frame = await framed(page, ehr, await launchUrl(gateway, 'ehr-links'));
    await frame.waitForSelector('a[target=_blank]', { timeout: 20_000 });
    await album.take(page, 'way-out');
    const opened = page.context().waitForEvent('page', { timeout: 20_000 });
    await frame.focus('a[target=_blank]');
    await page.keyboard.press('Enter');
    const window = await opened;
    await window.waitForSelector('input[name=password]', { timeout: 20_000 });
    await window.fill('input[name=username]', gateway.login.username);
    await window.fill('input[name=password]', gateway.login.password);
    await window.press('input[name=password]', 'Enter');
    await window.waitForSelector('input[name=csrf]', { state: 'attached', timeout: 20_000 });
    await window.click('[name=decision][value=allow]');
    await ready(window);
    expect((await token(window)).patient === 'p1', 'no patient');
    expect(await window.evaluate(() => window.opener) === null, 'the window knows who opened it');
  }));
});
await ehr.stop();
await stranger.stop();

/** The app's launch URL for a launch that this EHR client hands over, of the gateway's user and for patient p1. */
async function launchUrl(gateway, client) {
  const { jose, privateKey } = keys;
  const assertion = await new jose.SignJWT({ jti: crypto.randomUUID() })
    .setProtectedHeader({ alg: 'ES384', kid: 'ehr', typ: 'JWT' })
    .setIssuer(client).setSubject(client).setAudience(`${gateway.origin}/launch-contexts`).setExpirationTime('4m').sign(privateKey);
  const body = { client_id: 'my-app', patient: 'p1', user: { iss: gateway.origin, sub: gateway.login.username } };
  const told = execFileSync('curl', ['--silent', '--cacert', gateway.ca_file, '--header', `Authorization: Bearer ${assertion}`,
    '--json', JSON.stringify(body), `${gateway.origin}/launch-contexts`], { encoding: 'utf8', timeout: 20_000 });
  const created = JSON.parse(told);
  expect(created.launch_url, told);
  return created.launch_url;
}

/** Waits for the app to say that it is ready, or why not. */
async function ready(frame) {
  await frame.waitForFunction(() => ['ready', 'failed'].includes(document.title), undefined, { timeout: 30_000 });
  expect((await frame.title()) === 'ready', await frame.locator('#out').innerText());
}

/** A FHIR server with one patient, and `firebreak init` and `serve` in front of it, with two EHR clients: one whose launches go on in a frame, one whose do not. */
async function served(app) {
  const directory = mkdtempSync(join(tmpdir(), 'firebreak-frames-'));
  const patient = { resourceType: 'Patient', id: 'p1', name: [{ text: 'Ada Lovelace' }], birthDate: '1974-05-03', gender: 'female' };
  const upstream = createServer((request, response) => {
    const path = new URL(request.url, 'http://fhir').pathname;
    const json = (status, body) => response.writeHead(status, { 'content-type': 'application/fhir+json' }).end(JSON.stringify(body));
    request.resume();
    if (path === '/fhir/metadata') return json(200, { resourceType: 'CapabilityStatement', status: 'active', date: '2026-01-01', kind: 'instance', fhirVersion: '4.0.1', format: ['json'], rest: [{ mode: 'server' }] });
    if (path === '/fhir/Patient/p1') return json(200, patient);
    if (path.startsWith('/fhir/Patient')) return json(200, { resourceType: 'Bundle', type: 'searchset', entry: [{ fullUrl: `${base}/Patient/p1`, resource: patient, search: { mode: 'match' } }] });
    return json(200, { resourceType: 'Bundle', type: 'searchset' });
  });
  await new Promise((done) => upstream.listen(0, '127.0.0.1', done));
  const base = `http://127.0.0.1:${upstream.address().port}/fhir`;
  const jwks = join(directory, 'jwks.json');
  const jwk = { ...(await keys.jose.exportJWK(keys.publicKey)), kid: 'ehr', alg: 'ES384', use: 'sig' };
  writeFileSync(jwks, JSON.stringify({ keys: [jwk] }));
  const port = await freePort();
  const home = join(directory, 'gateway');
  const init = spawn(BINARY, ['init', '--upstream', base, '--directory', home, '--port', String(port), '--redirect-uri', app,
    '--launch-url', `${app}launch`, '--print-json'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const told = JSON.parse((await text(init)).match(/^\{.*\}$/m)[0]);
  const file = join(home, 'firebreak.toml');
  const client = (id, more) => `\n[[client]]\nclient_id = "${id}"\njwks_file = ${JSON.stringify(jwks)}\n[client.ehr]\nframe_ancestors = ["${ehr.origin}"]\n${more}`;
  writeFileSync(file, readFileSync(file, 'utf8') + client('ehr-frames', 'partitioned_cookies = true\n') + client('ehr-links', ''));
  const server = spawn(BINARY, ['serve', '--config', file], { cwd: directory, stdio: ['ignore', 'ignore', 'inherit'], env: { FIREBREAK_LOG: 'warn', ...process.env } });
  const stop = async () => {
    const gone = new Promise((done) => server.once('exit', done));
    if (server.exitCode === null) {
      server.kill('SIGKILL');
      await gone;
    }
    upstream.close();
    upstream.closeAllConnections();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await listening(port, server);
  } catch (error) {
    await stop();
    throw error;
  }
  return { ...told, login: told.logins[0], stop };
}

async function text(child) {
  let out = '';
  for await (const chunk of child.stdout) out += chunk;
  return out;
}

async function listening(port, server) {
  for (const end = Date.now() + 20_000; Date.now() < end;) {
    expect(server.exitCode === null, `serve ended with ${server.exitCode}`);
    const open = await new Promise((done) => {
      const socket = net.connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false));
      socket.once('close', () => {});
      setTimeout(() => socket.destroy(), 200);
    });
    if (open) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`nothing listened on ${port}`);
}
