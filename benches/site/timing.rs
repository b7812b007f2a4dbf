//! How long one pass of a stage takes, by itself.

use std::hint::black_box;
use std::time::Instant;

/// Prints the best and the median of many passes, each of which must be `true`.
pub(crate) fn measure(what: &str, mut pass: impl FnMut() -> bool) {
    let mut times: Vec<_> = (0..3_000)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..10 {
                assert!(black_box(pass()), "{what}");
            }
            start.elapsed() / 10
        })
        .collect();
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e6);
    println!("{what:<40} best {:>7.2} µs, median {:>7.2} µs", at(0), at(50));
}
