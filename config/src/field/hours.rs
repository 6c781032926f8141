//! Weekly hours: `mon-fri 07:00-20:00 Europe/Paris`.
//!
//! In: their text, or a moment. Out: the hours, whether a moment is inside, when that changes next.
//! Windows that pass midnight belong to the day on which they begin; across changes of the clock the written times hold:
//! a window ends when the clock on the wall comes to its end or passes over it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::model::{Day, Hours, Rule};
use crate::problem::Fault;
use crate::section::Text;
use crate::suggest::{did_you_mean, one_of};

impl Rule {
    /// Whether the rule holds at a moment, by its `hours` and `until`.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> bool {
        let ended = self.end().is_some_and(|end| now >= end);
        let open = self.hours.as_ref().is_none_or(|hours| hours.contain(now));
        !ended && open
    }

    /// The next moment after `now` at which [`Self::holds_at`] changes its answer; `None` if it never does.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let holds = self.holds_at(now);
        let mut edges: Vec<Timestamp> = self
            .hours
            .iter()
            .flat_map(|hours| hours.windows(now, LOOK_AHEAD))
            .flat_map(|(from, to)| [from, to])
            .chain(self.end())
            .filter(|edge| *edge > now)
            .collect();
        edges.sort_unstable();
        edges.into_iter().find(|edge| self.holds_at(*edge) != holds)
    }

    /// The first moment after `until`.
    fn end(&self) -> Option<Timestamp> {
        let after = self.until?.tomorrow().ok()?;
        let zone = self.hours.as_ref().map(|hours| hours.zone.clone());
        instant(&zone.unwrap_or(TimeZone::UTC), after, Time::midnight())
    }
}

impl Hours {
    /// Whether a moment is inside of a window.
    #[must_use]
    pub fn contain(&self, now: Timestamp) -> bool {
        self.windows(now, 1)
            .any(|(from, to)| from <= now && now < to)
    }

    /// The windows that begin from the day before `now` until some days later.
    fn windows(&self, now: Timestamp, days: i32) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let today = self.zone.to_datetime(now).date();
        (-1..=days).filter_map(move |offset| {
            let begin = today.checked_add(jiff::Span::new().days(offset)).ok()?;
            if !self.days.contains(&Day::from(begin.weekday())) {
                return None;
            }
            let end = if self.to <= self.from {
                begin.tomorrow().ok()?
            } else {
                begin
            };
            Some((
                instant(&self.zone, begin, self.from)?,
                instant(&self.zone, end, self.to)?,
            ))
        })
    }

    /// Whether a moment can be inside of both; also true when it is too hard to tell.
    pub(crate) fn may_overlap(&self, other: &Self) -> bool {
        if self.zone != other.zone {
            return true;
        }
        let theirs = other.week();
        self.week().iter().any(|&(from, to)| {
            theirs.iter().any(|&(begin, end)| {
                // Windows of Sunday night reach into the next week.
                [-WEEK, 0, WEEK].iter().any(|shift| {
                    from < end.saturating_add(*shift) && begin.saturating_add(*shift) < to
                })
            })
        })
    }

    /// The windows in minutes of the week.
    fn week(&self) -> Vec<(i32, i32)> {
        let minutes = |time: Time| {
            i32::from(time.hour())
                .saturating_mul(60)
                .saturating_add(i32::from(time.minute()))
        };
        let length = minutes(self.to).saturating_sub(minutes(self.from));
        let length = if length <= 0 {
            length.saturating_add(DAY)
        } else {
            length
        };
        let begins = (0i32..)
            .zip(DAYS)
            .filter(|(_, (_, day))| self.days.contains(day));
        begins
            .map(|(number, _)| {
                let from = number
                    .saturating_mul(DAY)
                    .saturating_add(minutes(self.from));
                (from, from.saturating_add(length))
            })
            .collect()
    }
}

