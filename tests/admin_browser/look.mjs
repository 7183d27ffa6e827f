// Looks at a page in headless Chromium. Each line of stdin is an order in JSON, each line of stdout what came
// of it.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import puppeteer from 'puppeteer-core';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const program = readFileSync(new URL('program', import.meta.url), 'utf8').trim();
const browser = await puppeteer.launch({
  executablePath: program,
  // It ends when the pipe does, however this program ends.
  pipe: true,
  args: ['--no-sandbox', '--disable-background-networking', '--disable-dev-shm-usage', '--disable-gpu'],
});
const page = await browser.newPage();

// What the page may not do: fail, log, or ask anybody but its own server.
const faults = [];
page.on('pageerror', error => faults.push(`error: ${error.message}`));
page.on('console', message => faults.push(`${message.type()}: ${message.text()}`));
page.on('request', request => {
  const url = new URL(request.url());
  if (url.protocol !== 'data:' && url.host !== new URL(origin).host) faults.push(`asks ${url}`);
});
page.on('dialog', dialog => dialog.accept());
let origin;

const orders = {
  async open({ url }) {
    origin = url;
    await page.goto(url);
  },
  async look({ width, height, scheme }) {
    await page.setViewport({ width, height });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  },
  async wait({ text, within }) {
    const seen = text => document.body.innerText.includes(text);
    await page.waitForFunction(seen, { timeout: within, polling: 50 }, text);
  },
  async text() {
    return page.evaluate(() => document.body.innerText);
  },
  // By keyboard alone.
  async press({ label }) {
    await page.evaluate(() => document.activeElement?.blur());
    for (let tries = 0; tries < 30; tries++) {
      await page.keyboard.press('Tab');
      const at = await page.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.textContent);
      if (at === label) return page.keyboard.press('Enter');
    }
    throw new Error(`no Tab leads to ${label}`);
  },
  async type({ text }) {
    await page.focus('#token');
    await page.keyboard.type(text);
    await page.keyboard.press('Enter');
  },
  async focused() {
    return page.evaluate(() => document.activeElement.ariaLabel);
  },
  // How far it can be scrolled sideways.
  async overhang() {
    return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  },
  async shot({ path }) {
    await page.screenshot({ path, fullPage: true });
  },
  // The answer and the first secret without its buttons, for the README.
  async portrait({ path }) {
    const height = await page.evaluate(() => document.querySelector('article ol').getBoundingClientRect().bottom);
    const { width } = page.viewport();
    await page.screenshot({ path, clip: { x: 0, y: 0, width, height: Math.ceil(height) + 8 } });
  },
  async axe() {
    // In a world of its own, for the page's policy lets no other script run.
    const client = await page.createCDPSession();
    const { frameTree } = await client.send('Page.getFrameTree');
    const frameId = frameTree.frame.id;
    const { executionContextId: contextId } = await client.send('Page.createIsolatedWorld', { frameId });
    const run = async expression => {
      const options = { contextId, expression, awaitPromise: true, returnByValue: true };
      const { result, exceptionDetails } = await client.send('Runtime.evaluate', options);
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    };
    await run(`${readFileSync(axe, 'utf8')}; 0`);
    const { passes, violations } = await run('axe.run().then(({ passes, violations }) => ({ passes: passes.length, '
      + 'violations: violations.map(v => v.id + ": " + v.nodes.map(n => n.html + " " + n.failureSummary).join("; ")) }))');
    await client.detach();
    if (passes < 10) throw new Error(`axe looked at too little: ${passes} checks`);
    return violations;
  },
  async faults() {
    return faults.splice(0);
  },
};

const say = answer => process.stdout.write(`${JSON.stringify(answer)}\n`);
say({ done: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...rest } = JSON.parse(line);
  try {
    say({ done: (await orders[order](rest)) ?? null });
  } catch (error) {
    say({ failed: `${order}: ${error.message}`, text: await orders.text().catch(() => null) });
  }
}
await browser.close();
