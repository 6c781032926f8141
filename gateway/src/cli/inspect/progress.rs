//! A bar on the standard error while many files are judged.
//!
//! It is there only for people: not with JSON, not where the standard error is no terminal, and never in colour.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar, or nothing.
pub(super) struct Progress {
    bar: ProgressBar,
    is_seen: bool,
}

impl Progress {
    /// A bar for so many files, if anybody wants to see it.
    pub(super) fn new(files: usize, json: bool) -> Self {
        if json || files < MANY {
            return Self {
                bar: ProgressBar::hidden(),
                is_seen: false,
            };
        }
        let length = u64::try_from(files).unwrap_or(u64::MAX);
        // Where the standard error is no terminal this draws nothing.
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        let template = "{pos}/{len} files  [{bar:40}]  {percent}%  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        let is_seen = !bar.is_hidden();
        Self { bar, is_seen }
    }

    /// One more file is done.
    pub(super) fn step(&self) {
        self.bar.inc(1);
    }

    /// Writes something while the bar is away. What waits in a buffer must be out when `write` returns, if this says so.
    pub(super) fn aside<T>(&self, write: impl FnOnce(bool) -> T) -> T {
        if self.is_seen {
            self.bar.suspend(|| write(true))
        } else {
            write(false)
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// From so many files on there is a bar.
const MANY: usize = 20;