impl Text for Hours {
    const WHAT: &'static str = "weekly hours like \"mon-fri 07:00-20:00 Europe/Paris\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let (days, times, zone) = match parts.as_slice() {
            [days, times, zone] => (days, times, zone),
            [_, _] => {
                return Err(Fault::new("the time zone is missing").help(format!(
                    "write it at the end, such as `{text} Europe/Paris`"
                )));
            }
            _ => return Err(Fault::new(format!("not {}", Self::WHAT))),
        };
        let (from, to) = times.split_once('-').ok_or_else(bad_times)?;
        let (from, to) = (time(from)?, time(to)?);
        let from = from.ok_or_else(|| Fault::new("a window cannot begin at 24:00"))?;
        if to == Some(from) {
            return Err(Fault::new("the window is empty").help("a whole day is `00:00-24:00`"));
        }
        Ok(Self {
            text: text.to_owned(),
            days: days_of(days)?,
            from,
            to: to.unwrap_or(Time::midnight()),
            zone: zone_of(zone)?,
        })
    }
}

impl From<Weekday> for Day {
    fn from(weekday: Weekday) -> Self {
        match weekday {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

/// `mon-fri`, `mon,wed`, `sat-mon`.
fn days_of(text: &str) -> Result<BTreeSet<Day>, Fault> {
    let number = |name: &str| {
        DAYS.iter()
            .position(|(word, _)| *word == name)
            .ok_or_else(|| {
                let words = || DAYS.iter().map(|(word, _)| *word);
                Fault::new("unknown day")
                    .help(one_of(words()))
                    .maybe(did_you_mean(name, words()))
            })
    };
    let mut days = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        let length = if first <= last {
            last.saturating_sub(first)
        } else {
            last.saturating_add(7).saturating_sub(first)
        };
        let week = DAYS.iter().cycle().skip(first);
        days.extend(week.take(length.saturating_add(1)).map(|(_, day)| *day));
    }
    Ok(days)
}

/// `07:00`; `24:00` is `None`.
fn time(text: &str) -> Result<Option<Time>, Fault> {
    let (hour, minute) = text.split_once(':').ok_or_else(bad_times)?;
    let two = |part: &str| -> Result<i8, Fault> {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        digits
            .then(|| part.parse().ok())
            .flatten()
            .ok_or_else(bad_times)
    };
    match (two(hour)?, two(minute)?) {
        (24, 0) => Ok(None),
        (hour, minute) => Time::new(hour, minute, 0, 0)
            .map(Some)
            .map_err(|_| bad_times()),
    }
}

fn bad_times() -> Fault {
    Fault::new("not two times like \"07:00-20:00\"")
        .help("from 00:00 to 24:00, with two digits each")
}

pub(crate) fn zone_of(name: &str) -> Result<TimeZone, Fault> {
    if let Ok(zone) = TimeZone::get(name) {
        return Ok(zone);
    }
    let known: Vec<String> = jiff::tz::db()
        .available()
        .map(|name| name.as_str().to_owned())
        .collect();
    let near = did_you_mean(name, known.iter().map(String::as_str));
    Err(Fault::new("unknown time zone")
        .help("a name of the IANA database, such as `Europe/Paris` or `UTC`")
        .maybe(near))
}

/// When a clock on the wall of a zone comes to a time, or passes over it because it is put forward;
/// the first time if it is put back and comes to it twice.
fn instant(zone: &TimeZone, date: Date, time: Time) -> Option<Timestamp> {
    let found = zone.to_ambiguous_zoned(date.to_datetime(time));
    if let AmbiguousOffset::Gap { .. } = found.offset() {
        let before = found.earlier().ok()?.timestamp();
        return zone.following(before).next().map(|put| put.timestamp());
    }
    found.earlier().ok().map(|zoned| zoned.timestamp())
}

/// Days to look ahead for a change: a week, and another in case a clock change swallows a window.
const LOOK_AHEAD: i32 = 15;
const DAY: i32 = 24 * 60;
const WEEK: i32 = 7 * DAY;
const DAYS: [(&str, Day); 7] = [
    ("mon", Day::Mon),
    ("tue", Day::Tue),
    ("wed", Day::Wed),
    ("thu", Day::Thu),
    ("fri", Day::Fri),
    ("sat", Day::Sat),
    ("sun", Day::Sun),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Direction, Limit, Origin, Priority};

    fn rule_of(hours: Option<&str>, until: Option<&str>) -> Rule {
        Rule {
            origin: Origin {
                file: "x".into(),
                line: 1,
            },
            direction: Direction::FromDevices,
            parties: BTreeSet::new(),
            services: BTreeSet::new(),
            hl7: None,
            dicom: None,
            limit: Limit::default(),
            priority: Priority::Normal,
            profile: None,
            release: None,
            shadow: false,
            hours: hours.map(|text| Hours::parse(text).unwrap()),
            until: until.map(|date| date.parse().unwrap()),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// 2026-11-23 is a Monday; Paris is at +01 then.
    #[test]
    fn holds_in_its_hours_only() {
        let office = rule_of(Some("mon-fri 07:00-20:00 Europe/Paris"), None);
        let night = rule_of(Some("mon,wed 22:00-06:00 UTC"), None);
        let always = rule_of(None, None);
        for (rule, moment, holds, next) in [
            (
                &office,
                "2026-11-23T05:59:59Z",
                false,
                Some("2026-11-23T06:00:00Z"),
            ),
            (
                &office,
                "2026-11-23T06:00:00Z",
                true,
                Some("2026-11-23T19:00:00Z"),
            ),
            (
                &office,
                "2026-11-23T19:00:00Z",
                false,
                Some("2026-11-24T06:00:00Z"),
            ),
            (
                &office,
                "2026-11-27T19:00:00Z",
                false,
                Some("2026-11-30T06:00:00Z"),
            ),
            (
                &night,
                "2026-11-23T21:59:59Z",
                false,
                Some("2026-11-23T22:00:00Z"),
            ),
            (
                &night,
                "2026-11-24T05:00:00Z",
                true,
                Some("2026-11-24T06:00:00Z"),
            ),
            (
                &night,
                "2026-11-24T22:00:00Z",
                false,
                Some("2026-11-25T22:00:00Z"),
            ),
            (&always, "2026-11-24T22:00:00Z", true, None),
        ] {
            assert_eq!(rule.holds_at(at(moment)), holds, "{moment}");
            assert_eq!(rule.next_change(at(moment)), next.map(at), "{moment}");
        }
    }

    #[test]
    fn ends_with_its_last_day() {
        let utc = rule_of(None, Some("2027-03-31"));
        let paris = rule_of(Some("mon-sun 00:00-24:00 Europe/Paris"), Some("2027-03-31"));
        let end = at("2027-04-01T00:00:00Z");
        assert!(utc.holds_at(at("2027-03-31T23:59:59Z")));
        assert_eq!(utc.next_change(at("2026-01-01T00:00:00Z")), Some(end));
        assert!(!utc.holds_at(end));
        assert_eq!(utc.next_change(end), None);
        let end = at("2027-03-31T22:00:00Z");
        assert!(paris.holds_at(at("2027-03-31T21:59:59Z")) && !paris.holds_at(end));
        assert_eq!(paris.next_change(at("2027-03-01T00:00:00Z")), Some(end));
    }

    #[test]
    fn written_times_hold_when_clocks_change() {
        // Paris leaves summer time on 2026-10-25 and enters it on 2027-03-28.
        let rule = rule_of(Some("mon-sun 07:00-20:00 Europe/Paris"), None);
        for (before, after) in [
            ("2026-10-24T05:00:00Z", "2026-10-26T06:00:00Z"),
            ("2027-03-27T06:00:00Z", "2027-03-29T05:00:00Z"),
        ] {
            for moment in [before, after] {
                let second = jiff::SignedDuration::from_secs(1);
                assert!(rule.holds_at(at(moment)), "{moment}");
                assert!(!rule.holds_at(at(moment) - second), "{moment}");
            }
        }
    }

    /// The windows that are open from a moment until another, as begin and end.
    fn windows_of(text: &str, from: &str, to: &str) -> Vec<(String, String)> {
        let rule = rule_of(Some(text), None);
        let (mut now, to) = (at(from), at(to));
        assert!(!rule.holds_at(now), "{text} is open at the beginning");
        let mut edges = Vec::new();
        while let Some(next) = rule.next_change(now).filter(|next| *next < to) {
            let before = next - jiff::SignedDuration::from_nanos(1);
            assert_ne!(rule.holds_at(before), rule.holds_at(next), "{text} {next}");
            edges.push(next.to_string());
            now = next;
        }
        assert_eq!(edges.len() % 2, 0, "{text}: {edges:?}");
        let (pairs, _) = edges.as_chunks::<2>();
        (pairs.iter())
            .map(|[begin, end]| (begin.clone(), end.clone()))
            .collect()
    }

    /// The hour that is passed over: 02:00 to 03:00 in Paris on 2027-03-28, which is 01:00 UTC.
    #[test]
    fn a_window_begins_and_ends_as_the_clock_passes_over_its_times() {
        let day = |hours: &str| {
            let text = format!("sun {hours} Europe/Paris");
            windows_of(&text, "2027-03-27T20:00:00Z", "2027-03-29T00:00:00Z")
        };
        let one = |from: &str, to: &str| {
            let at = |time: &str| format!("2027-03-28T{time}:00Z");
            vec![(at(from), at(to))]
        };
        assert_eq!(day("01:00-02:30"), one("00:00", "01:00"));
        assert_eq!(day("02:30-04:00"), one("01:00", "02:00"));
        assert_eq!(day("01:00-04:00"), one("00:00", "02:00"));
        assert_eq!(day("01:00-02:00"), one("00:00", "01:00"));
        assert_eq!(day("03:00-04:00"), one("01:00", "02:00"));
        // The clock never shows any of these.
        assert_eq!(day("02:15-02:45"), []);
        assert_eq!(day("02:00-03:00"), []);
        let night = windows_of(
            "sat 22:00-02:30 Europe/Paris",
            "2027-03-27T20:00:00Z",
            "2027-03-29T00:00:00Z",
        );
        let (begin, end) = ("2027-03-27T21:00:00Z", "2027-03-28T01:00:00Z");
        assert_eq!(night, [(begin.to_owned(), end.to_owned())]);
    }

    /// The hour that comes twice: 02:00 to 03:00 in Paris on 2026-10-25, from 00:00 and from 01:00 UTC.
    #[test]
    fn a_window_has_one_begin_and_one_end_where_its_times_come_twice() {
        let day = |hours: &str| {
            let text = format!("sun {hours} Europe/Paris");
            windows_of(&text, "2026-10-24T19:00:00Z", "2026-10-26T00:00:00Z")
        };
        let one = |from: &str, to: &str| {
            let at = |time: &str| format!("2026-10-25T{time}:00Z");
            vec![(at(from), at(to))]
        };
        assert_eq!(day("02:15-02:45"), one("00:15", "00:45"));
        assert_eq!(day("02:00-03:00"), one("00:00", "02:00"));
        assert_eq!(
            day("01:00-02:30"),
            [(
                "2026-10-24T23:00:00Z".to_owned(),
                "2026-10-25T00:30:00Z".to_owned()
            )]
        );
        assert_eq!(day("02:30-04:00"), one("00:30", "03:00"));
        assert_eq!(day("03:00-04:00"), one("02:00", "03:00"));
    }

    /// Cairo goes from 00:00 to 01:00 on 2027-04-30, and back from 24:00 to 23:00 on 2027-10-28.
    #[test]
    fn a_clock_that_changes_at_midnight_opens_nothing_twice_and_forgets_no_day() {
        let spring = |text: &str| windows_of(text, "2027-04-29T12:00:00Z", "2027-05-01T12:00:00Z");
        let autumn = |text: &str| windows_of(text, "2027-10-28T12:00:00Z", "2027-10-30T12:00:00Z");
        let one = |from: &str, to: &str| vec![(format!("{from}:00Z"), format!("{to}:00Z"))];
        let expected = one("2027-04-29T22:00", "2027-04-30T21:00");
        assert_eq!(spring("fri 00:00-24:00 Africa/Cairo"), expected);
        let expected = one("2027-04-29T20:00", "2027-04-29T22:00");
        assert_eq!(spring("thu 22:00-24:00 Africa/Cairo"), expected);
        assert_eq!(spring("thu 22:00-00:30 Africa/Cairo"), expected);
        let expected = one("2027-04-29T20:00", "2027-04-29T23:00");
        assert_eq!(spring("thu 22:00-02:00 Africa/Cairo"), expected);
        let expected = one("2027-10-28T20:30", "2027-10-28T23:00");
        assert_eq!(autumn("thu 23:30-01:00 Africa/Cairo"), expected);
        let expected = one("2027-10-28T19:00", "2027-10-28T22:00");
        assert_eq!(autumn("thu 22:00-24:00 Africa/Cairo"), expected);
        let expected = one("2027-10-28T22:00", "2027-10-29T22:00");
        assert_eq!(autumn("fri 00:00-24:00 Africa/Cairo"), expected);
    }

    #[test]
    fn the_last_day_ends_where_the_next_begins_also_without_midnight() {
        let rule = rule_of(Some("mon-sun 00:00-24:00 Africa/Cairo"), Some("2027-04-29"));
        let end = at("2027-04-29T22:00:00Z");
        assert!(!rule.holds_at(end) && rule.holds_at(end - jiff::SignedDuration::from_nanos(1)));
    }

    #[test]
    fn tells_whether_windows_meet() {
        let hours = |text: &str| Hours::parse(text).unwrap();
        for (one, other, meet) in [
            ("mon-fri 07:00-20:00 UTC", "mon-fri 20:00-07:00 UTC", false),
            ("mon-fri 07:00-20:00 UTC", "mon-fri 19:59-07:00 UTC", true),
            ("mon 00:00-06:00 UTC", "sun 22:00-02:00 UTC", true),
            ("mon 02:00-06:00 UTC", "sun 22:00-02:00 UTC", false),
            ("sat,sun 00:00-24:00 UTC", "mon-fri 00:00-24:00 UTC", false),
            ("mon 07:00-08:00 UTC", "tue 07:00-08:00 Europe/Paris", true),
        ] {
            let (one, other) = (hours(one), hours(other));
            assert_eq!(one.may_overlap(&other), meet, "{one:?} {other:?}");
            assert_eq!(other.may_overlap(&one), meet, "{other:?} {one:?}");
        }
    }

    #[test]
    fn reads_days() {
        use Day::{Fri, Mon, Sat, Sun, Wed};
        for (text, days) in [
            ("mon,wed", vec![Mon, Wed]),
            ("fri-mon", vec![Mon, Fri, Sat, Sun]),
            ("sat-sun", vec![Sat, Sun]),
        ] {
            assert_eq!(days_of(text), Ok(BTreeSet::from_iter(days)), "{text}");
        }
        assert_eq!(days_of("mon-sun").map(|days| days.len()), Ok(7));
        for bad in ["", "mon-", "Mon", "mon,,tue", "monday"] {
            assert!(days_of(bad).is_err(), "{bad}");
        }
        for bad in [
            "25:00-26:00",
            "24:00-08:00",
            "7:00-8:00",
            "07:00",
            "07:60-08:00",
            "+7:00-08:00",
        ] {
            assert!(Hours::parse(&format!("mon {bad} UTC")).is_err(), "{bad}");
        }
    }
}
