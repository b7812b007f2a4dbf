// The gateway's pages for people who use no mouse or no eyes: what the accessibility tree of Chromium tells, the order of focus,
// whether it can be seen, and a whole launch by keyboard alone. Screenshots of every page at both widths.
import { apart, backIn, expect, launch, login, play, registered, walk } from './lib.mjs';
import { becomesReady } from './checks.mjs';

const SCOPE = 'launch/patient launch/encounter openid fhirUser offline_access patient/Patient.rs patient/Condition.rs patient/Observation.rs patient/Encounter.read';
const LABORATORY = 'patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory';
const INTERACTIVE = ['textbox', 'searchbox', 'checkbox', 'radio', 'button', 'link', 'DisclosureTriangle', 'combobox'];

await play({ name: 'accessible', apps: true }, async ({ tests, album, gateway, site, chromium }) => {
  site.configure({ clientId: registered(gateway, site.origin).client_id, base: gateway.fhir_base, scope: SCOPE });
  const clinician = login(gateway, 'clinician');

  await tests.run('a_launch_is_done_by_keyboard_alone_and_every_page_speaks', () => apart(chromium, async (page) => {
    await launch(page, site);
    await speaks(page, { textbox: ['User name', 'Password'], button: ['Sign in', 'Cancel'] });
    await inOrder(page);
    await album.take(page, 'login');

    await page.locator('input[name=username]').focus();
    await page.keyboard.type(clinician.username);
    await page.keyboard.press('Tab');
    await page.keyboard.type('not the password');
    await page.keyboard.press('Enter');
    await page.waitForSelector('[role=alert]');
    await speaks(page, { alert: true, textbox: ['User name', 'Password'] });
    const described = await page.locator('input[name=password]').getAttribute('aria-describedby');
    expect(await page.locator(`#${described}`).innerText(), 'the field does not say what is wrong');
    expect(await page.evaluate(() => document.activeElement.name) === 'password', 'focus is not where the correction is due');
    await album.take(page, 'login-again');
    await page.keyboard.type(clinician.password);
    await page.keyboard.press('Enter');

    await page.waitForSelector('input[name=patient]');
    await speaks(page, { searchbox: ['Search by name or identifier'], group: ['Patients'] });
    await inOrder(page);
    await album.take(page, 'picker');
    await reach(page, 'input[name=patient]');
    await page.keyboard.press('Space');
    await page.keyboard.press('Enter');

    await page.waitForSelector('input[name=encounter]');
    await speaks(page, { group: ['Visits, newest first'] });
    await inOrder(page);
    await album.take(page, 'encounter');
    await reach(page, 'input[name=encounter]');
    await page.keyboard.press('Space');
    await page.keyboard.press('Enter');

    await page.waitForSelector('input[name=csrf]', { state: 'attached' });
    await speaks(page, { group: ['It would be able to', 'How long'], button: ['Allow', 'Deny'] });
    await inOrder(page);
    await album.take(page, 'consent');
    await page.locator('summary').last().focus();
    await page.keyboard.press('Enter');
    expect(await page.locator('details').last().evaluate((details) => details.open), 'the list of parts does not open by keyboard');
    await inOrder(page);
    await page.locator(`input[value="${LABORATORY}"]`).focus();
    await page.keyboard.press('Space');
    await album.take(page, 'consent-parts');
    await reach(page, 'button[value=allow]');
    await page.keyboard.press('Enter');

    await page.waitForURL((url) => backIn(site)(url.href), { timeout: 20_000 });
    await becomesReady(page);
    const { scope } = await page.evaluate(() => client.state.tokenResponse);
    expect(scope === SCOPE.replace('patient/Observation.rs', LABORATORY), scope);
  }));

  await tests.run('an_error_is_announced_and_gives_a_reference', () => apart(chromium, async (page) => {
    await page.goto(`${gateway.origin}/authorize?client_id=nobody`);
    await speaks(page, { alert: true });
    expect(await page.locator('.reference code').innerText(), 'no reference');
    await album.take(page, 'error');
  }));

  await tests.run('nobody_is_found_and_the_page_says_so', () => apart(chromium, async (page) => {
    await launch(page, site);
    await page.fill('input[name=username]', clinician.username);
    await page.fill('input[name=password]', clinician.password);
    await page.press('input[name=password]', 'Enter');
    await page.waitForSelector('input[name=query]');
    await page.fill('input[name=query]', 'Nobodyofthatname');
    await page.press('input[name=query]', 'Enter');
    await page.waitForSelector('[role=status]');
    await speaks(page, { searchbox: ['Search by name or identifier'], button: ['Search', 'Cancel'] });
    await inOrder(page);
    await album.take(page, 'picker-nobody');
  }));

  await tests.run('access_is_seen_and_withdrawn_and_a_login_ended_by_keyboard_alone', () => apart(chromium, async (page) => {
    await launch(page, site);
    await page.fill('input[name=username]', login(gateway, 'patient').username);
    await page.fill('input[name=password]', login(gateway, 'patient').password);
    await page.press('input[name=password]', 'Enter');
    await page.waitForSelector('input[name=encounter], input[name=csrf]', { state: 'attached' });
    if (await page.locator('input[name=encounter]').count()) {
      await page.locator('input[name=encounter]').last().check();
      await page.click('button[value=allow]');
      await page.waitForSelector('input[name=csrf]', { state: 'attached' });
    }
    await page.click('button[value=allow]');
    await page.waitForURL((url) => backIn(site)(url.href), { timeout: 20_000 });
    await becomesReady(page);
    const reads = () => page.evaluate(() => fetch(`${client.state.serverUrl}/Patient/${client.patient.id}`, {
      headers: { Authorization: `Bearer ${client.state.tokenResponse.access_token}` },
    }).then(({ status }) => status));
    expect(await reads() === 200, 'the app does not read');

    const own = await page.context().newPage();
    await own.goto(`${gateway.origin}/manage`);
    await speaks(own, { button: ['Sign out here'] });
    await inOrder(own);
    await contrasts(own);
    await album.take(own, 'manage');
    await reach(own, 'button[value=withdraw]');
    await own.keyboard.press('Enter');
    await own.waitForSelector('[role=status]');
    await speaks(own, { status: true });
    await album.take(own, 'manage-withdrawn');
    expect(await reads() === 401, 'the app still reads');

    await own.goto(`${gateway.origin}/logout`);
    await speaks(own, { button: ['Sign out'] });
    await album.take(own, 'logout');
    await reach(own, 'button.primary');
    await own.keyboard.press('Enter');
    // The page itself, not its answer alone: a navigation that has not arrived would interrupt the next one.
    await own.getByRole('heading', { name: 'You are signed out' }).waitFor();
    await own.waitForLoadState('load');
    await speaks(own, { link: ['See which apps have access'] });
    await inOrder(own);
    await album.take(own, 'logged-out');
    await own.goto(`${gateway.origin}/manage`);
    await speaks(own, { textbox: ['User name', 'Password'], button: ['Sign in'] });
    await inOrder(own);
    await album.take(own, 'manage-login');
  }));

  await tests.run('who_reads_german_gets_german_pages_that_fit_a_phone', async () => {
    const context = await chromium.instance.newContext({ locale: 'de-DE' });
    const page = await context.newPage();
    const german = { take: async (shown, step) => {
      expect(await shown.evaluate(() => document.documentElement.lang) === 'de', `${step} is not German`);
      await album.take(shown, `${step}-de`);
    } };
    await launch(page, site);
    await speaks(page, { textbox: ['Benutzername', 'Passwort'], button: ['Anmelden', 'Abbrechen'] });
    await walk(page, backIn(site), clinician, german);
    await becomesReady(page);
    await page.goto(`${gateway.origin}/manage`);
    await speaks(page, { button: ['Hier abmelden'] });
    await german.take(page, 'manage');
    await page.goto(`${gateway.origin}/logout`);
    await german.take(page, 'logout');
    await page.goto(`${gateway.origin}/authorize?client_id=nobody`);
    await german.take(page, 'error');
    await context.close();
  });

  await tests.run('text_can_be_read_in_the_light_and_in_the_dark', async () => {
    for (const colorScheme of ['light', 'dark']) {
      const context = await chromium.instance.newContext({ colorScheme });
      const page = await context.newPage();
      await launch(page, site);
      await contrasts(page);
      await page.fill('input[name=username]', login(gateway, 'patient').username);
      await page.fill('input[name=password]', login(gateway, 'patient').password);
      await page.press('input[name=password]', 'Enter');
      await page.waitForSelector('input[name=encounter], input[name=csrf]', { state: 'attached' });
      await contrasts(page);
      if (await page.locator('input[name=encounter]').count()) {
        await page.locator('input[name=encounter]').last().check();
        await page.click('button[value=allow]');
        await page.waitForSelector('input[name=csrf]', { state: 'attached' });
      }
      await page.locator('details').evaluateAll((all) => all.forEach((details) => { details.open = true; }));
      await contrasts(page);
      await album.take(page, `consent-${colorScheme}`);
      await context.close();
    }
  });
});

