// The page of an invoice, as the person who pays it sees it.

import assert from 'node:assert/strict';

const HOSTILE = '</title><script>alert("x")</script><img src=x onerror=alert(1)>{{7*7}}';

const state = ({ page }, words) => page.locator('#state', { hasText: words }).waitFor();
const address = ({ service }, invoice) => `${service.url}/i/${invoice.id}`;

/** Nobody finds fault with a page: neither axe-core nor the browser's own policy. */
async function isGood(visitor) {
  assert.deepEqual(await visitor.judge(), []);
  assert.deepEqual(visitor.complaints, []);
}

export const INVOICE = {
  async 'a page turns paid by itself when a wallet has paid'({ service, shop, browser }) {
    const invoice = await shop.order('12.50', { description: 'Ten thousand inferences of the small model', resource: 'https://shop.example/v1/inference' });
    for (const [name, kind] of [['light', {}], ['dark', { dark: true }], ['telephone', { telephone: true }]]) {
      const visitor = await browser.visitor(kind);
      await visitor.page.goto(address({ service }, invoice));
      await state(visitor, 'Waiting for payment');
      await visitor.photograph(`invoice-open-${name}`);
      await isGood(visitor);
      for (const more of await visitor.page.locator('.way[open] .more > summary').all()) await more.click();
      await visitor.photograph(`invoice-links-${name}`);
      await isGood(visitor);
      await visitor.leave();
    }
    const visitor = await browser.visitor();
    const { page } = visitor;
    await page.goto(address({ service }, invoice));
    assert.equal(await page.locator('.way[open]').count(), 1);
    const uri = invoice.options.find(({ eip681 }) => eip681).eip681;
    assert.equal(await page.locator(`a[href="${uri}"]`).count(), 1, 'the wallet is told the same as the API tells');

    await shop.pay('12.50');
    await state(visitor, 'Paid');
    assert.equal(await page.locator('#told').textContent(), 'Paid');
    assert.match(await page.title(), /^Paid: 12.5 USDC to Café Größenwahn & Sons/);
    await page.locator('article', { hasText: 'rct_' }).waitFor();
    assert.equal(await page.locator('.way').count(), 0);
    await visitor.photograph('invoice-paid-light');
    await isGood(visitor);
    await visitor.leave();
    const night = await browser.visitor({ dark: true });
    await night.page.goto(address({ service }, invoice));
    await night.photograph('invoice-paid-dark');
    await isGood(night);
    await night.leave();
  },

  async 'what was opened stays open when the page changes'({ service, shop, browser }) {
    const invoice = await shop.order('0.30');
    const visitor = await browser.visitor();
    const { page } = visitor;
    await page.goto(address({ service }, invoice));
    await page.locator('#way-2 > summary').click();
    assert.equal(await page.locator('#way-1').getAttribute('open'), null, 'one way at a time');
    const part = await shop.pay('0.10', 1);
    const stray = await shop.unmatched(part);
    await shop.ask('POST', `/v1/transfers/${stray.id}/assign`, { invoice: invoice.id });
    await state(visitor, 'Partly paid');
    assert.equal(await page.locator('#way-2').getAttribute('open'), '');
    assert.match(await page.locator('.bill').textContent(), /Still due\s*0\.2 USDC/);
    await visitor.photograph('invoice-partly-light');
    await isGood(visitor);
    await visitor.leave();
  },

  async 'without scripts the page is loaded again until it is paid'({ service, shop, browser }) {
    const invoice = await shop.order('0.41');
    const visitor = await browser.visitor({ scripts: false });
    await visitor.page.goto(address({ service }, invoice));
    await state(visitor, 'Waiting for payment');
    assert.equal(await visitor.page.locator('.copy:visible').count(), 0, 'no button that does nothing');
    await shop.pay('0.41', 2);
    await state(visitor, 'Paid');
    assert.deepEqual(visitor.complaints, []);
    await visitor.leave();
  },

  async 'an address is copied by a button'({ service, shop, browser }) {
    const invoice = await shop.order('0.52');
    const visitor = await browser.visitor();
    const { page } = visitor;
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.goto(address({ service }, invoice));
    await page.getByRole('button', { name: 'Copy the address' }).first().click();
    await page.locator('#told', { hasText: 'Copied' }).waitFor({ state: 'attached' });
    const payTo = invoice.options.find(({ eip681 }) => eip681).payTo;
    assert.equal(await page.evaluate('navigator.clipboard.readText()'), payTo);
    await visitor.leave();
  },

  async 'nobody\'s words become part of the page'({ service, shop, browser }) {
    const invoice = await shop.order('0.63', { description: HOSTILE, resource: 'javascript:alert(1)//</a>' });
    const visitor = await browser.visitor();
    const { page } = visitor;
    page.on('dialog', () => visitor.complaints.push('a dialog'));
    await page.goto(address({ service }, invoice));
    assert.ok((await page.locator('.bill').textContent()).includes(HOSTILE));
    assert.equal(await page.locator('main script, main img, a[href^="javascript:"]').count(), 0);
    await isGood(visitor);
    await visitor.leave();
  },

  async 'what does not exist is told as a page'({ service, browser }) {
    const visitor = await browser.visitor();
    await visitor.page.goto(`${service.url}/i/inv_018f4a1e7d3c70008000000000000001`);
    assert.match(await visitor.page.locator('main').textContent(), /There is no such thing|not found/i);
    await visitor.photograph('problem-light');
    assert.deepEqual(await visitor.judge(), []);
    await visitor.leave();
  },
};
