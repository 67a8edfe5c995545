//! A language model of the oldest kind: which word followed which two others in a text (a Markov chain). It runs anywhere and always
//! says the same for the same seed.

use std::collections::HashMap;

/// A word with the comma or point behind it.
type Token = String;

/// What followed what.
pub struct Model {
    after_two: HashMap<(Token, Token), Vec<Token>>,
    after_one: HashMap<Token, Vec<Token>>,
    all: Vec<Token>,
}

/// The tokens of a text.
pub fn tokens(text: &str) -> Vec<Token> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The text of some tokens.
pub fn written(tokens: &[Token]) -> String {
    tokens.join(" ")
}

/// Without case and marks, so that a prompt need not be written like the text.
fn plain(token: &str) -> String {
    token.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

impl Model {
    /// Learns a text.
    pub fn new(text: &str) -> Self {
        let all = tokens(text);
        let (mut after_two, mut after_one) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for window in all.windows(3) {
            after_two.entry((plain(&window[0]), plain(&window[1]))).or_default().push(window[2].clone());
        }
        for window in all.windows(2) {
            after_one.entry(plain(&window[0])).or_default().push(window[1].clone());
        }
        Self { after_two, after_one, all }
    }

    /// Words that could follow the prompt, without end.
    pub fn continued(&self, prompt: &[Token], seed: u64) -> impl Iterator<Item = Token> {
        let mut last = prompt.last().map_or_else(String::new, |token| plain(token));
        let mut before = prompt.iter().rev().nth(1).map_or_else(String::new, |token| plain(token));
        let mut dice = Dice(seed);
        std::iter::repeat_with(move || {
            let key = (before.clone(), last.clone());
            let choices = self.after_two.get(&key).or_else(|| self.after_one.get(&key.1)).unwrap_or(&self.all);
            let token = choices[dice.below(choices.len())].clone();
            before = std::mem::replace(&mut last, plain(&token));
            token
        })
    }
}

/// Numbers that look random and are the same for the same seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let wide = u128::from(mixed ^ (mixed >> 31)) * count as u128;
        usize::try_from(wide >> 64).unwrap_or_default()
    }
}
