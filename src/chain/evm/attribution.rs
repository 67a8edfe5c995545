//! Names at the end of a transaction's data, behind what its contract reads (ERC-8021, schema 2).

use crate::domain::attribution::{Code, Named, Own};

/// What the data of such a transaction ends with.
const MARKER: [u8; 16] = [0x80, 0x21, 0x80, 0x21, 0x80, 0x21, 0x80, 0x21, 0x80, 0x21, 0x80, 0x21, 0x80, 0x21, 0x80, 0x21];

/// Names by letters, in CBOR.
const SCHEMA: u8 = 2;

/// The bytes that attribute a settlement to those who are named; none if nobody is.
#[must_use]
pub fn suffix(named: &Named, own: &Own) -> Vec<u8> {
    let services: Vec<_> = named.services.iter().chain(&own.service).collect();
    let app = named.app.as_ref().map(|app| [text("a"), text(app.as_str())].concat());
    let wallet = own.wallet.as_ref().map(|wallet| [text("w"), text(wallet.as_str())].concat());
    let services = (!services.is_empty()).then(|| [text("s"), list(&services)].concat());
    let members: Vec<_> = [app, wallet, services].into_iter().flatten().collect();
    if members.is_empty() {
        return Vec::new();
    }
    let map = [head(MAP, members.len()), members.concat()].concat();
    let size = u16::try_from(map.len()).unwrap_or(u16::MAX).to_be_bytes();
    [map.as_slice(), &size, &[SCHEMA], &MARKER].concat()
}

// Kinds of values in CBOR (RFC 8949, section 3.1).
const TEXT: u8 = 3 << 5;
const LIST: u8 = 4 << 5;
const MAP: u8 = 5 << 5;

/// The head of a value whose size is below 256.
fn head(kind: u8, size: usize) -> Vec<u8> {
    let size = u8::try_from(size).unwrap_or(u8::MAX);
    if size < 24 { vec![kind + size] } else { vec![kind + 24, size] }
}

fn text(text: &str) -> Vec<u8> {
    [head(TEXT, text.len()).as_slice(), text.as_bytes()].concat()
}

fn list(codes: &[&Code]) -> Vec<u8> {
    let items: Vec<_> = codes.iter().map(|code| text(code.as_str())).collect();
    [head(LIST, codes.len()), items.concat()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::hex;

    fn code(text: &str) -> Option<Code> {
        Code::parse(text)
    }

    #[test]
    fn the_bytes_are_those_that_other_libraries_write() {
        let own = Own { wallet: code("my_fac"), service: None };
        let named = Named { app: code("my_app"), services: code("svc_one").into_iter().collect() };

        let all = "a36161666d795f6170706177666d795f666163617381677376635f6f6e65001e0280218021802180218021802180218021";
        assert_eq!(hex::encode(suffix(&named, &own)), all);
        let only_ours = "a16177666d795f666163000a0280218021802180218021802180218021";
        assert_eq!(hex::encode(suffix(&Named::default(), &own)), only_ours);
        assert_eq!(suffix(&Named::default(), &Own::default()), Vec::<u8>::new());
    }

    #[test]
    fn our_service_stands_behind_those_of_others() {
        let own = Own { wallet: None, service: code("ours") };
        let named = Named { app: None, services: code("theirs").into_iter().collect() };

        assert_eq!(hex::encode(&suffix(&named, &own)[..16]), hex::encode(b"\xa1\x61s\x82\x66theirs\x64ours"));
    }

    #[test]
    fn a_long_name_has_a_longer_head() {
        let own = Own { wallet: code(&"a".repeat(32)), service: None };
        assert_eq!(suffix(&Named::default(), &own)[3..5], [0x78, 32]);
    }
}
