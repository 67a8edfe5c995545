//! What somebody shows us as a receipt of ours.

use quittance::signing::claims::Claims;
use quittance::signing::key_set::KeySet;
use quittance::signing::verify::verify;

/// Takes the first line for a set of keys and the rest for a receipt, or for the claims of one. Checks that claims have one form. Returns
/// whether there are keys and claims.
///
/// # Panics
/// If it is not so.
pub fn receipt(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (keys, shown) = text.split_once('\n').unwrap_or((text, ""));
    let keys = KeySet::parse(keys);
    if let Ok(keys) = &keys {
        drop(verify(shown, keys, None));
    }
    let claims = Claims::parse(shown.as_bytes());
    if let Ok(claims) = &claims {
        assert_eq!(claims.to_canonical(), shown);
    }
    keys.is_ok() && claims.is_ok()
}
