// npm `fhirclient` in headless Chromium, from an app on another origin, through the standalone launch of `firebreak demo`.
import { Album, Tests, app, browser, demo, expect, freePort, login, registered, walk } from './lib.mjs';
import { becomesReady, usesTheGrant } from './checks.mjs';

const SCOPE = 'launch/patient patient/*.rs openid fhirUser offline_access';
const tests = new Tests('browser_standalone');
const album = new Album('standalone');
const site = await app(await freePort());
const stranger = await app(await freePort());
const gateway = await demo(`${site.origin}/`);
const chromium = await browser(gateway.ca_file);
try {
  const context = await chromium.instance.newContext();
  const page = await context.newPage();
  const client = registered(gateway, site.origin);
  const start = `${site.origin}/launch`;
  site.configure({ clientId: client.client_id, base: gateway.fhir_base, scope: SCOPE });

  // First, for consent that was given is remembered and not asked again.
  await tests.run('consent_denied_comes_back_as_access_denied', async () => {
    const other = await chromium.instance.newContext();
    const denied = await other.newPage();
    await denied.goto(start);
    await denied.waitForURL((url) => url.origin !== site.origin, { timeout: 30_000 });
    await walk(denied, (url) => url.startsWith(site.origin), { ...login(gateway, 'clinician'), decision: 'deny' });
    const url = new URL(denied.url());
    const shown = await denied.locator('#out').innerText();
    expect(url.searchParams.get('error') === 'access_denied' || /access_denied|denied/i.test(shown), `${url.search} ${shown}`);
    await other.close();
  });

  const launched = await tests.run('a_standalone_launch_ends_in_the_app_with_a_patient', async () => {
    await page.goto(start);
    await page.waitForURL((url) => url.origin !== site.origin, { timeout: 30_000 });
    const steps = await walk(page, (url) => url.startsWith(site.origin), login(gateway, 'clinician'), album);
    expect(steps.includes('login') && steps.includes('picker') && steps.includes('consent'), `passed ${steps}`);
    await becomesReady(page);
    await album.take(page, 'app');
  });
  if (launched) await usesTheGrant(tests, page, context, gateway, stranger.origin);

  await tests.run('the_patients_login_launches_with_their_own_record', async () => {
    const other = await chromium.instance.newContext();
    const own = await other.newPage();
    await own.goto(start);
    await own.waitForURL((url) => url.origin !== site.origin, { timeout: 30_000 });
    const offered = [];
    const watch = new Album('standalone-patient');
    await walk(own, (url) => url.startsWith(site.origin), login(gateway, 'patient'), {
      take: async (at, step) => {
        if (step === 'picker') offered.push(...(await at.locator('input[name=patient]').evaluateAll((all) => all.map((e) => e.value))));
        await watch.take(at, step);
      },
    });
    expect(offered.length <= 1, `a patient was offered others: ${offered}`);
    await becomesReady(own);
    const user = await own.evaluate(() => client.user.fhirUser);
    expect(user.endsWith(`Patient/${await own.evaluate(() => client.patient.id)}`), user);
    await other.close();
  });

  await tests.run('every_page_fits_a_phone_and_a_desk', async () => expect(!album.faults.length && album.taken.size, album.faults.join('; ') || 'no page was seen'));
} finally {
  await chromium.close();
  await gateway.stop();
  await site.stop();
  await stranger.stop();
}
tests.conclude();
