//! The least that the clock may show after a start.
//!
//! A machine without a battery begins in 1970; WireGuard refuses handshakes that are older than the last (TAI64N),
//! and certificates would not be valid yet. In: moments that have certainly passed. Out: what the clock must be set to.

use std::time::{Duration, SystemTime};

/// What to set the clock to; `None` if it may stay as it is.
#[must_use]
pub fn correction(
    now: SystemTime,
    passed: impl IntoIterator<Item = SystemTime>,
) -> Option<SystemTime> {
    let sane = |moment: &SystemTime| {
        moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .is_ok_and(|since| since < SANE)
    };
    let floor = passed.into_iter().filter(sane).max()?;
    (now < floor).then(|| floor.checked_add(STEP).unwrap_or(floor))
}

/// A file from after the year 2100 was not written by a clock that was right.
const SANE: Duration = Duration::from_secs(130 * 31_556_952);
/// The last known moment has passed for certain.
const STEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_clock_never_goes_back() {
        let (build, last) = (1_790_000_000, 1_795_000_000);
        for (now, passed, set) in [
            (5, vec![build, last], Some(last + 1)),
            (5, vec![build], Some(build + 1)),
            (build, vec![build], None),
            (build + 1, vec![build], None),
            (last - 1, vec![build, last], Some(last + 1)),
            (5, vec![build, 99_999_999_999], Some(build + 1)),
            (5, vec![], None),
        ] {
            let passed: Vec<SystemTime> = passed.into_iter().map(at).collect();
            assert_eq!(correction(at(now), passed), set.map(at), "{now}");
        }
    }
}
