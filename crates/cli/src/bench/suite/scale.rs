// SPDX-License-Identifier: Apache-2.0
//! From values to places on an axis. Pure. Invariants: a range is never empty and never infinite, whatever the values are; a
//! place is between 0 and 1 or there is none; ticks lie inside the range and there are few of them.

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// From zero on.
    Linear,
    Log,
}

/// The part of an axis that is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

/// Beyond these no figure of a bench lies, and arithmetic stays exact enough.
const LEAST: f64 = 1e-12;
const MOST: f64 = 1e18;

impl Range {
    /// The range that holds all of these that can be shown.
    pub(super) fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Range {
        let shown = values.filter(|value| is_shown(scale, *value)).map(|value| value.min(MOST));
        let (least, most) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (value.min(least), value.max(most))
        });
        match scale {
            Scale::Linear if most <= 0.0 => Range { scale, low: 0.0, high: 1.0 },
            Scale::Linear => Range { scale, low: 0.0, high: round_up(most.max(LEAST)) },
            Scale::Log if most < least => Range { scale, low: 1.0, high: 10.0 },
            Scale::Log => {
                let low = round_down(least.max(LEAST));
                let high = round_up(most.max(LEAST));
                // One value, or some that are close, stand in a range of half a decade at least.
                let high = if high / low < 4.9 { round_up(low * 5.0) } else { high };
                Range { scale, low, high }
            }
        }
    }

    /// A linear range that ends exactly there.
    pub(super) fn up_to(high: f64) -> Range {
        let high = if high.is_finite() && high > 0.0 { high.min(MOST) } else { 1.0 };
        Range { scale: Scale::Linear, low: 0.0, high }
    }

    /// Where a value lies: 0 at the low end, 1 at the high one.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        if !is_shown(self.scale, value) {
            return None;
        }
        let at = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.clamp(LEAST, MOST) / self.low).ln() / (self.high / self.low).ln(),
        };
        at.is_finite().then(|| at.clamp(0.0, 1.0))
    }

    /// Values to write at the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_up(self.high / 5.0);
                (0..=5)
                    .map(|index| step * f64::from(index))
                    .filter(|tick| *tick <= self.high * 1.000_001)
                    .collect()
            }
            Scale::Log => {
                let decades = (self.high / self.low).log10();
                let first = self.low.log10().floor() as i32;
                let last = self.high.log10().ceil() as i32;
                let every = ((decades / 7.0).ceil() as usize).max(1);
                let factors: &[f64] = if decades <= 3.01 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let decades = (first..=last).step_by(every);
                let all =
                    decades.flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
                all.filter(|tick| *tick >= self.low * 0.999_999 && *tick <= self.high * 1.000_001).collect()
            }
        }
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }
}

fn is_shown(scale: Scale, value: f64) -> bool {
    match scale {
        Scale::Linear => value.is_finite() && value >= 0.0,
        Scale::Log => value.is_finite() && value > 0.0,
    }
}

/// The least of 1, 2, 5, 10, 20, 50, … that is not below.
fn round_up(value: f64) -> f64 {
    let decade = 10f64.powi(value.log10().floor() as i32);
    let factors = [1.0, 2.0, 5.0, 10.0];
    let found = factors.iter().map(|factor| factor * decade).find(|round| *round >= value * 0.999_999);
    found.unwrap_or(10.0 * decade)
}

/// The most of them that is not above.
fn round_down(value: f64) -> f64 {
    let decade = 10f64.powi(value.log10().floor() as i32);
    let factors = [5.0, 2.0, 1.0];
    let found = factors.iter().map(|factor| factor * decade).find(|round| *round <= value * 1.000_001);
    found.unwrap_or(decade)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(scale: Scale, values: &[f64], expected: Expect) {
        let range = Range::over(scale, values.iter().copied());
        let places: Vec<String> = values
            .iter()
            .map(|value| range.place(*value).map_or("-".to_owned(), |place| format!("{place:.3}")))
            .collect();
        let ticks = range.ticks();
        assert!(ticks.len() <= 12 && ticks.iter().all(|tick| tick.is_finite()), "{ticks:?}");
        assert!(ticks.iter().all(|tick| range.place(*tick).is_some()), "{ticks:?}");
        assert!(range.low < range.high && range.high.is_finite());
        let ticks: Vec<String> = ticks.iter().map(|tick| format!("{tick:e}")).collect();
        expected.assert_eq(&format!(
            "{:e}..{:e} at {} ticks {}",
            range.low,
            range.high,
            places.join(" "),
            ticks.join(" ")
        ));
    }

    #[test]
    fn a_linear_axis_begins_at_zero() {
        check(
            Scale::Linear,
            &[],
            expect![["0e0..1e0 at  ticks 0e0 2e-1 4e-1 6.000000000000001e-1 8e-1 1e0"]],
        );
        check(
            Scale::Linear,
            &[0.0, 0.0],
            expect![["0e0..1e0 at 0.000 0.000 ticks 0e0 2e-1 4e-1 6.000000000000001e-1 8e-1 1e0"]],
        );
        check(Scale::Linear, &[42.0], expect![["0e0..5e1 at 0.840 ticks 0e0 1e1 2e1 3e1 4e1 5e1"]]);
        check(
            Scale::Linear,
            &[1.0, f64::NAN, f64::INFINITY, -5.0, 200.0],
            expect![["0e0..2e2 at 0.005 - - - 1.000 ticks 0e0 5e1 1e2 1.5e2 2e2"]],
        );
        check(Scale::Linear, &[f64::MAX], expect![["0e0..1e18 at 1.000 ticks 0e0 2e17 4e17 6e17 8e17 1e18"]]);
        check(
            Scale::Linear,
            &[f64::MIN_POSITIVE],
            expect!["0e0..1e-12 at 0.000 ticks 0e0 2e-13 4e-13 6.000000000000001e-13 8e-13 1e-12"],
        );
    }

    #[test]
    fn a_logarithmic_axis_has_no_zero() {
        check(Scale::Log, &[], expect![["1e0..1e1 at  ticks 1e0 2e0 5e0 1e1"]]);
        check(Scale::Log, &[0.0, -1.0, f64::NAN], expect![["1e0..1e1 at - - - ticks 1e0 2e0 5e0 1e1"]]);
        check(Scale::Log, &[3e6], expect![["2e6..1e7 at 0.252 ticks 2e6 5e6 1e7"]]);
        check(
            Scale::Log,
            &[1e3, 1e6],
            expect![["1e3..1e6 at 0.000 1.000 ticks 1e3 2e3 5e3 1e4 2e4 5e4 1e5 2e5 5e5 1e6"]],
        );
        check(
            Scale::Log,
            &[f64::MIN_POSITIVE, f64::MAX],
            expect![["1e-12..1e18 at 0.000 1.000 ticks 1e-12 1e-7 1e-2 1e3 1e8 1e13 1e18"]],
        );
    }

    #[test]
    fn a_range_can_end_where_it_is_told_to() {
        assert_eq!(Range::up_to(3.5).place(3.5), Some(1.0));
        assert_eq!(Range::up_to(f64::NAN).place(0.5), Some(0.5));
        assert_eq!(Range::up_to(4.0).ticks(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    }
}
