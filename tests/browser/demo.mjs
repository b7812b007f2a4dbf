// The demo's own sample app, launched both ways; login and consent with and without JavaScript; the audit page shows the records.
import { Album, Tests, browser, demo, expect, login, walk } from './lib.mjs';

const tests = new Tests('browser_demo');
const gateway = await demo();
const chromium = await browser(gateway.ca_file);
const album = new Album('demo');
const inApp = (url) => url.startsWith(`${gateway.origin}/app/`) && !url.includes('/app/launch');
try {
  await tests.run('the_sample_app_is_launched_standalone_by_the_patient', async () => {
    const context = await chromium.instance.newContext();
    const page = await atTheGateway(context, album);
    const steps = await walk(page, inApp, login(gateway, 'patient'), album);
    expect(steps.at(0) === 'login' && steps.at(-1) === 'consent', `passed ${steps}`);
    await showsTheRecord(page);
    await album.take(page, 'app');
    await context.close();
  });

  await tests.run('login_picker_and_consent_work_without_javascript', async () => {
    // The app needs a script to begin; what the gateway shows must not. One cookie jar, two contexts.
    const context = await chromium.instance.newContext();
    const begun = await atTheGateway(context);
    const plain = await chromium.instance.newContext({ javaScriptEnabled: false });
    await plain.addCookies(await context.cookies());
    const page = await plain.newPage();
    await page.goto(begun.url());
    const steps = await walk(page, inApp, { ...login(gateway, 'clinician'), other: true }, album);
    expect(steps.join() === 'login,picker,consent', `passed ${steps}`);
    expect(new URL(page.url()).searchParams.get('code'), `no code came back: ${page.url()}`);
    await plain.close();
    await context.close();
  });

  await tests.run('the_sample_app_is_launched_from_the_ehr_without_a_second_login', async () => {
    const context = await chromium.instance.newContext();
    const page = await context.newPage();
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
    await context.close();
  });

  await tests.run('the_audit_page_shows_the_records_arriving', async () => {
    const page = await (await chromium.instance.newContext()).newPage();
    await page.goto(`${gateway.origin}/console`);
    await page.waitForFunction(() => document.querySelectorAll('#records li').length > 5, undefined, { timeout: 20_000 });
    const before = await page.locator('#records li').count();
    const other = await (await chromium.instance.newContext()).newPage();
    await atTheGateway(other.context());
    await walk((await other.context().pages()).at(-1), inApp, login(gateway, 'patient'));
    await page.waitForFunction((n) => document.querySelectorAll('#records li').length > n, before, { timeout: 20_000 });
    await album.take(page, 'audit');
  });

  await tests.run('every_page_fits_a_phone_and_a_desk', async () => expect(!album.faults.length && album.taken.size, album.faults.join('; ') || 'no page was seen'));
} finally {
  await chromium.close();
  await gateway.stop();
}
tests.conclude();

/** A page that the sample app sent to the gateway's authorization endpoint, from the demo's start page. */
async function atTheGateway(context, shots) {
  const page = await context.newPage();
  await page.goto(`${gateway.origin}/`);
  await shots?.take(page, 'start');
  await page.locator('a[href*="/app/launch"]').first().click();
  await page.waitForURL((url) => url.pathname !== '/' && !url.pathname.startsWith('/app/'), { timeout: 30_000 });
  await page.waitForLoadState('load');
  return page;
}

/** The sample app shows a chart and lists, and no problem. */
async function showsTheRecord(page) {
  await page.waitForFunction(() => !document.querySelector('#content')?.hidden || !document.querySelector('#problem')?.hidden, undefined, { timeout: 30_000 });
  expect(await page.locator('#problem').isHidden(), await page.locator('#problem').innerText());
  await page.waitForFunction(() => document.querySelector('#content svg') && document.querySelector('#content li, #content td'), undefined, { timeout: 30_000 });
}
