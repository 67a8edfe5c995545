// The part both buyers share: one request through a paying `fetch`, told as one object.

/** `header` names where the merchant puts the settlement's result, `decode` reads it. `order` is what is asked for. */
export async function purchase({ fetchAndPay, url, text, order = { text }, payer, header, decode }) {
  const started = performance.now();
  const response = await fetchAndPay(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(order),
  });
  const body = await response.text();
  const settled = response.headers.get(header);
  return {
    status: response.status,
    payer,
    milliseconds: Math.round(performance.now() - started),
    payment: settled ? decode(settled) : null,
    body: parsed(body),
  };
}

// A merchant in trouble may answer with a page instead of JSON, and the page is then what one wants to see.
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
