// Clicks through the demo in headless Chromium.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { DESKTOP, PHONE, startChromium, startDemo } from './browser.mjs';

// Of a token, in seconds: short, because tests wait for its end.
const LIFETIME = 12;
// Chromium reports each refused handshake and request in the console.
const REFUSALS = [/^WebSocket connection to .* failed/, /^Failed to load resource: the server responded with a status of (401|503)/];

let demo, chromium;
before(async () => {
  demo = await startDemo(LIFETIME);
  chromium = await startChromium();
});
after(async () => {
  await chromium?.close();
  demo?.stop();
});

/** A test with a browser of its own. `expected` are errors that its console may show; no other may. */
const scenario = (name, expected, run) =>
  test(name, async () => {
    const errors = [];
    const context = await chromium.newContext({ viewport: DESKTOP });
    context.setDefaultTimeout(30_000);
    context.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    context.on('weberror', (error) => errors.push(error.error().stack));
    const open = async (person, how = 'subprotocol') => {
      const tab = new Tab(await context.newPage());
      await tab.page.goto(demo.url);
      if (person) await tab.signIn(person);
      if (person && how !== 'subprotocol') await tab.choose(how);
      return tab;
    };
    // Whoever stays signed in after a failure would be seen by the next test.
    await run(open, context).finally(() => context.close());
    const unexpected = errors.filter((text) => !expected.some((pattern) => pattern.test(text)));
    assert.deepEqual(unexpected, []);
  });

class Tab {
  constructor(page) {
    this.page = page;
  }

  $ = (selector) => this.page.locator(selector);

  async signIn(person) {
    await this.$(`#people button[data-person=${person}]`).click();
    await this.connected();
  }

  async choose(how) {
    await this.$(`#how label:has([value=${how}])`).click();
    await this.logs(`Connected by ${how}`);
    await this.connected();
  }

  connected() {
    return this.$('#status[data-state=open]').waitFor();
  }

  async say(text) {
    await this.$('#text').fill(text);
    await this.$('#text').press('Enter');
  }

  sees(text) {
    return this.$('#messages p').getByText(text, { exact: true }).waitFor();
  }

  // Waits for a line in the list of what happened.
  logs(text, count = 1) {
    return this.$('#log li').filter({ hasText: text }).nth(count - 1).waitFor({ state: 'attached' });
  }

  // Waits until the server has closed the socket for good, and returns what the page says of it.
  async closed() {
    await this.$('#status[data-state=closed]').waitFor();
    return (await this.$('#notice span').textContent()).trim();
  }

  isOpen() {
    return this.$('#status[data-state=open]').isVisible();
  }

  async left() {
    return parseInt(await this.$('#left').textContent());
  }
}

const CLOSED = 'The server closed this socket: ';

scenario('people chat from tab to tab', [], async (open) => {
  const alice = await open('alice');
  const bob = await open('bob', 'ticket');
  await alice.say('hello bob');
  await bob.sees('hello bob');
  // Text stays text.
  const markup = '<img src=x onerror="document.title=1"><b>bold</b>';
  await bob.say(markup);
  await alice.sees(markup);
  assert.equal(await alice.$('#messages :is(img, p *)').count(), 0);

  // Whoever comes later sees what was said before, and who is here.
  const carol = await open('carol', 'cookie');
  await carol.sees('hello bob');
  assert.equal(await carol.$('#online .person').count(), 3);
  assert.equal(await carol.$('#messages li[data-person=alice]').count(), 1);
});

scenario('no token is in the page, nor in what a script can read of the cookie', [], async (open, context) => {
  const alice = await open('alice', 'cookie');
  assert.equal(await alice.page.evaluate('document.cookie'), '');
  const [cookie] = await context.cookies(`${demo.url}/device/${await alice.page.evaluate('JSON.parse(sessionStorage.me).device')}/`);
  assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite], ['session', true, 'Strict']);
  assert.ok(!(await alice.page.content()).includes(cookie.value.split('.')[2]));
});

