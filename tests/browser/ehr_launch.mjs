// npm `fhirclient` in headless Chromium, launched from the demo's EHR simulator into an app on another origin.
import { apart, backIn, expect, launch, login, play, registered, walk } from './lib.mjs';
import { becomesReady, usesTheGrant } from './checks.mjs';

await play({ name: 'ehr_launch', apps: true }, async ({ tests, album, gateway, site, stranger, chromium }) => {
  const context = await chromium.instance.newContext();
  const page = await context.newPage();
  const client = registered(gateway, site.origin);
  site.configure({ clientId: client.client_id, scope: 'launch patient/*.rs openid fhirUser offline_access' });
  let launchUrl;

  const launched = await tests.run('the_ehr_launches_the_app_with_the_patient_that_is_open', async () => {
    await page.goto(`${gateway.origin}/ehr`);
    await album.take(page, 'worklist');
    await page.locator('a[href*="/ehr/patients/"]').first().click();
    await album.take(page, 'chart');
    const patient = await page.locator('input[name=patient]').inputValue();
    // The simulator sends the browser to the app's launch URL with `iss` and `launch`; the app asks for its scopes there.
    const asked = page.waitForRequest((request) => request.url().startsWith(`${site.origin}/launch`), { timeout: 30_000 });
    await page.locator(`button[name=app][value="${client.client_id}"]`).click();
    launchUrl = new URL((await asked).url());
    expect(launchUrl.searchParams.get('iss') === gateway.fhir_base && launchUrl.searchParams.get('launch'), launchUrl.search);
    expect(!launchUrl.search.includes(patient), `the patient travels in the URL: ${launchUrl.search}`);
    await page.waitForURL((url) => !url.href.startsWith(`${site.origin}/launch`) && !url.href.startsWith(`${gateway.origin}/ehr`), { timeout: 30_000 });
    await walk(page, backIn(site), login(gateway, 'clinician'), album);
    await becomesReady(page);
    await album.take(page, 'app');
    const got = await page.evaluate(() => client.patient.id);
    expect(patient === got, `the EHR had ${patient} open, the app got ${got}`);
  });
  if (!launched) return;

  await usesTheGrant(tests, page, context, gateway, stranger.origin);
  await tests.run('a_launch_handle_is_spent_once', () => apart(chromium, async (again) => {
    await launch(again, site, launchUrl.href);
    const end = await walk(again, backIn(site), login(gateway, 'clinician'))
      .then(() => becomesReady(again))
      .then(() => 'ready', (error) => error.message);
    expect(end !== 'ready', 'the same handle launched the app twice');
  }));
});
