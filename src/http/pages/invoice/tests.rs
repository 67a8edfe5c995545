//! What the page of an invoice says, and that nobody's words become part of it.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::*;
use crate::domain::address::Address;
use crate::domain::block::Level;
use crate::domain::ids::AccountId;
use crate::domain::invoice::{Standing, Terms};
use crate::ledger::invoices::Invoice;

/// What somebody writes who wants to be more than a text.
const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror='alert(1)'>&{{7*7}}</title></textarea>";

fn moment() -> DateTime<Utc> {
    DateTime::from_timestamp(1_796_015_999, 0).unwrap()
}

fn base() -> PaymentOption {
    PaymentOption {
        network: "eip155:84532".parse().unwrap(),
        asset: Address::parse_any("0x036CbD53842c5426634e7929541eC2318f3dCF7e").unwrap(),
        decimals: 6,
        pay_to: Address::parse_any("0x209693Bc6afc0C5328bA36FaF03C514EF312287C").unwrap(),
        amount: Amount::new(250_000),
        reserved: false,
    }
}

fn solana() -> PaymentOption {
    PaymentOption {
        network: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse().unwrap(),
        asset: Address::parse_any("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v").unwrap(),
        pay_to: Address::parse_any("EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEEh1").unwrap(),
        ..base()
    }
}

fn asked() -> Asked {
    let id = InvoiceId::from_uuid(Uuid::from_u128(0x018f_4a1e_7d3c_7000_8000_0000_0000_0001));
    let due = Amount::new(250_000);
    Asked {
        invoice: Invoice {
            id,
            account: AccountId::new(),
            terms: Terms {
                amount: due,
                tolerance: Amount::ZERO,
                answer_at: Level::Included,
                closes_at: moment() + TimeDelta::minutes(10),
                canceled: false,
            },
            decimals: 6,
            symbol: "USDC".to_owned(),
            payer: None,
            by_amount: false,
            created_at: moment(),
            expires_at: moment(),
            canceled_at: None,
            resource: None,
            description: None,
            reference: Some("order-417".to_owned()),
            metadata: json!({"customer": "a secret"}),
            options: vec![base(), solana()],
            told: Standing {
                status: invoice::Status::Open,
                paid: Amount::ZERO,
                pending: Amount::ZERO,
                due,
                surplus: Amount::ZERO,
                late: Amount::ZERO,
            },
        },
        merchant: "A shop".to_owned(),
        is_payable: true,
        options: vec![base(), solana()],
        receipts: Vec::new(),
        page: format!("https://pay.example.com/i/{id}"),
    }
}

fn written(asked: &Asked) -> String {
    let frame = Frame { base: String::new(), icon: "/i.svg".into(), style: "/s.css".into(), script: "/f.js".into() };
    let issuer = Some("https://pay.example.com".to_owned());
    InvoicePage::of(frame, issuer, "https://pay.example.com", asked).render().unwrap()
}

#[test]
fn the_page_has_what_every_kind_of_wallet_needs() {
    let asked = asked();
    let page = written(&asked);

    for option in &asked.options {
        let links = Links::of(&asked.offer(option));
        let all = [Some(links.payto), links.eip681, links.solana_pay, links.nonce, links.reference, links.memo];
        for needed in all.into_iter().flatten().chain([option.pay_to.to_string(), option.asset.to_string()]) {
            let escaped = needed.replace('&', "&#38;");
            assert!(page.contains(&escaped), "{needed}");
        }
    }
    // Of each network a code for wallets and one for other programs.
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("30 Nov 2026, 05:19 UTC") && page.contains("Waiting for payment"));
}

#[test]
fn the_page_keeps_what_is_the_merchants_own() {
    let page = written(&asked());

    assert!(!page.contains("order-417") && !page.contains("a secret"));
}

#[test]
fn nobodys_words_become_part_of_the_page() {
    let mut asked = asked();
    asked.merchant = HOSTILE.to_owned();
    asked.invoice.description = Some(HOSTILE.to_owned());
    asked.invoice.symbol = HOSTILE.to_owned();
    for resource in [HOSTILE, "javascript:alert(1)", "https://shop.example/\"onclick=\"alert(1)"] {
        asked.invoice.resource = Some(resource.to_owned());
        let page = written(&asked);

        // The only script is ours, which has a source.
        assert_eq!((page.matches("<script").count(), page.matches("<script src=\"/f.js\"").count()), (1, 1), "{page}");
        assert!(!page.contains("<img") && !page.contains("href=\"javascript:") && !page.contains("\"onclick"), "{page}");
        assert_eq!(page.matches("</title>").count(), 1);
    }
}

#[test]
fn what_cannot_be_paid_any_more_offers_no_way_to_pay() {
    let paid = Standing { status: invoice::Status::Paid, paid: Amount::new(250_000), due: Amount::ZERO, ..asked().invoice.told };
    let mut asked = Asked { is_payable: false, ..asked() };
    asked.invoice.told = paid;
    let page = written(&asked);

    assert!(!page.contains("ethereum:") && !page.contains("<svg") && page.contains("0.25 USDC"));
}

#[test]
fn a_payer_is_told_what_makes_a_transfer_count() {
    let asked = asked();
    let plain = rules(&asked, &base());
    assert!(plain.len() == 1 && plain[0].starts_with("A plain transfer does not say"), "{plain:?}");
    assert!(rules(&asked, &solana())[0].contains("memo"));

    let reserved = PaymentOption { reserved: true, ..base() };
    assert!(rules(&asked, &reserved)[0].contains("any transfer of USDC"));
    let mut exact = asked;
    exact.invoice.by_amount = true;
    exact.invoice.payer = Some(base().pay_to);
    let exact = rules(&exact, &base());
    assert!(exact.len() == 2 && exact.iter().all(|rule| rule.contains("exactly 0.25 USDC")), "{exact:?}");
}

#[test]
fn each_standing_has_its_words_and_only_what_may_change_is_followed() {
    use invoice::Status;
    for (status, covered, payable, words) in [
        (Status::Open, false, true, "Waiting for payment"),
        (Status::Open, false, false, "Expired"),
        (Status::Seen, true, false, "Payment seen"),
        (Status::Seen, false, true, "Partly paid"),
        (Status::Underpaid, false, true, "Partly paid"),
        (Status::Underpaid, true, false, "Payment seen"),
        (Status::Underpaid, false, false, "Not paid in full"),
        (Status::Expired, false, false, "Expired"),
        (Status::Paid, true, false, "Paid"),
        (Status::Final, true, false, "Paid"),
        (Status::Canceled, true, false, "Called off"),
    ] {
        assert_eq!(headline(status, covered, payable).words, words, "{status:?} {covered} {payable}");
    }
    let followed: Vec<_> = Status::ALL.into_iter().filter(|status| may_change(*status)).collect();
    assert_eq!(followed, [Status::Open, Status::Seen, Status::Underpaid, Status::Paid]);
}
