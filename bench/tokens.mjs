// What the token endpoint costs: CPU of the gateway per refresh and per exchange of a code (with an RS256 `id_token`), and how many
// of them one core does in a second. Prints the numbers beside the budgets and asserts nothing: a shared machine informs, it does
// not decide. CPU time is the process's own, from /proc, so what else the machine does matters little.
//
//   FIREBREAK_BINARY=target/release/firebreak node bench/tokens.mjs [REQUESTS]
import { readFileSync } from 'node:fs';
import { Person, REDIRECT, SECRET, expect, pkce, site } from '../tests/clients/site.mjs';

const REQUESTS = Number(process.argv[2] ?? 2_000);
const CONNECTIONS = 32;
const TICKS = 100;
const SCOPE = 'launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs';

process.env.TOKIO_WORKER_THREADS = '1';
const gateway = await site({ more: ({ client, redirects }) => client('approved', `${redirects}\napproved = true`) });
const endpoint = `${gateway.issuer}/token`;
const basic = { Authorization: `Basic ${Buffer.from(`symmetric:${SECRET}`).toString('base64')}` };
const person = new Person(gateway, gateway.logins.find((login) => login.role === 'patient'));

/** Microseconds of CPU that the gateway has spent. */
function spent() {
  const fields = readFileSync(`/proc/${gateway.pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / TICKS;
}

/** Does `work` with every one of `items`, on so many connections; prints what it cost. */
async function measure(what, least, items, work) {
  const [cpu, began] = [spent(), performance.now()];
  const left = items[Symbol.iterator]();
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    for (let next = left.next(); !next.done; next = left.next()) await work(next.value);
  }));
  const each = (spent() - cpu) / items.length;
  const perCore = 1_000_000 / each;
  const rate = items.length / ((performance.now() - began) / 1000);
  const mark = perCore >= least ? 'ok' : 'BELOW';
  console.log(`${what.padEnd(48)} ${each.toFixed(0).padStart(6)} us  ${perCore.toFixed(0).padStart(6)}/s/core  >= ${least}: ${mark}   (${rate.toFixed(0)}/s here, ${items.length} requests)`);
}

async function code(client) {
  const { verifier, challenge } = pkce();
  person.pages = [];
  const { url } = await person.authorize(`${gateway.issuer}/authorize`, {
    response_type: 'code', client_id: client, redirect_uri: REDIRECT, scope: SCOPE, state: 's', aud: gateway.base, code_challenge: challenge, code_challenge_method: 'S256',
  });
  return { grant_type: 'authorization_code', code: url.searchParams.get('code'), redirect_uri: REDIRECT, code_verifier: verifier, client_id: client };
}

async function token(form, headers) {
  const reply = await gateway.http(endpoint, { method: 'POST', form, headers });
  expect(reply.status === 200, `${reply.status} ${reply.text}`);
  return reply.json;
}

try {
  // The session stays and the app is approved: after the first login a code is two requests. They live for a minute, and one
  // address may ask for 600 in that time.
  const codes = [await code('approved')];
  const until = performance.now() + 40_000;
  while (codes.length < Math.min(REQUESTS, 500) && performance.now() < until) codes.push(await code('approved'));
  const chains = [];
  await measure('authorization_code with an RS256 id_token', 800, codes, async (form) => {
    const { refresh_token: chain, id_token: id } = await token(form);
    expect(id, 'no id_token');
    if (chains.length < CONNECTIONS) chains.push(chain);
  });
  const rounds = Array.from({ length: REQUESTS }, (_, index) => index);
  const free = [...chains];
  await measure('refresh of a public client, rotated', 2_000, rounds, async () => {
    const chain = free.pop();
    const { refresh_token: next } = await token({ grant_type: 'refresh_token', refresh_token: chain, client_id: 'approved' });
    free.push(next);
  });
  const { code_verifier: verifier, code: given } = await code('symmetric');
  const { refresh_token: kept } = await token({ grant_type: 'authorization_code', code: given, redirect_uri: REDIRECT, code_verifier: verifier }, basic);
  await measure('refresh of a confidential client', 2_000, rounds, () => token({ grant_type: 'refresh_token', refresh_token: kept }, basic));
} finally {
  await gateway.stop();
}
