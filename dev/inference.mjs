// What the demo merchant sells: a toy, honestly named. It ranks sentences by the words they share with the rest of the
// text and counts words of praise and blame. It is no neural network, needs no download and always answers the same.

const MODEL = 'toy-extractive-1 (word counts on this machine, no neural network)';

const STOP_WORDS = new Set(
  'a an and are as at be but by for from has have he her his i in is it its not of on or our she that the their them they this to was we were will with you your'.split(' '),
);
const PRAISE = new Set('good great excellent clear fast simple reliable safe love like best happy helpful cheap'.split(' '));
const BLAME = new Set('bad poor slow broken unclear hate worst sad late lost wrong fail failed expensive unsafe'.split(' '));

export const SAMPLE_TEXT = `An API that is paid per request needs no account and no card. The caller asks for the page, is told the
price, signs an authorization and asks again. The facilitator checks the signature, pays the gas and puts the transfer on
chain. The caller never holds gas, and the seller never holds a key. It is simple and fast, and a lost answer is not a lost
payment.`;

const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];
const sentencesOf = (text) => text.replace(/\s+/g, ' ').match(/[^.!?]+[.!?]*/g)?.map((s) => s.trim()).filter(Boolean) ?? [];

function frequencies(words) {
  const counts = new Map();
  for (const word of words) if (!STOP_WORDS.has(word)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

/** The sentences that share most with the whole, in their original order. */
function summarize(text, sentenceCount) {
  const counts = frequencies(wordsOf(text));
  const weight = (sentence) => {
    const words = wordsOf(sentence);
    // Divided by the length, or the longest sentence would always win.
    return words.reduce((sum, word) => sum + (counts.get(word) ?? 0), 0) / (words.length || 1);
  };
  const ranked = sentencesOf(text).map((sentence, position) => ({ sentence, position, weight: weight(sentence) }));
  const best = ranked.sort((a, b) => b.weight - a.weight).slice(0, sentenceCount);
  return best.sort((a, b) => a.position - b.position).map(({ sentence }) => sentence).join(' ');
}

function sentiment(words) {
  const count = (list) => words.filter((word) => list.has(word)).length;
  const balance = count(PRAISE) - count(BLAME);
  return balance > 0 ? 'positive' : balance < 0 ? 'negative' : 'neutral';
}

/** One inference: a summary of two sentences and a mood. */
export function infer(text) {
  const words = wordsOf(text);
  const output = { summary: summarize(text, 2), sentiment: sentiment(words) };
  return { model: MODEL, output, usage: { inputWords: words.length, outputWords: wordsOf(output.summary).length } };
}
