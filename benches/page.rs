//! docs/PERFORMANCE.md, into which each benchmark writes what it found.

use super::support::root;

/// Puts a benchmark's text between its marks on the page.
pub fn write(name: &str, text: &str) {
    let path = root().join("docs/PERFORMANCE.md");
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    let page = std::fs::read_to_string(&path).expect("docs/PERFORMANCE.md is there");
    let (head, rest) = page.split_once(&begin).expect("docs/PERFORMANCE.md says where the tables begin");
    let (_, tail) = rest.split_once(&end).expect("docs/PERFORMANCE.md says where the tables end");
    std::fs::write(&path, format!("{head}{begin}\n{text}{end}{tail}")).expect("docs/PERFORMANCE.md is writable");
}

/// When and where, and of how many rounds.
pub fn measured(rounds: usize) -> String {
    let of = if rounds == 1 { "figures of a single round".to_owned() } else { format!("medians of {rounds} rounds") };
    format!("Measured on {} on {}; {of}.\n\n", today(), machine())
}

/// What the environment says under a name.
pub fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} should be a number, not {text:?}")))
}

/// The middle one; of an even number the mean of the two in the middle; NaN of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.get(middle) {
        None => f64::NAN,
        Some(figure) if figures.len() % 2 == 1 => *figure,
        Some(figure) => f64::midpoint(figures[middle - 1], *figure),
    }
}

/// A figure as a table has it; a dash for none.
pub fn figure(figure: f64, digits: usize) -> String {
    if figure.is_nan() { "–".to_owned() } else { format!("{figure:.digits$}") }
}

fn today() -> String {
    chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).format("%Y-%m-%d").to_string()
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).and_then(|rest| rest.split_whitespace().next());
    let memory = memory.and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1_048_576.0;
    let model = model.map_or("an unknown processor", |(_, name)| name.trim());
    format!("{cores} cores of {model} with {memory:.0} GiB of memory")
}