/** One heading of the first level, one main part, a language, a title, and a name for whatever can be used; and what is `expected` by role. */
async function speaks(page, expected) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  await session.detach();
  const shown = nodes.filter((node) => !node.ignored).map((node) => ({
    role: node.role?.value,
    name: (node.name?.value ?? '').trim(),
    level: node.properties?.find((property) => property.name === 'level')?.value.value,
  }));
  const of = (role) => shown.filter((node) => node.role === role);
  expect(of('heading').filter((node) => node.level === 1).length === 1, 'one first heading is expected');
  expect(of('main').length === 1, 'one main part is expected');
  for (const node of shown.filter((candidate) => INTERACTIVE.includes(candidate.role) || candidate.role === 'group')) expect(node.name, `a ${node.role} without a name on ${page.url()}`);
  const names = shown.filter((node) => ['button', 'link', 'DisclosureTriangle'].includes(node.role)).map((node) => node.name);
  expect(new Set(names).size === names.length, `two of one name: ${names}`);
  for (const [role, wanted] of Object.entries(expected)) {
    const found = of(role).map((node) => node.name);
    expect(wanted === true ? found.length : wanted.every((name) => found.includes(name)), `${role}: expected ${wanted}, found ${found}`);
  }
  const { language, title } = await page.evaluate(() => ({ language: document.documentElement.lang, title: document.title }));
  expect(language && title, `language ${language}, title ${title}`);
}

