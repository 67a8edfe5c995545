//! What each kind of payer needs to pay an invoice: URIs for wallets, headers for plain HTTP, and what binds a transfer to it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::address::{encode_base58, encode_hex};
use crate::domain::binding::Reference;
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::PaymentOption;
use crate::domain::network::Family;

/// Digits of percent-encoding; RFC 3986 wants capitals.
const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// One way to pay an invoice, as it is offered to a payer.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The invoice.
    pub invoice: InvoiceId,
    /// The way.
    pub option: &'a PaymentOption,
    /// How people call the token, for example `USDC`.
    pub symbol: &'a str,
    /// Who is paid, in words for a wallet to show.
    pub label: Option<&'a str>,
    /// What for, in words for a wallet to show.
    pub message: Option<&'a str>,
}

/// The same for programs: everything that the network of the offer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// Where to pay, as a URI of RFC 8905: `payto://eip155/8453/<address>?amount=…`.
    pub payto: String,
    /// A transfer for wallets of EVM networks (EIP-681): `ethereum:<token>@<chain id>/transfer?…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eip681: Option<String>,
    /// A transfer for wallets of Solana (Solana Pay): `solana:<address>?amount=…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solana_pay: Option<String>,
    /// The first nonce that binds an authorization (EIP-3009) to the invoice; the last eight bytes are free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The account that a transaction on Solana names to be bound to the invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The memo that binds a transaction on Solana to the invoice. The reference or the memo is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
}

impl Links {
    /// Writes down an offer.
    #[must_use]
    pub fn of(offer: &Offer<'_>) -> Self {
        let reference = Reference::of(offer.invoice);
        let family = offer.option.network.family();
        let on_evm = |value: String| (family == Family::Eip155).then_some(value);
        let on_solana = |value: String| (family == Family::Solana).then_some(value);
        Self {
            payto: offer.payto(),
            eip681: offer.eip681(),
            solana_pay: offer.solana_pay(),
            nonce: on_evm(encode_hex(&reference.nonce(0))),
            reference: on_solana(encode_base58(reference.key())),
            memo: on_solana(offer.invoice.to_string()),
        }
    }
}

impl Offer<'_> {
    /// `payto://eip155/8453/<address>?amount=USDC:0.25&asset=<token>&reference=<invoice>` (RFC 8905).
    ///
    /// The two parts of the network's CAIP-2 identifier are the target type and the first part of the path. With a colon between them
    /// the second would be a port, and hardly any is one. `asset` and `reference` are options of these types. The amount has all
    /// decimal places of the token, also where that is more than the eight of RFC 8905: a rounded amount would not pay.
    #[must_use]
    pub fn payto(&self) -> String {
        let PaymentOption { network, asset, pay_to, .. } = self.option;
        let options = query([
            ("amount", format!("{}:{}", self.symbol, self.decimal())),
            ("asset", asset.to_string()),
            ("reference", self.invoice.to_string()),
        ]);
        format!("payto://{}/{}/{pay_to}?{options}", network.family().namespace(), network.reference())
    }

    /// `ethereum:<token>@<chain id>/transfer?address=<address>&uint256=<atomic units>` (EIP-681). `None` on other networks.
    ///
    /// It makes a plain transfer, which has no room for anything that binds it to the invoice.
    #[must_use]
    pub fn eip681(&self) -> Option<String> {
        let PaymentOption { network, asset, pay_to, amount, .. } = self.option;
        let call = query([("address", pay_to.to_string()), ("uint256", amount.to_string())]);
        let uri = format!("ethereum:{asset}@{}/transfer?{call}", network.reference());
        (network.family() == Family::Eip155).then_some(uri)
    }

    /// `solana:<address>?amount=<whole tokens>&spl-token=<mint>&reference=…&label=…&message=…&memo=<invoice>`, a transfer request of
    /// Solana Pay, whose reference and memo bind the transfer to the invoice. `None` on other networks.
    #[must_use]
    pub fn solana_pay(&self) -> Option<String> {
        let PaymentOption { network, asset, pay_to, .. } = self.option;
        let words = |name, words: Option<&str>| words.map(|words| (name, words.to_owned()));
        let required = [
            ("amount", self.decimal()),
            ("spl-token", asset.to_string()),
            ("reference", encode_base58(Reference::of(self.invoice).key())),
        ];
        let shown = words("label", self.label).into_iter().chain(words("message", self.message));
        let request = query(required.into_iter().chain(shown).chain([("memo", self.invoice.to_string())]));
        (network.family() == Family::Solana).then(|| format!("solana:{pay_to}?{request}"))
    }

    /// The headers that tell a client which speaks no x402 how to pay. `page` is where a person can pay and the payer presents a
    /// transfer, and `retry_after` the seconds after which the resource may be asked for again.
    ///
    /// `X402-Cost` is for people, `0.25 USDC`; `X-Payment-Amount` is its number, and `X-Payment-Token` the token's CAIP-19
    /// identifier. The values are ASCII without control characters, whatever a token calls itself.
    #[must_use]
    pub fn headers(&self, page: &str, retry_after: u64) -> [(&'static str, String); 7] {
        let headers = [
            ("X402-PayTo", self.payto()),
            ("X402-Invoice", self.invoice.to_string()),
            ("X402-Cost", format!("{} {}", self.decimal(), self.symbol)),
            ("X-Payment-URL", page.to_owned()),
            ("X-Payment-Amount", self.decimal()),
            ("X-Payment-Token", self.token()),
            ("Retry-After", retry_after.to_string()),
        ];
        headers.map(|(name, value)| (name, escape(&value, |byte| matches!(byte, b' '..=b'~'))))
    }

    /// The amount as people read it, in whole tokens.
    fn decimal(&self) -> String {
        self.option.amount.to_decimal(self.option.decimals)
    }

    /// The token's CAIP-19 identifier.
    fn token(&self) -> String {
        let PaymentOption { network, asset, .. } = self.option;
        let namespace = match network.family() {
            Family::Eip155 => "erc20",
            Family::Solana => "token",
        };
        format!("{network}/{namespace}:{asset}")
    }
}

