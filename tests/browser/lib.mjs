// What the browser tests share: named tests, Debian's Chromium, the gateway's demo, an app on another origin, screenshots,
// and a person who fills in the gateway's forms. A program is one call of `play`.
//
// Environment: FIREBREAK_NPM (a directory with node_modules), FIREBREAK_BINARY (default: the release build),
// FIREBREAK_CHROMIUM (default: /usr/bin/chromium).
import { spawn, execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import net from 'node:net';

export const ROOT = resolve(fileURLToPath(import.meta.url), '../../..');
const SCREENSHOTS = join(ROOT, 'target/screenshots');
export const BINARY = process.env.FIREBREAK_BINARY ?? join(ROOT, 'target/release/firebreak');
const CHROMIUM = process.env.FIREBREAK_CHROMIUM ?? '/usr/bin/chromium';
const packages = createRequire(join(process.env.FIREBREAK_NPM ?? `${process.env.HOME}/.cache/firebreak-tests/npm`, 'package.json'));

const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 800 };
const WIDTHS = { phone: PHONE, desk: DESK };

/**
 * One program: `scene` runs its named tests, with the demo and Chromium up; all of it is ended, whatever happens.
 * `name` names the program in its tests (`browser_NAME`) and its screenshots; `apps`: an app of another origin, registered with
 * the gateway, and a stranger that is not; `gateway`: what starts a gateway for the app's address, when it is not the demo.
 */
export async function play({ name, apps = false, gateway: start = demo }, scene) {
  const tests = new Tests(`browser_${name}`);
  const album = new Album(name.split('_')[0]);
  const opened = [];
  const open = async (starting) => {
    const what = await starting;
    opened.unshift(what);
    return what;
  };
  try {
    const site = apps ? await open(app(await freePort())) : undefined;
    const stranger = apps ? await open(app(await freePort())) : undefined;
    const gateway = await open(start(site && `${site.origin}/`));
    const chromium = await open(browser(gateway.ca_file));
    await scene({ tests, album, gateway, site, stranger, chromium });
    await tests.run('every_page_fits_a_phone_and_a_desk', async () => expect(!album.faults.length && album.taken.size, album.faults.join('; ') || 'no page was seen'));
  } finally {
    for (const what of opened) await what.stop();
  }
  tests.conclude();
}

/** The named tests of one program; prints the lines that `cargo test` prints. */
class Tests {
  constructor(group) {
    Object.assign(this, { group, passed: 0, failed: 0 });
  }

  /** Runs one test; gives its value, or undefined when it failed. */
  async run(name, test) {
    const started = Date.now();
    try {
      const value = await bounded(test(), 60_000, name);
      this.passed += 1;
      console.log(`test ${this.group}::${name} ... ok (${((Date.now() - started) / 1000).toFixed(1)} s)`);
      return value ?? true;
    } catch (error) {
      this.failed += 1;
      console.log(`test ${this.group}::${name} ... FAILED`);
      console.error(`--- ${this.group}::${name}: ${error?.stack ?? error}`);
      return undefined;
    }
  }

  /** Ends the program with 1 when a test failed or none ran. */
  conclude() {
    console.log(`${this.group}: ${this.passed} passed, ${this.failed} failed`);
    process.exitCode = this.failed || !this.passed ? 1 : 0;
  }
}

export function expect(condition, explanation) {
  if (!condition) throw new Error(typeof explanation === 'string' ? explanation : JSON.stringify(explanation));
}

