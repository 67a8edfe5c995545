//! Lines of CSV (RFC 4180) that programs read as they were meant, and that spreadsheets do not take for formulas.

/// What some spreadsheets take for the beginning of a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Writes a line with its end.
pub fn line<C: AsRef<str>>(cells: impl IntoIterator<Item = C>) -> String {
    let cells: Vec<_> = cells.into_iter().map(|cell| escaped(cell.as_ref())).collect();
    cells.join(",") + "\r\n"
}

/// A cell. Whoever wrote what stands in it must not make a spreadsheet do anything.
fn escaped(cell: &str) -> String {
    let guard = if cell.starts_with(FORMULA) && !is_number(cell) { "'" } else { "" };
    if cell.contains(['"', ',', '\r', '\n']) {
        format!("\"{guard}{}\"", cell.replace('"', "\"\""))
    } else {
        format!("{guard}{cell}")
    }
}

/// Whether a text is a decimal number, which no spreadsheet takes for anything else.
fn is_number(cell: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = cell.strip_prefix(['+', '-']).unwrap_or(cell);
    match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a line back as RFC 4180 says.
    fn read(line: &str) -> Vec<String> {
        let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
        let mut letters = line.strip_suffix("\r\n").expect("it ends").chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(std::mem::take(&mut cell)),
                letter => cell.push(letter),
            }
        }
        cells.push(cell);
        cells
    }

    #[test]
    fn a_cell_is_quoted_only_where_it_must_be() {
        assert_eq!(line(["a", "b c", ""]), "a,b c,\r\n");
        assert_eq!(line(["a,b", "say \"hi\"", "two\nlines", "\r"]), "\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",\"'\r\"\r\n");
    }

    #[test]
    fn no_cell_is_a_formula_and_numbers_stay_numbers() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-2+3", "'-2+3"),
            ("-", "'-"),
            ("-1.", "'-1."),
            ("\tx", "'\tx"),
            ("=a,b", "\"'=a,b\""),
            ("-1", "-1"),
            ("+0.25", "+0.25"),
            ("0.25", "0.25"),
            ("a=b", "a=b"),
            ("0x12", "0x12"),
        ] {
            assert_eq!(line([cell]), format!("{written}\r\n"), "{cell:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(cells in prop::collection::vec("[a-z0-9,\"\\r\\n =+@'-]{0,12}", 1..6)) {
            let guarded = |cell: &String| {
                if cell.starts_with(FORMULA) && !is_number(cell) { format!("'{cell}") } else { cell.clone() }
            };

            prop_assert_eq!(read(&line(&cells)), cells.iter().map(guarded).collect::<Vec<_>>());
        }
    }
}
