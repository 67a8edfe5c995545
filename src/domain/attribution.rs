//! To whom a settlement is attributed: names that stand in the transaction for those who count (ERC-8021).

/// A name: 1 to 32 of `a-z`, `0-9` and `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code(String);

/// Services that the payer and the resource server may name together (`@x402/extensions`).
pub const SERVICES_MAX: usize = 10;

impl Code {
    /// Reads a name; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_code = (1..=32).contains(&text.len()) && text.bytes().all(is_allowed);
        is_code.then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The names that came with a payment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// The program that sold something.
    pub app: Option<Code>,
    /// What it and the payer were built with.
    pub services: Vec<Code>,
}

/// The names that an operator adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Own {
    /// Who settles.
    pub wallet: Option<Code>,
    /// What that was built with.
    pub service: Option<Code>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_grammar_is_a_name() {
        let longest = "a".repeat(32);
        for text in ["a", "my_app", "0", longest.as_str()] {
            assert_eq!(Code::parse(text).map(|code| code.0), Some(text.to_owned()));
        }
        for text in ["", "A", "my-app", "my app", "é", &format!("{longest}a")] {
            assert_eq!(Code::parse(text), None, "{text:?}");
        }
    }
}