export function bounded(promise, milliseconds, what) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no end after ${milliseconds / 1000} s`)), milliseconds);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** A port that was free a moment ago. */
export function freePort() {
  return new Promise((done, failed) => {
    const server = net.createServer().on('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

/** `firebreak demo`: what it printed as JSON, the CA's file made absolute, and `stop`. */
async function demo(app) {
  const directory = mkdtempSync(join(tmpdir(), 'firebreak-demo-'));
  const arguments_ = ['demo', '--port', String(await freePort()), '--print-json', ...(app ? ['--app', app] : [])];
  const child = spawn(BINARY, arguments_, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  const errors = [];
  child.stderr.on('data', (chunk) => errors.push(chunk));
  const told = await bounded(
    new Promise((done, failed) => {
      createInterface(child.stdout).on('line', (line) => line.startsWith('{') && done(JSON.parse(line)));
      child.on('error', failed);
      child.on('exit', (code) => failed(new Error(`demo ended with ${code}: ${Buffer.concat(errors).toString().slice(-2000)}`)));
    }),
    30_000,
    'demo',
  );
  const stop = async () => {
    const gone = new Promise((done) => child.once('exit', done));
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await bounded(gone, 10_000, 'demo stop').catch(() => child.kill('SIGKILL'));
    }
    rmSync(directory, { recursive: true, force: true });
  };
  return { ...told, ca_file: resolve(directory, told.ca_file), stop };
}

/** The login of a role (`clinician`, `patient`): by its roles, its name, or what it is called to people. */
export function login(gateway, role) {
  const found = gateway.logins.find((l) => [l.role, l.username, ...(l.roles ?? [])].includes(role) || (l.display_name ?? '').toLowerCase().includes(role));
  expect(found, `no login \`${role}\` among ${gateway.logins.map((l) => l.username)}`);
  return found;
}

/** Chromium in a profile of its own that trusts the gateway's CA and nothing else of ours. */
async function browser(caFile) {
  expect(existsSync(CHROMIUM), `${CHROMIUM} is missing: install the package chromium`);
  const { chromium } = packages('playwright-core');
  const home = mkdtempSync(join(tmpdir(), 'firebreak-browser-'));
  const store = join(home, '.pki/nssdb');
  mkdirSync(store, { recursive: true });
  execFileSync('certutil', ['-d', `sql:${store}`, '-N', '--empty-password']);
  if (caFile) execFileSync('certutil', ['-d', `sql:${store}`, '-A', '-t', 'C,,', '-n', 'firebreak', '-i', caFile]);
  const instance = await chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    env: { ...process.env, HOME: home },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--disable-domain-reliability', '--test-third-party-cookie-phaseout',
      '--no-default-browser-check'],
  });
  const stop = async () => {
    await instance.close();
    rmSync(home, { recursive: true, force: true, maxRetries: 3 });
  };
  return { instance, stop };
}

/** What `visit(page)` gives, on a page of a person of their own: no cookie of anybody else. */
export async function apart(chromium, visit) {
  const context = await chromium.instance.newContext();
  try {
    return await visit(await context.newPage());
  } finally {
    await context.close();
  }
}

/** Opens the app's launch page, which sends the browser away to the gateway. */
export async function launch(page, site, url = `${site.origin}/launch`) {
  await page.goto(url);
  // The gateway may show a page of its own, or send the error back to the app.
  await page.waitForURL((at) => at.origin !== site.origin || at.searchParams.has('error') || at.searchParams.has('code'), { timeout: 30_000 });
}

/** Whether the browser is back in the app, after a launch. */
export function backIn(site) {
  return (url) => url.startsWith(`${site.origin}/?`) || url === `${site.origin}/`;
}

