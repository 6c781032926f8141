//! Does the same to many things on a few threads, and hands the results on in the order of the things.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::super::CliError;

/// `work` is done on at most `threads` threads, `take` is called on this one. The first error of `take` ends it all.
pub(super) fn in_order<I: Sync, O: Send>(
    items: &[I],
    threads: usize,
    work: impl Fn(&I) -> O + Sync,
    mut take: impl FnMut(&I, O) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let threads = threads.min(items.len());
    if threads < 2 {
        return items.iter().try_for_each(|item| take(item, work(item)));
    }
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::sync_channel(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            thread::Builder::new().spawn_scoped(scope, move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else {
                        return;
                    };
                    // Nobody listens any more when `take` failed.
                    if sender.send((index, work(item))).is_err() {
                        return;
                    }
                }
            })?;
        }
        drop(sender);
        // A result waits here for those before it.
        let mut waiting = BTreeMap::new();
        let mut due = items.iter().enumerate();
        let mut awaited = due.next();
        for (index, result) in receiver {
            waiting.insert(index, result);
            while let Some((index, item)) = awaited
                && let Some(result) = waiting.remove(&index)
            {
                take(item, result)?;
                awaited = due.next();
            }
        }
        Ok(())
    })
}

/// As many threads as there are cores, but few enough that their files fit into memory together.
pub(super) fn cores() -> usize {
    let cores = thread::available_parallelism();
    cores.map_or_else(|_: io::Error| 1, usize::from).min(MOST)
}

const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::super::Exit;
    use super::*;

    #[test]
    fn results_come_in_order_and_an_error_ends_it() {
        let items: Vec<u64> = (0..1000).collect();
        for threads in [1, 2, 7, 5000] {
            let mut seen = Vec::new();
            let slow_at_the_start = |item: &u64| {
                let turns = if *item < 10 { 10_000 } else { 1 };
                (0..turns).fold(*item, |sum, turn| std::hint::black_box(sum + turn - turn))
            };
            in_order(&items, threads, slow_at_the_start, |item, result| {
                assert_eq!(*item, result);
                seen.push(result);
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, items);
            let mut taken = 0;
            let ended = in_order(&items, threads, u64::clone, |item, _| {
                taken += 1;
                match item {
                    5 => Err(CliError::new(Exit::Failure, "enough")),
                    _ => Ok(()),
                }
            });
            assert!(ended.is_err() && taken == 6);
        }
        assert!(in_order(&[], 4, |(): &()| (), |(), ()| Ok(())).is_ok());
    }
}
