//! Functions of the calendar, in UTC.

use super::super::column::Scalar;
use super::super::{Evaluator, Result, Sink};
use super::{stream_mapped, stream_scalar};
use crate::promql::ast::Call;

/// A point in time, taken apart.
pub(super) struct Date {
    year: i64,
    month: i64,
    day: i64,
    /// Days since 1970-01-01.
    days: i64,
    /// Seconds of the day.
    seconds: i64,
}

/// The calendar function with that name.
pub(super) fn calendar_function(name: &str) -> Option<fn(&Date) -> f64> {
    Some(match name {
        "minute" => |date| (date.seconds / 60 % 60) as f64,
        "hour" => |date| (date.seconds / 3600) as f64,
        // The first of January 1970 was a Thursday; Sunday is 0.
        "day_of_week" => |date| (date.days + 4).rem_euclid(7) as f64,
        "day_of_month" => |date| date.day as f64,
        "day_of_year" => |date| (date.days - days_since_epoch(date.year, 1, 1) + 1) as f64,
        "days_in_month" => |date| days_in_month(date.year, date.month) as f64,
        "month" => |date| date.month as f64,
        "year" => |date| date.year as f64,
        _ => return None,
    })
}

/// Streams a calendar function of the argument's values, or of the time of evaluation.
pub(super) fn stream(evaluator: &Evaluator<'_>, call: &Call, function: fn(&Date) -> f64, sink: Sink<'_>) -> Result<()> {
    let Some(argument) = call.args.first() else {
        let steps = evaluator.steps;
        let values = (0..steps.count).map(|index| function(&Date::at((steps.at(index) / 1000) as f64)));
        return stream_scalar(evaluator, Scalar::PerStep(values.collect()), sink);
    };
    stream_mapped(evaluator, argument, sink, |column| {
        column.drop_histograms();
        column.map_floats(|_, value| function(&Date::at(value)));
    })
}

impl Date {
    /// The date of a number of seconds since the epoch. Fractions go, towards the epoch.
    ///
    /// What does not fit into 64 bits, NaN among it, counts as the lowest number, and dates before [`FIRST_DAY`] as
    /// dates 2^64 seconds later: so does Go on a PC.
    fn at(seconds: f64) -> Self {
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        let seconds = if (-LIMIT..LIMIT).contains(&seconds) { seconds as i64 } else { i64::MIN };
        let since_first = seconds.wrapping_sub(FIRST_DAY.wrapping_mul(86_400)).cast_unsigned();
        let days = (since_first / 86_400).cast_signed() + FIRST_DAY;
        let (year, month, day) = civil_date(days);
        Self { year, month, day, days, seconds: (since_first % 86_400).cast_signed() }
    }
}

/// Where Go's calendar begins, in days since the epoch: the first of March of the year -292277022400.
const FIRST_DAY: i64 = -(292_277_022_400 / 400 * 146_097) - 719_468;

/// Year, month and day of the proleptic Gregorian calendar. Years begin in March here, so that leap
/// days come last, and eras are the 400 years after which the calendar repeats.
fn civil_date(days_since_epoch: i64) -> (i64, i64, i64) {
    let days = days_since_epoch + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_since_epoch(next_year, next_month, 1) - days_since_epoch(year, month, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_taken_apart() {
        // seconds, year, month, day of month, week, year, days in month, hour, minute
        let cases = [
            (0.0, [1970, 1, 1, 4, 1, 31, 0, 0]),
            (-1.0, [1969, 12, 31, 3, 365, 31, 23, 59]),
            (951_782_400.0, [2000, 2, 29, 2, 60, 29, 0, 0]),
            (4_107_542_399.0, [2100, 2, 28, 0, 59, 28, 23, 59]),
            (1_767_225_600.9, [2026, 1, 1, 4, 1, 31, 0, 0]),
        ];
        let names = ["year", "month", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute"];
        for (seconds, expected) in cases {
            let date = Date::at(seconds);
            let found = names.map(|name| calendar_function(name).expect(name)(&date) as i64);
            assert_eq!(found, expected, "{seconds}");
        }
        for seconds in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e19] {
            assert_eq!(Date::at(seconds).year, 292_277_026_596, "{seconds}");
        }
        assert_eq!(Date::at(9_007_199_254_740_992.0).year, 285_428_751);
    }
}