scenario('sockets outlive their tokens by refreshes, however the token came', [], async (open) => {
  const tabs = await Promise.all([open('alice'), open('bob', 'ticket'), open('carol', 'cookie')]);
  const ways = ['over the socket', 'over the socket', 'by the cookie'];
  // Two tokens later.
  await Promise.all(tabs.map((tab, at) => tab.logs(`Refreshed ${ways[at]}`, 2)));
  for (const [at, tab] of tabs.entries()) {
    assert.ok(await tab.isOpen());
    assert.equal(await tab.$('#log .bad').count(), 0);
    await tab.say(`still here ${at}`);
    await tabs[0].sees(`still here ${at}`);
  }
});

scenario('a token that is not refreshed ends the socket, on time', REFUSALS, async (open) => {
  const alice = await open('alice');
  // The click is on what is seen of the checkbox.
  await alice.$('.toggle').click();
  const bar = () => alice.$('#bar i').evaluate((bar) => bar.getBoundingClientRect().width);
  const [width, left] = [await bar(), await alice.left()];
  await alice.page.waitForFunction((left) => parseInt(document.getElementById('left').textContent) <= left - 2, left);
  assert.ok((await bar()) < width, 'the bar shrinks');

  // The button gives the socket another life.
  await alice.$('#refresh').click();
  await alice.logs('Refreshed over the socket');
  assert.ok((await alice.left()) > LIFETIME - 4);
  await alice.logs('The server asks for the next token, and gets none');
  assert.equal(await alice.closed(), `${CLOSED}3000 “token_expired”`);
  // It was open until then, and the token was asked for only when the server wanted another.
  await alice.$('#notice button').getByText('Sign in as Alice').click();
  await alice.connected();
});

scenario('a device is signed out from another, and then all are', REFUSALS, async (open) => {
  const [laptop, phone, bob] = [await open('alice'), await open('alice', 'ticket'), await open('bob')];
  const rows = laptop.$('#devices li');
  await rows.nth(1).waitFor();
  assert.equal(await rows.count(), 2, 'bob is not in the list');
  const other = rows.filter({ hasText: 'by ticket' });
  assert.match(await other.textContent(), /Chrome on Linux/);
  assert.equal(await rows.filter({ hasText: 'this tab' }).count(), 1);
  await other.getByText('Sign out this device').click();
  assert.equal(await phone.closed(), `${CLOSED}3000 “revoked”`);
  await rows.nth(1).waitFor({ state: 'detached' });
  assert.ok(await laptop.isOpen());
  // Its token opens no other socket.
  await phone.page.reload();
  assert.equal(await phone.closed(), 'You are not signed in any more.');

  await phone.$('#notice button').getByText('Sign in as Alice').click();
  await phone.connected();
  await laptop.$('#everywhere').click();
  assert.equal(await laptop.closed(), `${CLOSED}3000 “revoked”`);
  assert.equal(await phone.closed(), `${CLOSED}3000 “revoked”`);
  assert.ok(await bob.isOpen());
  // Whoever signs in again, even in the same second, gets a token that is good.
  await laptop.$('#notice button').getByText('Sign in as Alice').click();
  await laptop.connected();
});

