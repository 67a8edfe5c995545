//! Small charts, drawn on the server. Each number in them stands in the page as a text, too.

use chrono::{Days, NaiveDate};

use crate::ledger::summaries::{COUNTED_MAX, Counted, Day};

/// Size of the drawing, in its own units.
const WIDTH: u32 = 560;
const HEIGHT: u32 = 120;

/// Between two bars.
const GAP: u32 = 8;

/// The payments of some days as bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bars {
    /// Size of the drawing.
    pub width: u32,
    /// See above.
    pub height: u32,
    /// One for each day, oldest first.
    pub days: Vec<Bar>,
    /// The first of the days: `17 Nov`.
    pub first: String,
    /// The last of them.
    pub last: String,
    /// All payments that were asked for, and that were counted.
    pub asked: u64,
    /// All of them that were settled.
    pub settled: u64,
    /// Whether there were more than are counted.
    pub is_cut: bool,
}

/// A day: a bar for what was asked for, and one in it for what was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// From the left.
    pub x: u32,
    /// How wide both are.
    pub width: u32,
    /// From the top, and how high: what was asked for.
    pub asked: (u32, u32),
    /// The same of what was settled.
    pub settled: (u32, u32),
    /// `30 Nov`.
    pub day: String,
    /// The numbers. Absent for a day of which nothing was counted.
    pub counts: Option<(u64, u64)>,
    /// Whether only the newest of the day were counted.
    pub is_part: bool,
}

impl Bars {
    /// The bars of the days up to the last one, `count` of them. A day without payments has none, nor has one of which nothing was counted.
    pub fn of(Counted { of: days, is_cut }: &Counted<Vec<Day>>, last: NaiveDate, count: u32) -> Self {
        let oldest = days.first().filter(|_| *is_cut).map(|day| day.day);
        let dates = (0..count).rev().filter_map(|back| last.checked_sub_days(Days::new(back.into())));
        let on = |date| days.iter().find(|day| day.day == date).map_or((0, 0), |day| (day.asked, day.settled));
        let counts: Vec<_> =
            dates.map(|date| (date, Some(date).filter(|date| oldest.is_none_or(|oldest| oldest <= *date)).map(on))).collect();
        let most = counts.iter().filter_map(|(_, counts)| *counts).map(|(asked, _)| asked).max().unwrap_or(0);
        let step = WIDTH / count.max(1);
        let bars = counts.iter().zip(0..).map(|((date, counts), place)| {
            let (asked, settled) = counts.unwrap_or_default();
            Bar {
                x: place * step + GAP / 2,
                width: step.saturating_sub(GAP),
                asked: standing(asked, most),
                settled: standing(settled, most),
                day: label(*date),
                counts: *counts,
                is_part: oldest == Some(*date),
            }
        });
        let sum = |count: fn((u64, u64)) -> u64| -> u64 { counts.iter().filter_map(|(_, counts)| *counts).map(count).sum() };
        Self {
            width: WIDTH,
            height: HEIGHT,
            days: bars.collect(),
            first: counts.first().map(|(date, _)| label(*date)).unwrap_or_default(),
            last: label(last),
            asked: sum(|counts| counts.0).min(COUNTED_MAX.into()),
            settled: sum(|counts| counts.1).min(COUNTED_MAX.into()),
            is_cut: *is_cut,
        }
    }
}

fn label(day: NaiveDate) -> String {
    day.format("%-d %b").to_string()
}

/// Where a bar begins, and how high it is. The least is seen, too.
fn standing(count: u64, most: u64) -> (u32, u32) {
    let height = share(count, most, HEIGHT);
    (HEIGHT - height, height)
}

/// Its part of a length, at least one unit of it if there is any.
pub fn share(count: u64, most: u64, length: u32) -> u32 {
    let part = u128::from(count) * u128::from(length) / u128::from(most.max(1));
    u32::try_from(part).unwrap_or(length).max(u32::from(count > 0)).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32, asked: u64, settled: u64) -> Day {
        Day { day: NaiveDate::from_ymd_opt(2026, 11, day).unwrap(), asked, settled }
    }

    #[test]
    fn each_day_has_its_place_also_where_nothing_happened() {
        let days = Counted { of: vec![day(28, 4, 2), day(30, 2, 2)], is_cut: false };
        let bars = Bars::of(&days, day(30, 0, 0).day, 3);

        assert_eq!(
            bars.days.iter().map(|bar| (bar.day.as_str(), bar.counts)).collect::<Vec<_>>(),
            [("28 Nov", Some((4, 2))), ("29 Nov", Some((0, 0))), ("30 Nov", Some((2, 2)))]
        );
        assert_eq!((bars.asked, bars.settled), (6, 4));
        assert_eq!((bars.first.as_str(), bars.last.as_str()), ("28 Nov", "30 Nov"));
        assert_eq!((bars.days[0].asked, bars.days[0].settled), ((0, HEIGHT), (HEIGHT / 2, HEIGHT / 2)));
        assert_eq!(bars.days[1].asked, (HEIGHT, 0));
        assert!(bars.days[2].x + bars.days[2].width <= bars.width);
    }

    #[test]
    fn a_day_that_was_not_counted_is_not_called_empty() {
        let days = Counted { of: vec![day(28, 4, 2), day(30, 2, 2)], is_cut: true };
        let bars = Bars::of(&days, day(30, 0, 0).day, 4);

        let told = bars.days.iter().map(|bar| (bar.counts, bar.is_part)).collect::<Vec<_>>();
        assert_eq!(told, [(None, false), (Some((4, 2)), true), (Some((0, 0)), false), (Some((2, 2)), false)]);
        assert!(bars.is_cut && bars.asked == 6);
    }

    #[test]
    fn the_least_is_seen_and_the_most_fits() {
        assert_eq!((share(0, 1_000, 100), share(1, 1_000_000, 100), share(1_000, 1_000, 100)), (0, 1, 100));
        assert_eq!((share(0, 0, 100), share(u64::MAX, u64::MAX, 100)), (0, 100));
    }
}
