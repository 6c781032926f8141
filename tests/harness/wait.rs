//! Waiting for a condition, with a limit. Scenarios never sleep for a guessed time.

use std::time::{Duration, Instant};

/// What a small machine under load may need for anything that should happen at once.
pub const SOON: Duration = Duration::from_secs(20);

/// Asks until there is an answer.
///
/// # Panics
/// When there is none in time; `what` says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// [`until`] for a condition without a value.
///
/// # Panics
/// When it does not come true in time.
pub fn for_true(what: &str, limit: Duration, mut ask: impl FnMut() -> bool) {
    until(what, limit, || ask().then_some(()));
}

/// How long something took.
pub fn timed<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = action();
    (result, begun.elapsed())
}
