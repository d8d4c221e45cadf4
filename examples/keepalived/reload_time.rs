//! The time of a scheduled reload, from the first line of the file of `reload_time_file`.

use jiff::{
    Timestamp,
    civil::{DateTime, Time},
    tz::TimeZone,
};

const TIME: &str = "%H:%M:%S";
const DATES: [&str; 2] = ["%Y-%m-%d %H:%M:%S", "%y-%m-%d %H:%M:%S"];

/// The line has none of the three forms, or a date or time that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the first line is not HH:MM:SS, YY-MM-DD HH:MM:SS or YYYY-MM-DD HH:MM:SS, each with an \
     optional Z for UTC; no reload is scheduled"
)]
pub(crate) struct NotATime;

/// A time as it is written.
enum Written {
    /// The next occurrence of a time of the day.
    Daily(Time),
    /// A time on a date.
    Once(DateTime),
}

/// The time after `now` at which the line schedules a reload. `None` if its date has passed.
///
/// Without `Z` at its end, the line is in local time, `zone`. A local time that the clocks skip is
/// moved forward by as much as the clocks are, and of a local time that occurs twice the first one
/// counts.
pub(crate) fn due(
    line: &str,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Option<Timestamp>, NotATime> {
    let (text, zone) = match line.strip_suffix('Z') {
        Some(text) => (text, TimeZone::UTC),
        None => (line, zone.clone()),
    };
    let at = |time: DateTime| time.to_zoned(zone.clone()).map(|it| it.timestamp());
    let due = match written(text).ok_or(NotATime)? {
        Written::Once(time) => at(time).map_err(|_| NotATime)?,
        Written::Daily(time) => {
            let today = now.to_zoned(zone.clone()).date();
            let due = at(today.to_datetime(time)).map_err(|_| NotATime)?;
            if due > now {
                due
            } else {
                let tomorrow = today.tomorrow().map_err(|_| NotATime)?;
                at(tomorrow.to_datetime(time)).map_err(|_| NotATime)?
            }
        }
    };
    Ok(Some(due).filter(|due| *due > now))
}

/// Reads a text in exactly one of the three forms. The library accepts blanks and missing zeros
/// too, so the text is compared with the form that the library writes.
fn written(text: &str) -> Option<Written> {
    if let Ok(time) = Time::strptime(TIME, text) {
        let is_exact = time.strftime(TIME).to_string() == text;
        return is_exact.then_some(Written::Daily(time));
    }
    DATES.into_iter().find_map(|form| {
        let time = DateTime::strptime(form, text).ok()?;
        let is_exact = time.strftime(form).to_string() == text;
        is_exact.then_some(Written::Once(time))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central European time.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The result for a line at noon UTC of 2026-06-15, when it is 14:00 in Berlin.
    fn due_at_noon(line: &str) -> Result<Option<String>, NotATime> {
        let due = due(line, at("2026-06-15T12:00:00Z"), &berlin());
        due.map(|due| due.map(|it| it.to_string()))
    }

    fn assert_due(line: &str, wanted: &str) {
        assert_eq!(due_at_noon(line), Ok(Some(wanted.to_owned())), "{line}");
    }

    #[test]
    fn a_time_without_z_is_local_and_one_with_z_is_utc() {
        assert_due("15:30:01", "2026-06-15T13:30:01Z");
        assert_due("15:30:01Z", "2026-06-15T15:30:01Z");
        for date in ["26", "2026"] {
            assert_due(&format!("{date}-12-24 18:00:00"), "2026-12-24T17:00:00Z");
            assert_due(&format!("{date}-12-24 18:00:00Z"), "2026-12-24T18:00:00Z");
        }
        assert_due("2132-02-29 00:00:00Z", "2132-02-29T00:00:00Z");
    }

    #[test]
    fn a_time_of_the_day_that_has_passed_or_is_now_is_that_of_tomorrow() {
        assert_due("14:00:01", "2026-06-15T12:00:01Z");
        assert_due("14:00:00", "2026-06-16T12:00:00Z");
        assert_due("13:59:59", "2026-06-16T11:59:59Z");
        assert_due("00:00:00Z", "2026-06-16T00:00:00Z");
        // In Berlin the next day has begun.
        let now = at("2026-06-15T22:30:00Z");
        let night = due("00:15:00", now, &berlin()).unwrap().unwrap();
        assert_eq!(night, at("2026-06-16T22:15:00Z"));
    }

    #[test]
    fn a_date_that_has_passed_schedules_nothing() {
        for line in [
            "2026-06-15 14:00:00",
            "26-06-15 13:59:59",
            "2026-06-15 12:00:00Z",
            "1999-12-31 23:59:59",
        ] {
            assert_eq!(due_at_noon(line), Ok(None), "{line}");
        }
        assert_due("2026-06-15 14:00:01", "2026-06-15T12:00:01Z");
    }

    #[test]
    fn a_time_that_the_clocks_skip_is_moved_and_of_a_double_one_the_first_counts() {
        let now = at("2026-01-01T00:00:00Z");
        let due = |line: &str| due(line, now, &berlin()).unwrap().unwrap();
        assert_eq!(due("2026-03-29 02:30:00"), at("2026-03-29T01:30:00Z"));
        assert_eq!(due("2026-10-25 02:30:00"), at("2026-10-25T00:30:00Z"));
    }

    #[test]
    fn any_other_form_is_refused() {
        for line in [
            "",
            "Z",
            "noon",
            "12:00",
            "9:00:00",
            "24:00:00",
            "12:60:00",
            "12:00:60",
            "+9:00:00",
            " 12:00:00",
            "12:00:00 ",
            "12:00:00z",
            "12:00:00ZZ",
            "12:00:00 Z",
            "12:00:00.5",
            "12:00:00\r",
            "2026-06-16T12:00:00",
            "2026-06-16  12:00:00",
            "2026-06-16\t12:00:00",
            "2026-6-16 12:00:00",
            "2026-02-29 12:00:00",
            "2026-13-01 12:00:00",
            "126-06-16 12:00:00",
            "2026-06-16",
            "06-16 12:00:00",
        ] {
            assert_eq!(due_at_noon(line), Err(NotATime), "{line:?}");
        }
    }
}
