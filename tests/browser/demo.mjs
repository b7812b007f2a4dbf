// The demo's own sample app, launched both ways; login and consent with and without JavaScript; the audit page shows the records.
import { apart, expect, login, play, walk } from './lib.mjs';

await play({ name: 'demo' }, async ({ tests, album, gateway, chromium }) => {
  const inApp = (url) => url.startsWith(`${gateway.origin}/app/`) && !url.includes('/app/launch');

  await tests.run('the_sample_app_is_launched_standalone_by_the_patient', () => apart(chromium, async (page) => {
    await atTheGateway(page, gateway, album);
    const steps = await walk(page, inApp, login(gateway, 'patient'), album);
    expect(steps.at(0) === 'login' && steps.at(-1) === 'consent', `passed ${steps}`);
    await showsTheRecord(page);
    await album.take(page, 'app');
  }));

  await tests.run('login_picker_and_consent_work_without_javascript', () => apart(chromium, async (begun) => {
    // The app needs a script to begin; what the gateway shows must not. One cookie jar, two contexts.
    await atTheGateway(begun, gateway);
    const plain = await chromium.instance.newContext({ javaScriptEnabled: false });
    await plain.addCookies(await begun.context().cookies());
    const page = await plain.newPage();
    await page.goto(begun.url());
    const steps = await walk(page, inApp, { ...login(gateway, 'clinician'), other: true }, album);
    expect(steps.join() === 'login,picker,consent', `passed ${steps}`);
    expect(new URL(page.url()).searchParams.get('code'), `no code came back: ${page.url()}`);
    await plain.close();
  }));

  await tests.run('the_sample_app_is_launched_from_the_ehr_without_a_second_login', () => apart(chromium, async (page) => {
    await page.goto(`${gateway.origin}/ehr`);
    await album.take(page, 'ehr');
    await page.locator('a[href*="/ehr/patients/"]').first().click();
    await album.take(page, 'ehr-chart');
    await page.locator('button[name=app]').first().click();
    await page.waitForURL((url) => !url.pathname.startsWith('/ehr'), { timeout: 30_000 });
    await page.waitForURL((url) => url.pathname !== '/app/launch', { timeout: 30_000 });
    const steps = await walk(page, inApp, login(gateway, 'clinician'), album);
    expect(!steps.includes('login') && !steps.includes('picker'), `the EHR vouched for the user and named the patient, yet: ${steps}`);
    await showsTheRecord(page);
    await album.take(page, 'app-from-ehr');
  }));

  await tests.run('the_audit_page_shows_the_records_arriving', () => apart(chromium, async (page) => {
    await page.goto(`${gateway.origin}/console`);
    await page.waitForFunction(() => document.querySelectorAll('#records li').length > 5, undefined, { timeout: 20_000 });
    const before = await page.locator('#records li').count();
    await apart(chromium, async (other) => {
      await atTheGateway(other, gateway);
      await walk(other, inApp, login(gateway, 'patient'));
    });
    await page.waitForFunction((n) => document.querySelectorAll('#records li').length > n, before, { timeout: 20_000 });
    await album.take(page, 'audit');
  }));
});

/** From the demo's start page into the sample app, which sends the browser to the gateway's authorization endpoint. */
async function atTheGateway(page, gateway, shots) {
  await page.goto(`${gateway.origin}/`);
  await shots?.take(page, 'start');
  await page.locator('a[href*="/app/launch"]').first().click();
  await page.waitForURL((url) => url.pathname !== '/' && !url.pathname.startsWith('/app/'), { timeout: 30_000 });
  await page.waitForLoadState('load');
}

/** The sample app shows a chart and lists, and no problem. */
async function showsTheRecord(page) {
  await page.waitForFunction(() => !document.querySelector('#content')?.hidden || !document.querySelector('#problem')?.hidden, undefined, { timeout: 30_000 });
  expect(await page.locator('#problem').isHidden(), await page.locator('#problem').innerText());
  await page.waitForFunction(() => document.querySelector('#content svg') && document.querySelector('#content li, #content td'), undefined, { timeout: 30_000 });
}
