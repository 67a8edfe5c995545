// Follows an invoice while its page is open, tells how much time is left, and copies what is to be copied. The page says everything
// without it.
'use strict';

const SOON_MS = 2_000;
const LATER_MS = 10_000;

/** The part of the page that changes, if it may still do so. */
const followed = () => document.querySelector('main[data-follows]');

/** Puts the page as it is now in the place of what is shown. */
async function renew(main) {
  const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const open = [...main.querySelectorAll('details[id]')].filter((way) => way.open).map((way) => way.id);
  const focused = document.activeElement?.closest('[id]')?.id;
  const fresh = page.querySelector('main');
  for (const way of fresh.querySelectorAll('details[id]')) if (open.length) way.open = open.includes(way.id);
  main.replaceWith(fresh);
  document.title = page.title;
  document.getElementById('told').textContent = document.getElementById('state')?.textContent ?? '';
  if (focused) document.getElementById(focused)?.focus();
}

/** Asks where the invoice stands; the tag says whether that is what the page shows. */
async function look() {
  const main = followed();
  const { ok, headers } = await fetch(location.href, { headers: { accept: 'application/json' } });
  if (main && ok && headers.get('etag') !== `"${main.dataset.tag}"`) await renew(main);
}

/** Time in words that nobody has to count with. */
function inWords(ms) {
  const minutes = Math.ceil(ms / 60_000);
  if (minutes < 1) return '';
  if (minutes < 90) return `(${minutes} min left)`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `(${hours} hours left)` : `(${Math.round(hours / 24)} days left)`;
}

function tellTime() {
  for (const place of document.querySelectorAll('[data-until]')) place.textContent = inWords(Date.parse(place.dataset.until) - Date.now());
}

async function follow() {
  if (followed() && document.visibilityState === 'visible') await look().catch(() => {});
  tellTime();
  const main = followed();
  if (main) setTimeout(follow, main.dataset.follows === 'soon' ? SOON_MS : LATER_MS);
}

document.addEventListener('click', async ({ target }) => {
  const button = target.closest?.('[data-copy]');
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  document.getElementById('told').textContent = 'Copied';
  button.textContent = 'Copied';
  setTimeout(() => (button.textContent = 'Copy'), SOON_MS);
});

// Browsers lend the clipboard to pages that came over TLS.
if (navigator.clipboard) document.documentElement.classList.add('copies');
tellTime();
setTimeout(follow, SOON_MS);
