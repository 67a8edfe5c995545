//! QR codes, drawn as one path of SVG.

use std::fmt::Write;

use qrcodegen::{QrCode, QrCodeEcc};

/// Modules of white around a code, without which readers do not find it.
const QUIET: i32 = 4;

/// Longest text whose code a telephone still reads from a screen.
const BYTES_MAX: usize = 700;

/// A code to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qr {
    /// Modules on a side, with the white around.
    pub side: i32,
    /// The dark modules: a path whose unit is a module.
    pub path: String,
}

impl Qr {
    /// The code of a text; `None` if it is too long to be read.
    pub fn of(text: &str) -> Option<Self> {
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok().filter(|_| text.len() <= BYTES_MAX)?;
        Some(Self { side: code.size() + 2 * QUIET, path: path(&code) })
    }
}

/// Each run of dark modules in a row as a rectangle.
fn path(code: &QrCode) -> String {
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).count();
            let Ok(run) = i32::try_from(run) else { break };
            if run > 0 {
                // Writing to a text does not fail.
                let _ = write!(path, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
            }
            x += run.max(1);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_covers_the_dark_modules_and_no_others() {
        let text = "ethereum:0x036CbD53842c5426634e7929541eC2318f3dCF7e@84532/transfer?uint256=250000";
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).unwrap();
        let drawn = Qr::of(text).unwrap();

        let mut dark = std::collections::BTreeSet::new();
        for rectangle in drawn.path.split('M').skip(1) {
            let (at, rest) = rectangle.split_once('h').unwrap();
            let (x, y) = at.split_once(' ').unwrap();
            let (x, y, run) = (x.parse::<i32>().unwrap(), y.parse::<i32>().unwrap(), rest.split_once('v').unwrap().0);
            dark.extend((0..run.parse::<i32>().unwrap()).map(|step| (x + step - QUIET, y - QUIET)));
        }
        let side = 0..code.size();
        let expected = side.clone().flat_map(|x| side.clone().map(move |y| (x, y))).filter(|(x, y)| code.get_module(*x, *y));
        assert_eq!(dark, expected.collect());
        assert_eq!(drawn.side, code.size() + 8);
    }

    #[test]
    fn a_text_that_no_telephone_would_read_has_no_code() {
        assert!(Qr::of(&"a".repeat(BYTES_MAX)).is_some());
        assert_eq!(Qr::of(&"a".repeat(BYTES_MAX + 1)), None);
    }
}
