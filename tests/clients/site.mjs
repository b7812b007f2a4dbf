// A gateway to try real clients on: `firebreak init` and `serve` in front of a small FHIR server of ours, with apps of every
// kind, an EHR, and a person who gets through the gateway's pages by posting their forms, without JavaScript.
//
// Environment: FIREBREAK_NPM (a directory with node_modules), FIREBREAK_BINARY (default: the release build). Everything is on
// loopback, on ports from the operating system, and is ended by its process id.
import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const ROOT = resolve(fileURLToPath(import.meta.url), '../../..');
const BINARY = process.env.FIREBREAK_BINARY ?? join(ROOT, 'target/release/firebreak');
const MODULES = join(process.env.FIREBREAK_NPM ?? `${process.env.HOME}/.cache/firebreak-tests/npm`, 'node_modules');

/** Node 18 has it behind a flag; the packages expect it. */
globalThis.crypto ??= (await import('node:crypto')).webcrypto;

/** A module of a pinned package, by its path: some export to `import` alone. */
export const load = (path) => import(pathToFileURL(join(MODULES, path)));

const jose = await load('jose/dist/webapi/index.js');
export { jose };

export const ORIGIN = 'http://localhost:4567';
export const REDIRECT = `${ORIGIN}/custom/smart_stu2_2/redirect`;
export const LAUNCH = `${ORIGIN}/custom/smart_stu2_2/launch`;
/** A redirect URI with a query of its own. */
export const REDIRECT_QUERY = `${ORIGIN}/cb?keep=a%20b`;
/** With characters that form encoding would change. */
export const SECRET = 's3cret:/+% of the server';
export const SCOPE =
  'openid fhirUser offline_access launch launch/patient launch/encounter patient/*.rs user/*.rs patient/*.read user/*.read';

const RESOURCES = [
  { resourceType: 'Patient', id: 'p1', name: [{ family: 'Larkspur', given: ['Ida'] }], gender: 'female', birthDate: '1970-01-01' },
  { resourceType: 'Patient', id: 'p2', name: [{ family: 'Teasel', given: ['Bo'] }], gender: 'male', birthDate: '1980-01-01' },
  { resourceType: 'Practitioner', id: 'd1', name: [{ family: 'Rivera', given: ['Elena'] }] },
  { resourceType: 'Encounter', id: 'e1', status: 'finished', class: { code: 'AMB' }, subject: { reference: 'Patient/p1' } },
  ...['p1', 'p2'].flatMap((patient, index) => [
    { resourceType: 'Observation', id: `o${index + 1}`, status: 'final', code: { text: 'Heart rate' }, subject: { reference: `Patient/${patient}` },
      category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/observation-category', code: 'vital-signs' }] }] },
    { resourceType: 'Condition', id: `c${index + 1}`, code: { text: 'Asthma' }, subject: { reference: `Patient/${patient}` },
      category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/condition-category', code: 'problem-list-item' }] }] },
  ]),
];

/** Answers reads and searches of a few resources, like a FHIR server that knows nothing of authorization. */
async function upstream() {
  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://upstream');
    const [, base, type, id] = url.pathname.split('/');
    const answer = (status, body) => {
      response.writeHead(status, { 'Content-Type': 'application/fhir+json' });
      response.end(JSON.stringify(body));
    };
    const nothing = () => answer(404, { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'not-found' }] });
    if (base !== 'fhir') return nothing();
    if (type === 'metadata') {
      return answer(200, { resourceType: 'CapabilityStatement', status: 'active', date: '2026-01-01', kind: 'instance', fhirVersion: '4.0.1',
        format: ['json'], rest: [{ mode: 'server', resource: [{ type: 'Patient' }] }] });
    }
    const known = RESOURCES.filter((resource) => resource.resourceType === type).map((resource) => ({ ...resource, meta: { versionId: '1' } }));
    if (id) {
      const found = known.find((resource) => resource.id === id);
      return found ? answer(200, found) : nothing();
    }
    const patients = [...url.searchParams].filter(([name]) => /^(patient|subject|_id)$/.test(name)).map(([name, value]) => [name, value.split(',').map((one) => one.split('/').pop())]);
    const codings = (resource) => (resource.category ?? []).flatMap(({ coding }) => coding).flatMap(({ system, code }) => [code, `${system}|${code}`]);
    const categories = url.searchParams.getAll('category').map((value) => value.split(','));
    const within = known.filter((resource) => categories.every((any) => any.some((one) => codings(resource).includes(one))));
    const matches = within.filter((resource) => patients.every(([name, ids]) =>
      ids.includes(name === '_id' || type === 'Patient' ? resource.id : resource.subject?.reference.split('/')[1])));
    const entry = matches.map((resource) => ({ fullUrl: `http://${request.headers.host}/fhir/${type}/${resource.id}`, resource, search: { mode: 'match' } }));
    answer(200, { resourceType: 'Bundle', type: 'searchset', total: entry.length, entry });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { base: `http://127.0.0.1:${server.address().port}/fhir`, stop: () => server.close() };
}

