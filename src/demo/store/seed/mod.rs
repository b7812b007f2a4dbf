//! The sample data: an invented clinic, its staff and two dozen invented patients with two to three years of coherent
//! history (a person with diabetes has `HbA1c` results and metformin). It takes nothing, gives FHIR R4 resources as
//! JSON, and promises the same bytes on every start: dates hang on the constant [`TODAY`], variation comes from
//! arithmetic on the ids. It stores and serves nothing.

mod chart;
mod clinic;
mod json;
mod people;
mod terms;

use jiff::civil::{Date, date};
use serde_json::Value;

/// The day on which the sample data stands still.
pub const TODAY: Date = date(2026, 11, 16);

/// Every resource of the sample store, referenced ones before those that refer to them.
#[must_use]
pub fn resources() -> Vec<Value> {
    let mut all = clinic::resources();
    for (position, person) in (0..).zip(people::PEOPLE) {
        chart::write(person, position, &mut all);
    }
    all
}

/// Repeatable variation: `SplitMix64` started from the FNV-1a hash of a text.
#[derive(Debug)]
struct Variation(u64);

impl Variation {
    fn of(text: &str) -> Self {
        Self(
            text.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound` - 1; 0 when `bound` is 0.
    fn below(&mut self, bound: u32) -> i32 {
        let number = self.next().checked_rem(u64::from(bound)).unwrap_or(0);
        i32::try_from(number).unwrap_or(0)
    }

    /// A number from -`spread` to `spread`.
    fn around(&mut self, spread: i32) -> i32 {
        self.below(spread.unsigned_abs().saturating_mul(2).saturating_add(1)) - spread
    }
}
