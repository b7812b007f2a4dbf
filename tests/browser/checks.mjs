// What an app that was launched does, in the page, with npm `fhirclient`: the same for both launches.
import { expect, load } from './lib.mjs';

/** Reads, searches, pages, refreshes; checks CORS from this origin and from one that is not registered. */
export async function usesTheGrant(tests, page, context, gateway, strangerOrigin) {
  await tests.run('the_app_reads_its_patient', async () => {
    const patient = await page.evaluate(() => client.patient.read());
    expect(patient.resourceType === 'Patient' && patient.id === (await page.evaluate(() => client.patient.id)), `read ${patient.id}`);
  });

  await tests.run('the_app_searches_observations_and_follows_next_links', async () => {
    const found = await page.evaluate(async () => {
      const pages = await client.request(`Observation?patient=${client.patient.id}&_count=2`, { pageLimit: 3 });
      const all = pages.flatMap((p) => p.entry.map((e) => e.resource));
      return { all, next: pages[0].link.find((l) => l.relation === 'next')?.url, pages: pages.length, patient: client.patient.id };
    });
    expect(found.pages === 3, `${found.pages} pages, expected 3`);
    expect(found.all.length === 6 && new Set(found.all.map((r) => r.id)).size === 6, `${found.all.length} resources`);
    expect(found.all.every((r) => r.subject.reference === `Patient/${found.patient}`), 'a stranger among them');
    expect(found.next.startsWith(`${gateway.fhir_base}`), 'the next link does not stay on the gateway');
  });

  // The package sends its token with whatever it asks of the FHIR base.
  await tests.run('the_app_reads_the_capability_statement', async () => {
    const found = await page.evaluate(() => client.request('metadata'));
    expect(found.resourceType === 'CapabilityStatement', found.resourceType);
  });

  await tests.run('a_strangers_patient_is_refused_with_an_outcome_that_the_app_can_read', async () => {
    const answer = await page.evaluate(async (base) => {
      const token = client.state.tokenResponse.access_token;
      const response = await fetch(`${base}/Patient/no-such-patient`, { headers: { authorization: `Bearer ${token}` } });
      return { status: response.status, body: await response.json() };
    }, gateway.fhir_base);
    expect([403, 404].includes(answer.status) && answer.body.resourceType === 'OperationOutcome', answer);
  });

  await tests.run('the_id_token_is_signed_by_the_issuer_and_names_the_user', async () => {
    const { token, clientId } = await page.evaluate(() => ({ token: client.state.tokenResponse.id_token, clientId: client.state.clientId }));
    expect(token, 'no id_token');
    const jose = await load('jose');
    const open = await context.newPage();
    const configuration = await (await open.request.get(`${gateway.fhir_base}/.well-known/smart-configuration`, { ignoreHTTPSErrors: true })).json();
    const keys = await (await open.request.get(configuration.jwks_uri, { ignoreHTTPSErrors: true })).json();
    await open.close();
    const { payload } = await jose.jwtVerify(token, jose.createLocalJWKSet(keys), { issuer: configuration.issuer, audience: clientId, algorithms: ['RS256'] });
    expect(payload.fhirUser, `claims ${Object.keys(payload)}`);
  });

  await tests.run('the_app_refreshes_its_token_without_a_client_id', async () => {
    const refreshed = await page.evaluate(async () => {
      const before = client.state.tokenResponse.access_token;
      await client.refresh();
      return { changed: client.state.tokenResponse.access_token !== before, patient: (await client.patient.read()).id };
    });
    expect(refreshed.changed && refreshed.patient, refreshed);
  });

  await tests.run('an_unregistered_origin_reads_discovery_but_neither_the_record_nor_the_token_endpoint', async () => {
    const token = await page.evaluate(() => client.state.tokenResponse.access_token);
    const stranger = await context.newPage();
    await stranger.goto(`${strangerOrigin}/blank`);
    const seen = await stranger.evaluate(async ({ base, token }) => {
      const outcome = async (url, init) => fetch(url, init).then((r) => r.status, (e) => e.name);
      const configuration = await fetch(`${base}/.well-known/smart-configuration`).then((r) => r.json());
      return {
        metadata: await outcome(`${base}/metadata`),
        record: await outcome(`${base}/Patient`, { headers: { authorization: `Bearer ${token}` } }),
        token: await outcome(configuration.token_endpoint, { method: 'POST', body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'x' }) }),
      };
    }, { base: gateway.fhir_base, token });
    await stranger.close();
    expect(seen.metadata === 200, seen);
    expect(seen.record === 'TypeError' && seen.token === 'TypeError', seen);
  });
}

/** Waits for the app's page to say that it is ready, or why not. */
export async function becomesReady(page) {
  await page.waitForFunction(() => ['ready', 'failed'].includes(document.title), undefined, { timeout: 30_000 });
  expect((await page.title()) === 'ready', await page.locator('#out').innerText());
}
