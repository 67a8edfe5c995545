// The dashboard, as merchants and operators see it.

import assert from 'node:assert/strict';

const KINDS = [['light', {}], ['dark', { dark: true }], ['telephone', { telephone: true }]];

/** Nobody finds fault with a page: neither axe-core nor the browser's own policy. Its widest part scrolls by itself. */
async function isGood(visitor) {
  assert.deepEqual(await visitor.judge(), []);
  assert.deepEqual(visitor.complaints, []);
  const [wide, seen] = await visitor.page.evaluate('[document.documentElement.scrollWidth, document.documentElement.clientWidth]');
  assert.ok(wide <= seen, `${visitor.page.url()} is ${wide} wide, and ${seen} are seen`);
}

/** Signs in, as a person does. */
async function enter(visitor, service, key) {
  const { page } = visitor;
  await page.goto(`${service.url}/dashboard`);
  await page.getByLabel('API key').fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation').waitFor();
  // The browser notes that the page was not there before, and nothing else.
  const others = visitor.complaints.filter((complaint) => !complaint.includes('401'));
  visitor.complaints.splice(0, Infinity, ...others);
}

/** Follows a link of the navigation, and finds the page of that name. */
async function goTo({ page }, name) {
  await page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
  await page.getByRole('heading', { level: 1, name, exact: true }).waitFor();
}

/** Narrows a list down. */
async function narrow({ page }, label, state) {
  await page.getByLabel(label).selectOption(state);
  await page.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL(new RegExp(`state=${state}`));
}

export const DASHBOARD = {
  async 'a payment and the deliveries of a webhook are shown with what became of them'({ service, shop, receiver, settle, browser }) {
    const { secret, id } = await shop.ask('POST', '/v1/webhooks', { url: receiver.url });
    receiver.trust(secret);
    const invoice = await shop.order('0.96', { reference: 'order-416' });
    await settle(invoice);
    await receiver.told('invoice.paid', invoice.id);
    const visitor = await browser.visitor();
    const { page } = visitor;
    await enter(visitor, service, shop.key);
    await goTo(visitor, 'Payments');
    await page.getByRole('region', { name: 'Payments' }).getByRole('link').first().click();
    await page.getByText('payment.included').waitFor();
    assert.ok((await page.locator('main').textContent()).includes('0.96 USDC'));
    await visitor.photograph('payment-light');
    await isGood(visitor);
    await page.getByRole('link', { name: invoice.id }).click();
    await page.getByText('order-416').waitFor();
    await goTo(visitor, 'Webhooks');
    await page.getByRole('link', { name: receiver.url }).click();
    await page.getByText('delivered').first().waitFor();
    assert.ok(page.url().endsWith(id));
    await visitor.photograph('webhook-light');
    await isGood(visitor);
    await visitor.leave();
  },

  async 'a merchant sees its own things and nobody else\'s'({ service, shop, rival, browser }) {
    const [mine, theirs] = [await shop.order('0.74', { reference: 'order-417' }), await rival.order('0.75')];
    const stray = await shop.pay('0.077777', 3);
    await shop.unmatched(stray);
    for (const [name, kind] of KINDS) {
      const visitor = await browser.visitor(kind);
      const { page } = visitor;
      await page.goto(`${service.url}/dashboard`);
      await visitor.photograph(`sign-in-${name}`);
      assert.deepEqual(await visitor.judge(), []);
      await enter(visitor, service, shop.key);
      await visitor.photograph(`overview-merchant-${name}`);
      await isGood(visitor);
      for (const list of ['Payments', 'Transfers', 'Webhooks', 'Invoices']) {
        await goTo(visitor, list);
        await visitor.photograph(`${list.toLowerCase()}-merchant-${name}`);
        await isGood(visitor);
      }
      const invoices = await page.content();
      assert.ok(invoices.includes(mine.id) && !invoices.includes(theirs.id));
      assert.equal(await page.getByRole('link', { name: 'Accounts' }).count(), 0);
      await narrow(visitor, 'Status', 'paid');
      assert.ok(!(await page.content()).includes(mine.id));
      await page.goto(`${service.url}/dashboard/invoices/${mine.id}`);
      await visitor.photograph(`invoice-merchant-${name}`);
      await isGood(visitor);
      await goTo(visitor, 'Transfers');
      await narrow(visitor, 'Which', 'unmatched');
      const rows = page.locator('tbody tr');
      assert.deepEqual([await rows.count(), await rows.getByText(stray, { exact: true }).count()], [1, 1]);
      assert.match(await rows.textContent(), /0\.077777 USDC/);
      assert.equal((await page.goto(`${service.url}/dashboard/invoices/${theirs.id}`)).status(), 404);
      await page.goto(`${service.url}/dashboard`);
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('API key').waitFor();
      assert.equal((await page.goto(`${service.url}/dashboard/invoices`)).status(), 401);
      await visitor.leave();
    }
  },

  async 'an operator sees networks and accounts, and what a chosen account sees'({ service, rival, operatorKey, browser }) {
    const theirs = await rival.order('0.85');
    for (const [name, kind] of KINDS) {
      const visitor = await browser.visitor(kind);
      const { page } = visitor;
      await enter(visitor, service, operatorKey);
      await visitor.photograph(`overview-operator-${name}`);
      await isGood(visitor);
      await goTo(visitor, 'Networks');
      await page.getByText('takes payments').first().waitFor();
      await visitor.photograph(`networks-${name}`);
      await isGood(visitor);
      await goTo(visitor, 'Payments');
      await isGood(visitor);
      await goTo(visitor, 'Accounts');
      await visitor.photograph(`accounts-${name}`);
      await isGood(visitor);
      await page.getByRole('link', { name: 'A rival' }).click();
      await page.getByText('You look at').waitFor();
      await goTo(visitor, 'Invoices');
      await visitor.photograph(`invoices-operator-${name}`);
      await isGood(visitor);
      assert.ok((await page.content()).includes(theirs.id));
      await visitor.leave();
    }
  },

  async 'a key that is worth nothing is told so, and nothing else'({ service, shop, browser }) {
    const visitor = await browser.visitor();
    const { page } = visitor;
    await page.goto(`${service.url}/dashboard`);
    await page.getByLabel('API key').fill(shop.key.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')));
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').waitFor();
    await visitor.photograph('sign-in-refused-light');
    assert.deepEqual(await visitor.judge(), []);
    assert.deepEqual(await page.context().cookies(), []);
    await visitor.leave();
  },

  async 'everything is there without scripts'({ service, shop, browser }) {
    const visitor = await browser.visitor({ scripts: false });
    await enter(visitor, service, shop.key);
    await goTo(visitor, 'Invoices');
    await visitor.page.getByRole('region', { name: 'Invoices' }).waitFor();
    await narrow(visitor, 'Status', 'open');
    await visitor.page.getByRole('button', { name: 'Sign out' }).click();
    await visitor.page.getByLabel('API key').waitFor();
    await visitor.leave();
  },
};
