//! The least that the clock may show after a start.
//!
//! A machine without a battery begins in 1970; WireGuard refuses handshakes that are older than the last (TAI64N),
//! and certificates would not be valid yet. In: moments that have passed, by who says so. Out: what the clock must be set to.
//! What the machine noted by its own clock is no proof: a clock that was wrong once would be wrong for ever.

use std::time::{Duration, SystemTime};

/// Moments that have passed.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// By what is signed: the image was built, and its files.
    pub proven: Vec<SystemTime>,
    /// By the servers of time of the configuration, when they were last heard.
    pub synchronised: Option<SystemTime>,
    /// By this machine's own clock, whatever that showed: a start, a record of the journal.
    pub noted: Vec<SystemTime>,
}

/// What to set the clock to; `None` if it may stay as it is.
#[must_use]
pub fn correction(now: SystemTime, passed: &Passed) -> Option<SystemTime> {
    let proven = passed.proven.iter().copied().max()?;
    let sane = |moment: &SystemTime| {
        let since = moment.duration_since(SystemTime::UNIX_EPOCH);
        since.is_ok_and(|since| since < SANE)
    };
    // Before the first answer of a server it is a date of the system's own program, older than the image.
    let heard = passed
        .synchronised
        .filter(|heard| *heard > proven && sane(heard));
    let (known, slack) = heard.map_or((proven, UNHEARD), |heard| (heard, HEARD));
    let bound = known.checked_add(slack)?;
    let noted = passed.noted.iter().copied().filter(|noted| *noted <= bound);
    let floor = noted.chain([known]).max()?;
    (now < floor).then(|| floor.checked_add(STEP).unwrap_or(floor))
}

/// An answer from after the year 2100 was not right.
const SANE: Duration = Duration::from_secs(130 * 31_556_952);
/// How far a note counts ahead of the last answer of a server of time.
const HEARD: Duration = Duration::from_hours(24);
/// How far a note counts ahead of the image, where no server of time was ever heard.
const UNHEARD: Duration = Duration::from_hours(366 * 24);
/// The last known moment has passed for certain.
const STEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: u64 = 1_790_000_000;
    const DAY: u64 = 86_400;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn set(now: u64, heard: Option<u64>, noted: &[u64]) -> Option<SystemTime> {
        let passed = Passed {
            proven: vec![at(BUILT - 5), at(BUILT)],
            synchronised: heard.map(at),
            noted: noted.iter().copied().map(at).collect(),
        };
        correction(at(now), &passed)
    }

    #[test]
    fn the_clock_never_goes_back_before_what_is_known() {
        let last = BUILT + 100 * DAY;
        for (now, heard, noted, expected) in [
            (5, None, &[last][..], Some(last + 1)),
            (5, None, &[], Some(BUILT + 1)),
            (BUILT, None, &[], None),
            (BUILT + 1, None, &[], None),
            (last - 1, None, &[last], Some(last + 1)),
            (5, Some(last), &[], Some(last + 1)),
            (5, Some(last), &[last + DAY], Some(last + DAY + 1)),
            // The date of systemd's own program.
            (5, Some(BUILT - 100 * DAY), &[last], Some(last + 1)),
        ] {
            assert_eq!(set(now, heard, noted), expected.map(at), "{now} {heard:?}");
        }
        assert_eq!(correction(at(5), &Passed::default()), None);
    }

    /// Once it was wrong by decades; it does not stay so.
    #[test]
    fn a_clock_that_was_wrong_once_is_not_believed_again() {
        let (wrong, right) = (BUILT + 20_000 * DAY, BUILT + 30 * DAY);
        assert_eq!(set(right, None, &[wrong]), None);
        assert_eq!(set(5, None, &[wrong, right]), Some(at(right + 1)));
        assert_eq!(set(5, None, &[wrong]), Some(at(BUILT + 1)));
        // Neither by days, where a server of time is heard.
        assert_eq!(set(right, Some(right - 5), &[right + 3 * DAY]), None);
        assert_eq!(set(5, Some(right), &[right + 3 * DAY]), Some(at(right + 1)));
        // The nearest that is believed.
        let (year, day) = (BUILT + 366 * DAY, right + DAY);
        assert_eq!(set(5, None, &[year]), Some(at(year + 1)));
        assert_eq!(set(5, None, &[year + 1]), Some(at(BUILT + 1)));
        assert_eq!(set(5, Some(right), &[day]), Some(at(day + 1)));
        assert_eq!(set(5, Some(right), &[day + 1]), Some(at(right + 1)));
        // An answer from the far future is none.
        assert_eq!(set(5, Some(99_999_999_999), &[]), Some(at(BUILT + 1)));
    }
}
