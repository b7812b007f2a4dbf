// npm `fhirclient` in headless Chromium, from an app on another origin, through the standalone launch of `firebreak demo`.
import { apart, backIn, expect, launch, login, play, registered, walk } from './lib.mjs';
import { becomesReady, usesTheGrant } from './checks.mjs';

const SCOPE = 'launch/patient patient/*.rs openid fhirUser offline_access';

await play({ name: 'standalone', apps: true }, async ({ tests, album, gateway, site, stranger, chromium }) => {
  const context = await chromium.instance.newContext();
  const page = await context.newPage();
  site.configure({ clientId: registered(gateway, site.origin).client_id, base: gateway.fhir_base, scope: SCOPE });

  // First, for consent that was given is remembered and not asked again.
  await tests.run('consent_denied_comes_back_as_access_denied', () => apart(chromium, async (denied) => {
    await launch(denied, site);
    await walk(denied, backIn(site), { ...login(gateway, 'clinician'), decision: 'deny' });
    const url = new URL(denied.url());
    const shown = await denied.locator('#out').innerText();
    expect(url.searchParams.get('error') === 'access_denied' || /access_denied|denied/i.test(shown), `${url.search} ${shown}`);
  }));

  const launched = await tests.run('a_standalone_launch_ends_in_the_app_with_a_patient', async () => {
    await launch(page, site);
    const steps = await walk(page, backIn(site), login(gateway, 'clinician'), album);
    expect(steps.includes('login') && steps.includes('picker') && steps.includes('consent'), `passed ${steps}`);
    await becomesReady(page);
    await album.take(page, 'app');
  });
  if (launched) await usesTheGrant(tests, page, context, gateway, stranger.origin);

  // Chromium leaves the session out of what another site posts, and sends it with the GET that follows.
  await tests.run('an_app_that_posts_its_logout_has_its_person_asked', async () => {
    await page.evaluate((action) => {
      const form = Object.assign(document.createElement('form'), { method: 'post', action });
      document.body.append(form);
      form.submit();
    }, `${gateway.origin}/logout`);
    await page.getByRole('heading', { name: 'Sign out?' }).waitFor();
    await page.goto(`${gateway.origin}/manage`);
    expect(!(await page.locator('input[name=password]').count()), 'the person is signed out without an answer');
  });

  await tests.run('the_patients_login_launches_with_their_own_record', () => apart(chromium, async (own) => {
    const offered = [];
    await launch(own, site);
    await walk(own, backIn(site), login(gateway, 'patient'), {
      take: async (at, step) => {
        if (step === 'picker') offered.push(...(await at.locator('input[name=patient]').evaluateAll((all) => all.map((e) => e.value))));
        await album.take(at, `patient-${step}`);
      },
    });
    expect(offered.length <= 1, `a patient was offered others: ${offered}`);
    await becomesReady(own);
    const user = await own.evaluate(() => client.user.fhirUser);
    expect(user.endsWith(`Patient/${await own.evaluate(() => client.patient.id)}`), user);
  }));
});