async function freePort() {
  const server = net.createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** A key of ours: the private key, and the public JWK. */
async function key(alg, kid) {
  const { privateKey, publicKey } = await jose.generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await jose.exportJWK(publicKey)), kid, alg, use: 'sig', key_ops: ['verify'], ext: true };
  return { alg, kid, privateKey, jwk };
}

/** Starts all of it; `more(directory)` gives further configuration. What comes back is stopped with `stop()`. */
export async function site({ more = () => '' } = {}) {
  const parent = mkdtempSync(join(tmpdir(), 'firebreak-site-'));
  const directory = join(parent, 'gateway');
  const fhir = await upstream();
  const keys = { es384: await key('ES384', 'es'), rs384: await key('RS384', 'rs'), ehr: await key('ES384', 'ehr') };
  const jwks = (name, ...members) => {
    const path = join(parent, name);
    writeFileSync(path, JSON.stringify({ keys: members.map((member) => member.jwk) }));
    return path;
  };
  const port = await freePort();
  const { stdout } = await promisify(execFile)(BINARY, ['init', '--upstream', fhir.base, '--directory', directory, '--port', String(port),
    '--redirect-uri', REDIRECT, '--launch-url', LAUNCH, '--ehr-jwks', jwks('ehr.json', keys.ehr), '--print-json']);
  const told = JSON.parse(stdout.split('\n').find((line) => line.startsWith('{')));
  const client = (id, lines) => `\n[[client]]\nclient_id = "${id}"\nscope = "${SCOPE}"\n${lines}\n`;
  const redirects = `redirect_uris = ["${REDIRECT}", "${REDIRECT_QUERY}"]\nlaunch_urls = ["${LAUNCH}"]\norigins = ["${ORIGIN}"]`;
  appendFileSync(told.config, [
    client('public', redirects),
    client('symmetric', `${redirects}\nintrospects = true\nclient_secret_sha256 = "${createHash('sha256').update(SECRET).digest('hex')}"`),
    more({ client, redirects, keys, parent, app: jwks('app.json', keys.es384, keys.rs384), ehr: told }),
  ].join(''));
  const child = spawn(BINARY, ['serve', '--config', told.config], { env: { FIREBREAK_LOG: 'warn', ...process.env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (text) => { log += text; });
  const ended = new Promise((done) => child.once('exit', done));
  const stop = async () => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
    await ended;
    clearTimeout(timer);
    fhir.stop();
    rmSync(parent, { recursive: true, force: true });
  };
  const ca = readFileSync(told.ca_file, 'utf8');
  const gateway = { ...told, pid: child.pid, base: told.fhir_base, port, ca, keys, stop, http: (url, options) => http(ca, url, options), log: () => log };
  // Packages that fetch by themselves trust this authority, too.
  https.globalAgent.options.ca = [ca];
  globalThis.fetch = fetching(gateway);
  for (let left = 400; ; left -= 1) {
    if (child.exitCode !== null || left === 0) {
      await stop();
      throw new Error(`the gateway did not serve: ${log.slice(-2000)}`);
    }
    const up = await gateway.http(`${told.issuer}/jwks`).catch(() => undefined);
    if (up?.status === 200) return gateway;
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** One request; follows nothing. Headers come back in lower case, the body as text and, where it is JSON, as `json`. */
export function http(ca, url, { method = 'GET', headers = {}, form, body } = {}) {
  const content = form ? new URLSearchParams(form).toString() : body;
  const all = { Accept: 'application/json', ...(form && { 'Content-Type': 'application/x-www-form-urlencoded' }), ...headers };
  if (content !== undefined) all['Content-Length'] = Buffer.byteLength(content);
  return new Promise((resolved, failed) => {
    const request = https.request(url, { method, headers: all, ca, timeout: 20_000 }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => {
        const text = Buffer.concat(parts).toString('utf8');
        let json;
        try { json = JSON.parse(text); } catch { /* not JSON */ }
        resolved({ status: response.statusCode, headers: response.headers, text, json });
      });
    });
    request.on('timeout', () => request.destroy(new Error('no answer within 20 s')));
    request.on('error', failed);
    request.end(content);
  });
}

/** `fetch` for packages that let one be brought, over our certificate authority. */
export const fetching = (gateway) => async (asked, options) => {
  const request = asked instanceof Request ? { url: asked.url, method: asked.method, headers: asked.headers, body: (await asked.text()) || undefined } : { url: asked };
  const { url, method = 'GET', headers, body } = { ...request, ...options };
  const sent = Object.fromEntries(new Headers(headers));
  const content = body instanceof URLSearchParams ? body.toString() : body ?? undefined;
  if (body instanceof URLSearchParams && !sent['content-type']) sent['content-type'] = 'application/x-www-form-urlencoded;charset=UTF-8';
  const reply = await gateway.http(String(url), { method, headers: sent, body: content });
  const flat = Object.entries(reply.headers).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  return new Response([204, 304].includes(reply.status) ? null : reply.text, { status: reply.status, headers: flat });
};

const unescaped = (text) => text.replace(/&quot;|&#34;/g, '"').replace(/&#39;|&#x27;/g, "'").replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&#38;|&amp;/g, '&');

/** The forms of a page: action, method, fields as a browser would send them, and the names of its buttons. */
function forms(html) {
  const attributes = (tag) => Object.fromEntries([...tag.matchAll(/([\w-]+)(?:="([^"]*)")?/g)].slice(1).map(([, name, value]) => [name, unescaped(value ?? '')]));
  return [...html.matchAll(/<form\b[^>]*>[\s\S]*?<\/form>/g)].map(([form]) => {
    const head = attributes(form.match(/<form\b[^>]*>/)[0]);
    const inputs = [...form.matchAll(/<input\b[^>]*>/g)].map(([tag]) => attributes(tag)).filter((input) => input.name);
    const buttons = [...form.matchAll(/<button\b[^>]*>/g)].map(([tag]) => attributes(tag));
    return { action: head.action ?? '', method: (head.method ?? 'get').toLowerCase(), inputs, buttons };
  });
}

/** A person with a cookie jar who can fill in forms, and sees nothing else of a page. */
export class Person {
  constructor(gateway, { username, password }, { patient = 'p1', withheld = [], only = [], decision = 'allow' } = {}) {
    Object.assign(this, { gateway, username, password, patient, withheld, only, decision, jar: new Map(), pages: [] });
  }

  async send(url, options = {}) {
    const cookies = options.crossSite ? '' : [...this.jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { Accept: 'text/html,application/xhtml+xml', ...(cookies && { Cookie: cookies }), ...options.headers };
    const reply = await this.gateway.http(url, { ...options, headers });
    for (const cookie of reply.headers['set-cookie'] ?? []) {
      const [pair, ...attributes] = cookie.split(';');
      const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
      if (attributes.some((attribute) => attribute.trim() === 'Max-Age=0')) this.jar.delete(name);
      else this.jar.set(name, value);
    }
    return { ...reply, url };
  }

  /**
   * From an authorization request to the app's redirect; gives that URL. With `post` the request is posted by a page of the app,
   * as a form of another site: with its Origin and without our cookies. Ends at a page that is no form, which it gives in `page`.
   */
  async authorize(endpoint, parameters, { post = false } = {}) {
    let reply = post
      ? await this.send(endpoint, { method: 'POST', form: parameters, crossSite: true, headers: { Origin: ORIGIN, 'Sec-Fetch-Site': 'cross-site' } })
      : await this.send(`${endpoint}${endpoint.includes('?') ? '&' : '?'}${new URLSearchParams(parameters)}`);
    for (let steps = 0; steps < 16; steps += 1) {
      if ([302, 303].includes(reply.status)) {
        const target = new URL(reply.headers.location, reply.url);
        if (target.origin !== this.gateway.issuer) return { url: target, page: undefined };
        reply = await this.send(target.href);
        continue;
      }
      const found = reply.status === 200 ? forms(reply.text) : [];
      const step = this.fill(found);
      if (!step) return { url: undefined, page: reply };
      this.pages.push(step.name);
      const target = new URL(step.form.action || reply.url, reply.url).href;
      const headers = { Origin: this.gateway.issuer, Referer: reply.url };
      reply = await this.send(target, { method: 'POST', form: step.fields, headers });
    }
    throw new Error(`no redirect after ${this.pages}`);
  }

  fill(found) {
    const having = (name) => found.find((form) => form.inputs.some((input) => input.name === name));
    const kept = (form, given) => form.inputs.flatMap((input) => {
      if (input.type === 'radio') return given[input.name] === input.value ? [[input.name, input.value]] : [];
      if (input.type === 'checkbox') {
        const ticked = 'checked' in input ? !this.withheld.includes(input.value) : this.only.includes(input.value);
        return ticked ? [[input.name, input.value]] : [];
      }
      return [[input.name, given[input.name] ?? input.value ?? '']];
    });
    const go = (form, decision) => (form.buttons.some((button) => button.value === decision) ? [['decision', decision]] : []);
    let form = having('password');
    if (form && !this.pages.includes('login')) {
      return { name: 'login', form, fields: [...kept(form, { username: this.username, password: this.password }), ...go(form, 'allow')] };
    }
    if (form) return undefined;
    form = having('patient');
    if (form) return { name: 'patient', form, fields: [...kept(form, { patient: this.patient }), ...go(form, 'allow')] };
    form = having('encounter');
    if (form) return { name: 'encounter', form, fields: [...kept(form, { encounter: 'e1' }), ...go(form, 'allow')] };
    form = having('csrf');
    if (form) return { name: 'consent', form, fields: [...kept(form, {}), ['decision', this.decision]] };
    return undefined;
  }
}

/** A verifier and its challenge. */
export function pkce() {
  const verifier = randomBytes(48).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

/** A launch handle that the EHR posts over its back channel; it vouches for nobody. */
export async function handle(gateway, context) {
  const endpoint = `${gateway.issuer}/launch-contexts`;
  const ehr = gateway.ehr_client_id ?? 'ehr';
  const assertion = await assert(gateway.keys.ehr, { client: ehr, audience: endpoint });
  const reply = await gateway.http(endpoint, { method: 'POST', body: JSON.stringify(context), headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${assertion}` } });
  if (reply.status !== 201) throw new Error(`launch-contexts answered ${reply.status}: ${reply.text}`);
  return reply.json;
}

/** A client assertion with exactly the claims that the kits send. */
export const assert = ({ alg, kid, privateKey }, { client, audience, claims = {}, header = {} }) =>
  new jose.SignJWT({ iss: client, sub: client, aud: audience, exp: Math.floor(Date.now() / 1000) + 300, jti: randomBytes(16).toString('hex'), ...claims })
    .setProtectedHeader({ alg, kid, typ: 'JWT', ...header }).sign(privateKey);

/** Named tests; prints the lines that `cargo test` prints. */
export class Tests {
  constructor(group) {
    Object.assign(this, { group, passed: 0, failed: 0 });
  }

  async run(name, test) {
    const began = Date.now();
    let timer;
    const late = new Promise((_, failed) => { timer = setTimeout(() => failed(new Error('not done after 60 s')), 60_000); });
    try {
      const value = await Promise.race([test(), late]);
      this.passed += 1;
      console.log(`test ${this.group}::${name} ... ok (${((Date.now() - began) / 1000).toFixed(1)} s)`);
      return value ?? true;
    } catch (error) {
      this.failed += 1;
      console.log(`test ${this.group}::${name} ... FAILED`);
      console.error(`--- ${this.group}::${name}: ${error?.stack ?? error}${error?.cause ? `\n    cause: ${JSON.stringify(error.cause)?.slice(0, 600) ?? error.cause}` : ''}`);
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  conclude() {
    console.log(`${this.group}: ${this.passed} passed, ${this.failed} failed`);
    process.exitCode = this.failed || !this.passed ? 1 : 0;
  }
}

export function expect(condition, seen) {
  if (!condition) throw new Error(typeof seen === 'string' ? seen : JSON.stringify(seen));
}
