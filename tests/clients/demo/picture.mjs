// Makes the picture of the README: node demo/picture.mjs, in tests/clients.
import { DESKTOP, PHONE, startChromium, startDemo } from './browser.mjs';

const PICTURE = new URL('../../../examples/demo/picture.png', import.meta.url).pathname;
const SAID = [
  ['alice', 'My token came as a subprotocol. It is valid for a minute.'],
  ['bob', 'And then?'],
  ['alice', 'The server asks for the next one in time. If none comes, it closes the socket, to the second.'],
  ['carol', 'I just signed out my old laptop from here. It saw 3000 “revoked”.'],
];

const demo = await startDemo(60);
const chromium = await startChromium();
const open = async (person, settings) => {
  const context = await chromium.newContext(settings);
  const page = await context.newPage();
  await page.goto(demo.url);
  await page.click(`#people button[data-person=${person}]`);
  await page.waitForSelector('#status[data-state=open]');
  return page;
};

const alice = await open('alice', { viewport: { ...DESKTOP, height: 770 }, colorScheme: 'light' });
const bob = await open('bob', { viewport: PHONE, colorScheme: 'dark' });
const carol = await open('carol', {});
await open('alice', { viewport: PHONE, userAgent: 'Mozilla/5.0 (iPhone) Safari/604.1' }).then((phone) => phone.click('#how label:nth-of-type(3)'));
for (const [person, text] of SAID) {
  const page = { alice, bob, carol }[person];
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
  await alice.getByText(text).waitFor();
}
// The bar is to be seen shrinking.
await alice.click('#refresh');
await alice.mouse.move(0, 0);
await alice.waitForTimeout(12_000);
await alice.evaluate(() => document.activeElement.blur());
await bob.evaluate(() => document.activeElement.blur());
const image = async (page) => `data:image/png;base64,${(await page.screenshot()).toString('base64')}`;
const [desktop, phone] = [await image(alice), await image(bob)];

const frame = await (await chromium.newContext({ viewport: { width: 1720, height: 830 } })).newPage();
await frame.setContent(`<style>
  body { margin: 0; background: #ece7de; position: relative; height: 830px }
  img { position: absolute; border-radius: 18px; outline: 1px solid #00000018 }
  .desktop { left: 40px; top: 42px; width: 1240px }
  .phone { right: 48px; top: 42px; width: 340px; border-radius: 34px; outline: 8px solid #0b0a09 }
</style><img class="desktop" src="${desktop}"><img class="phone" src="${phone}">`);
await frame.waitForFunction(() => [...document.images].every((image) => image.complete));
await frame.screenshot({ path: PICTURE });
await chromium.close();
demo.stop();