/** Tab reaches what can be used in the order of the page, once around; each time the focus can be seen and is covered by nothing. */
async function inOrder(page) {
  const wanted = await page.evaluate(() => {
    const all = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), summary')].filter((e) => e.checkVisibility());
    // One of the radio buttons of a group is a stop.
    return all.filter((e, i) => e.type !== 'radio' || all.findIndex((other) => other.name === e.name) === i).length;
  });
  await page.evaluate(() => { document.activeElement?.blur(); window.getSelection()?.removeAllRanges(); window.scrollTo(0, 0); });
  await page.locator('h1').evaluate((heading) => { heading.tabIndex = -1; heading.focus(); heading.removeAttribute('tabindex'); });
  const places = [];
  for (let turn = 0; turn < wanted; turn += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return undefined;
      const seen = [element, element.closest('.choice')].some((e) => e && getComputedStyle(e).outlineStyle !== 'none' && parseFloat(getComputedStyle(e).outlineWidth) >= 2);
      const box = element.getBoundingClientRect();
      const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      const clear = top && (element.contains(top) || top.contains(element) || top.closest('label')?.contains(element));
      const order = [...document.querySelectorAll('*')].indexOf(element);
      return { order, seen, clear, what: `${element.tagName} ${element.name ?? ''} ${element.value ?? element.innerText}`.slice(0, 90) };
    });
    expect(at, `after ${turn} steps of ${wanted} nothing has the focus`);
    expect(at.seen, `the focus on ${at.what} cannot be seen`);
    expect(at.clear, `something covers ${at.what}`);
    places.push(at);
  }
  const orders = places.map((place) => place.order);
  const start = orders.indexOf(Math.min(...orders));
  const turned = [...orders.slice(start), ...orders.slice(0, start)];
  expect(turned.every((order, i) => !i || order > turned[i - 1]), `out of order: ${places.map((place) => place.what).join(' | ')}`);
}

/** Presses Tab until the focus is on what matches. */
async function reach(page, selector) {
  for (let turn = 0; turn < 60; turn += 1) {
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab does not reach ${selector}`);
}

/** WCAG 2.2, 1.4.3: 4.5 between text and what is behind it. */
async function contrasts(page) {
  const poor = await page.evaluate(() => {
    const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
      const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
      return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = channels(getComputedStyle(at).backgroundColor);
        if (colour.length < 4 || colour[3] === 1) return colour;
      }
      return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
    return texts.map((element) => {
      const [one, two] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
      return { ratio: (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05), what: element.innerText.slice(0, 50) };
    }).filter(({ ratio }) => ratio < 4.5);
  });
  expect(!poor.length, poor);
}