/** Screenshots of a page at both widths; an error when it is wider than the phone. */
async function shoot(page, name) {
  mkdirSync(SCREENSHOTS, { recursive: true });
  const before = page.viewportSize();
  for (const [width, size] of Object.entries(WIDTHS)) {
    await page.setViewportSize(size);
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${width}.png`), fullPage: true });
    const content = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(content <= size.width, `the page ${name} is ${content} pixels wide at ${width} width ${size.width}`);
  }
  if (before) await page.setViewportSize(before);
}

/** The shots that were already taken, so that each page is taken once per program. */
class Album {
  constructor(prefix) {
    this.prefix = prefix;
    this.taken = new Map();
    this.faults = [];
  }

  async take(page, step) {
    if (this.taken.has(step)) return;
    this.taken.set(step, page.url());
    try {
      await shoot(page, `${this.prefix}-${step}`);
    } catch (error) {
      this.faults.push(error.message);
    }
  }
}

/**
 * Fills in the gateway's forms as a person would, until `arrived(url)`; gives the names of the pages that were passed.
 * `person`: username, password, `decision` at consent (allow), `other`: the last patient offered instead of the first.
 */
export async function walk(page, arrived, person, album) {
  const steps = [];
  for (let turn = 0; turn < 12; turn += 1) {
    await page.waitForLoadState('load');
    if (arrived(page.url())) return steps;
    const step = await recognise(page);
    expect(step, `a page that is neither login, picker nor consent: ${new URL(page.url()).pathname}: ${(await page.locator('body').innerText()).slice(0, 300)}`);
    expect(!(step === 'login' && steps.includes('login')), `the login was refused: ${(await page.locator('body').innerText()).slice(0, 300)}`);
    await album?.take(page, step);
    steps.push(step);
    await act(page, step, person);
  }
  throw new Error(`no arrival after ${steps}`);
}

async function recognise(page) {
  if (await page.locator('input[name=password]').count()) return 'login';
  if (await page.locator('input[name=patient]').count()) return 'picker';
  if (await page.locator('input[name=encounter]').count()) return 'encounter';
  if (await page.locator('[name=decision]').count()) return 'consent';
  return undefined;
}

async function act(page, step, person) {
  // A post may redirect several times and end at the app: the next turn looks at wherever it stopped.
  const settled = page.waitForEvent('domcontentloaded', { timeout: 30_000 });
  if (step === 'login') {
    await page.fill('input[name=username]', person.username);
    await page.fill('input[name=password]', person.password);
    await page.press('input[name=password]', 'Enter');
  } else if (step === 'picker') {
    const offered = page.locator('input[name=patient]');
    await (person.other ? offered.last() : offered.first()).check();
    await page.locator('form:has(input[name=patient])').locator('[name=decision][value=allow]').click();
  } else if (step === 'encounter') {
    await page.locator('input[name=encounter]').first().check();
    await page.locator('form:has(input[name=encounter])').locator('[name=decision][value=allow]').click();
  } else {
    await page.click(`[name=decision][value=${person.decision ?? 'allow'}]`);
  }
  await settled;
}

/** A small app of another origin: npm `fhirclient` in a page, launched both ways. Gives its origin, `configure` (clientId, scope, base) and `stop`. */
async function app(port) {
  const library = readFileSync(packages.resolve('fhirclient/build/fhir-client.js'));
  const page = (title, script) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${title}</title><style>pre{white-space:pre-wrap;overflow-wrap:anywhere}</style><script src="/fhir-client.js"></script></head><body><h1>${title}</h1><pre id="out">working</pre><script>${script}</script></body></html>`;
  const report = 'const out=document.getElementById("out");window.failed=e=>{out.textContent="failed: "+(e&&e.message||e);document.title="failed"};';
  const settings = {};
  const pages = {
    '/': () => page('app', `${report}FHIR.oauth2.ready().then(c=>{window.client=c;out.textContent="ready "+c.patient.id;document.title="ready"}).catch(failed)`),
    '/launch': () => page('launch', `${report}const s=${JSON.stringify(settings)};
FHIR.oauth2.authorize({clientId:s.clientId,iss:new URLSearchParams(location.search).get("iss")||s.base,scope:s.scope,redirectUri:location.origin+"/",pkceMode:"required",completeInTarget:true}).catch(failed)`),
    '/blank': () => page('blank', ''),
  };
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://app').pathname;
    if (path === '/fhir-client.js') return response.writeHead(200, { 'content-type': 'text/javascript' }).end(library);
    const body = pages[path]?.();
    if (!body) return response.writeHead(404).end();
    return response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(body);
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  const stop = () => new Promise((done) => {
    server.close(done);
    server.closeAllConnections();
  });
  return { origin: `http://127.0.0.1:${port}`, configure: (more) => Object.assign(settings, more), stop };
}

/** The demo's entry for an app of an origin. */
export function registered(gateway, origin) {
  const found = gateway.apps.find((a) => [a.launch_url, ...(a.redirect_uris ?? [])].some((u) => u?.startsWith(`${origin}/`)));
  expect(found, `no app is registered for ${origin}: ${JSON.stringify(gateway.apps)}`);
  return found;
}

/** An ES module of the npm directory. */
export function load(name) {
  return import(pathToFileURL(packages.resolve(name)).href);
}
