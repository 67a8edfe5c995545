//! How long a caller of gRPC waits.

use quittance::grpc::deadline::parse;

/// Checks that it is so many of its unit, and not more than eight digits. Returns whether it is a time.
///
/// # Panics
/// If it is not so.
pub fn timeout(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some(read) = parse(text) else { return false };
    let (digits, unit) = text.split_at(text.len() - 1);
    let unit_nanos: u128 = match unit {
        "H" => 3_600_000_000_000,
        "M" => 60_000_000_000,
        "S" => 1_000_000_000,
        "m" => 1_000_000,
        "u" => 1_000,
        "n" => 1,
        _ => panic!("no unit"),
    };
    assert!(digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{digits}");
    assert_eq!(read.as_nanos(), digits.parse::<u128>().expect("digits") * unit_nanos);
    true
}