scenario('nobody breaks in', REFUSALS, async (open) => {
  const expected = {
    'no-token': [401, 'missing_token', 'missing_token'],
    'wrong-token': [401, 'invalid_token', 'bad_signature'],
    expired: [401, 'invalid_token', 'token_expired'],
    'alg-none': [401, 'invalid_token', 'wrong_algorithm'],
    'wrong-origin': [403, 'origin_not_allowed', 'origin_not_allowed'],
    'used-ticket': [401, 'invalid_token', 'unknown_ticket'],
  };
  const tab = await open();
  await tab.$('#try-all').click();
  for (const [name, [status, error, reason]] of Object.entries(expected)) {
    const parts = tab.$(`[data-attempt=${name}] pre`);
    await parts.nth(3).waitFor();
    const [sent, answered, logged, seen] = await parts.allTextContents();
    assert.match(sent, /^GET \/device\/laptop\/chat\/\S+ HTTP\/1.1$/m, name);
    assert.match(answered, new RegExp(`^HTTP/1.1 ${status} `), name);
    assert.match(answered, new RegExp(`"error": "${error}"`), name);
    assert.equal(/^www-authenticate: Bearer /m.test(answered), status === 401, name);
    assert.equal(logged, `handshake refused, reason ${reason}`, name);
    assert.equal(seen, 'close, code 1006, reason ""', name);
  }
  assert.match(await tab.$('[data-attempt=wrong-origin] pre').first().textContent(), /^Origin: https:\/\/evil\.example$/m);
  // No whole token is shown.
  assert.doesNotMatch(await tab.$('#attempts').textContent(), /eyJ[\w-]+\.eyJ/);
});

scenario('the operator ends a session, and restarts the server', REFUSALS, async (open) => {
  const [alice, bob] = [await open('alice'), await open('bob', 'cookie')];
  await alice.say('before the restart');
  const operator = await open();
  await operator.$('#operator').scrollIntoViewIfNeeded();
  // The metrics move when somebody tries to break in.
  const refused = operator.$('#metrics div').filter({ hasText: /^handshakes_totalwebsocket, refused, missing_token/ }).locator('dd');
  await operator.$('#metrics div').first().waitFor();
  const before = (await refused.isVisible()) ? Number(await refused.textContent()) : 0;
  await operator.$('[data-attempt=no-token] button').click();
  // The server's own attempt, and the page's.
  await operator.$('#operator').scrollIntoViewIfNeeded();
  await refused.getByText(String(before + 2), { exact: true }).waitFor();

  const rows = operator.$('#sessions li[data-session]');
  await rows.filter({ hasText: 'Bob' }).getByText('End').click();
  assert.equal(await bob.closed(), `${CLOSED}3000 “revoked”`);
  await rows.filter({ hasText: 'Bob' }).waitFor({ state: 'detached' });

  await operator.$('#restart').click();
  await alice.logs('Closed: 1012 “shutdown”');
  await alice.logs('Connected by subprotocol', 2);
  await alice.connected();
  await alice.sees('before the restart');
  await rows.filter({ hasText: 'Alice' }).waitFor();
});

test('another site cannot use the buttons', async () => {
  const { host, hostname, port } = new URL(demo.url);
  const post = (headers) =>
    new Promise((resolve, reject) => {
      const options = { method: 'POST', path: '/break-in/nothing', hostname, port, headers };
      request(options, (response) => resolve(response.resume().statusCode)).on('error', reject).end();
    });
  assert.equal(await post({ host, origin: demo.url }), 404);
  assert.equal(await post({ host, origin: 'https://evil.example' }), 403);
  // Its name resolves to this server.
  assert.equal(await post({ host: `evil.example:${port}`, origin: `http://evil.example:${port}` }), 403);
  assert.equal(await post({ host: `evil.example:${port}` }), 403);
});

for (const [device, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
  scenario(`nothing is wider than the screen of a ${device}`, REFUSALS, async (open) => {
    const alice = await open();
    await alice.page.setViewportSize(viewport);
    const overhang = () =>
      alice.page.evaluate(() =>
        [document.documentElement, ...document.querySelectorAll('body *')]
          .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && element.getBoundingClientRect().width > 1)
          .map((element) => element.outerHTML.slice(0, 100)),
      );
    assert.deepEqual(await overhang(), []);
    await alice.signIn('alice');
    const long = device.charAt(0).repeat(300);
    await alice.say(long);
    await alice.sees(long);
    await alice.$('#try-all').click();
    await alice.$('[data-attempt=used-ticket] pre').nth(3).waitFor();
    await alice.$('#operator').scrollIntoViewIfNeeded();
    await alice.$('#sessions li[data-session]').first().waitFor();
    assert.deepEqual(await overhang(), []);
    assert.equal(await alice.page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
  });
}