/// The query part of a URI. Names are ours and need no encoding.
fn query<'a>(parameters: impl IntoIterator<Item = (&'a str, String)>) -> String {
    // A colon means nothing in a query (RFC 3986, section 3.4), and `payto` has one in its amounts.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let parameters: Vec<_> = parameters.into_iter().map(|(name, value)| format!("{name}={}", escape(&value, is_plain))).collect();
    parameters.join("&")
}

/// Percent-encodes the UTF-8 bytes that are not plain.
fn escape(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
            escaped.extend(['%', digit(byte >> 4), digit(byte & 0x0f)]);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Address;
    use crate::domain::amount::Amount;
    use serde_json::json;
    use uuid::Uuid;

    const PAGE: &str = "https://pay.example.org/i/inv_018f4a1e7d3c70008000000000000001";

    fn option(network: &str, asset: &str, pay_to: &str) -> PaymentOption {
        PaymentOption {
            network: network.parse().unwrap(),
            asset: Address::parse_any(asset).unwrap(),
            decimals: 6,
            pay_to: Address::parse_any(pay_to).unwrap(),
            amount: Amount::new(250_000),
            reserved: false,
        }
    }

    fn base() -> PaymentOption {
        let usdc = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
        option("eip155:8453", usdc, "0x209693Bc6afc0C5328bA36FaF03C514EF312287C")
    }

    fn solana() -> PaymentOption {
        let usdc = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
        option("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", usdc, "EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEEh1")
    }

    fn offer(option: &PaymentOption) -> Offer<'_> {
        let invoice = InvoiceId::from_uuid(Uuid::from_u128(0x018f_4a1e_7d3c_7000_8000_0000_0000_0001));
        Offer { invoice, option, symbol: "USDC", label: None, message: None }
    }

    #[test]
    fn a_payto_uri_names_network_address_amount_token_and_invoice() {
        assert_eq!(
            offer(&base()).payto(),
            "payto://eip155/8453/0x209693Bc6afc0C5328bA36FaF03C514EF312287C?amount=USDC:0.25\
             &asset=0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913&reference=inv_018f4a1e7d3c70008000000000000001"
        );
        assert_eq!(
            offer(&solana()).payto(),
            "payto://solana/5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp/EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEEh1?amount=USDC:0.25\
             &asset=EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v&reference=inv_018f4a1e7d3c70008000000000000001"
        );
    }

    #[test]
    fn an_amount_has_every_decimal_place_of_its_token() {
        let amount = |units, decimals| {
            let option = PaymentOption { amount: Amount::new(units), decimals, ..base() };
            let uri = offer(&option).payto();
            uri.split_once("amount=USDC:").unwrap().1.split_once('&').unwrap().0.to_owned()
        };

        assert_eq!(amount(1, 6), "0.000001");
        assert_eq!(amount(1_000_000, 6), "1");
        assert_eq!(amount(1_000_000_000_000_000_001, 18), "1.000000000000000001");
        assert_eq!(amount(250_000_000_000_000_000, 18), "0.25");
        assert_eq!(amount(7, 0), "7");
    }

    #[test]
    fn a_wallet_is_told_the_call_in_atomic_units() {
        let fine = PaymentOption { amount: Amount::new(1_000_000_000_000_000_001), decimals: 18, ..base() };

        assert_eq!(
            offer(&base()).eip681().as_deref(),
            Some(
                "ethereum:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913@8453/transfer\
                 ?address=0x209693Bc6afc0C5328bA36FaF03C514EF312287C&uint256=250000"
            )
        );
        assert!(offer(&fine).eip681().unwrap().ends_with("&uint256=1000000000000000001"));
        assert_eq!(offer(&solana()).eip681(), None);
    }

    #[test]
    fn a_request_of_solana_pay_binds_its_transfer_twice() {
        assert_eq!(
            offer(&solana()).solana_pay().as_deref(),
            Some(
                "solana:EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEEh1?amount=0.25\
                 &spl-token=EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v\
                 &reference=GbtpUFLe3FA1KiNBSeWjCTokwGauiqH8CjjNxxGaRw2u&memo=inv_018f4a1e7d3c70008000000000000001"
            )
        );
        assert_eq!(offer(&base()).solana_pay(), None);
    }

    #[test]
    fn words_cannot_end_their_parameter() {
        let option = solana();
        let words =
            Offer { label: Some("Café & Söhne #1"), message: Some("100% of a?b=c/d+e\r\n\u{202e}~_-.:"), ..offer(&option) };

        let uri = words.solana_pay().unwrap();
        assert!(
            uri.contains(
                "&label=Caf%C3%A9%20%26%20S%C3%B6hne%20%231\
                 &message=100%25%20of%20a%3Fb%3Dc%2Fd%2Be%0D%0A%E2%80%AE~_-.:&memo=inv_"
            ),
            "{uri}"
        );
    }

    #[test]
    fn plain_http_is_told_everything_in_headers() {
        let headers = [
            ("X402-PayTo", offer(&base()).payto()),
            ("X402-Invoice", "inv_018f4a1e7d3c70008000000000000001".to_owned()),
            ("X402-Cost", "0.25 USDC".to_owned()),
            ("X-Payment-URL", PAGE.to_owned()),
            ("X-Payment-Amount", "0.25".to_owned()),
            ("X-Payment-Token", "eip155:8453/erc20:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".to_owned()),
            ("Retry-After", "2".to_owned()),
        ];
        assert_eq!(offer(&base()).headers(PAGE, 2), headers);
        let [.., (_, token), _] = offer(&solana()).headers(PAGE, 2);
        assert_eq!(token, "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp/token:EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v");
    }

    #[test]
    fn no_header_breaks_out_of_its_line() {
        let option = base();
        let strange = Offer { symbol: "USD₮0\r\nSet-Cookie: a=b\u{7f}\0", ..offer(&option) };

        let headers = strange.headers("https://pay.example.org/é\n?a=%20", 0);
        assert!(headers.iter().all(|(_, value)| value.bytes().all(|byte| (b' '..=b'~').contains(&byte))), "{headers:?}");
        assert_eq!(headers[2].1, "0.25 USD%E2%82%AE0%0D%0ASet-Cookie: a=b%7F%00");
        assert_eq!(headers[3].1, "https://pay.example.org/%C3%A9%0A?a=%20");
    }

    #[test]
    fn each_family_has_its_own_links() {
        let of = |option: &PaymentOption| serde_json::to_value(Links::of(&offer(option))).unwrap();

        assert_eq!(
            of(&base()),
            json!({
                "payto": offer(&base()).payto(),
                "eip681": offer(&base()).eip681(),
                "nonce": "0xe7cfa4885dfffb5799efaea52dd86435914735375d6022470000000000000000",
            })
        );
        assert_eq!(
            of(&solana()),
            json!({
                "payto": offer(&solana()).payto(),
                "solanaPay": offer(&solana()).solana_pay(),
                "reference": "GbtpUFLe3FA1KiNBSeWjCTokwGauiqH8CjjNxxGaRw2u",
                "memo": "inv_018f4a1e7d3c70008000000000000001",
            })
        );
    }
}
