// SPDX-License-Identifier: Apache-2.0
//! Numbers and foreign text as the report writes them. Pure. Invariants: what is not a finite number becomes a dash, never
//! `NaN` or `inf`; escaped text has no character left that HTML or SVG could take for markup.

/// In place of a number that is not there.
pub(super) const NONE: &str = "–";

/// Text from outside, made harmless as content and as a value of an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            // Other control characters are not allowed in a page at all.
            hidden if hidden.is_control() => out.push('\u{fffd}'),
            plain => out.push(plain),
        }
    }
    out
}

/// A whole number with commas: `812,345`.
pub(super) fn count(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    if value < 0.0 && digits != "0" {
        out.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A length of time in nanoseconds: `850 ns`, `12.3 µs`, `1.23 ms`, `4 s`.
pub(super) fn nanos(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let (unit, size) = match value.abs() {
        size if size < 1e3 => ("ns", 1.0),
        size if size < 1e6 => ("µs", 1e3),
        size if size < 1e9 => ("ms", 1e6),
        _ => ("s", 1e9),
    };
    format!("{} {unit}", short(value / size))
}

/// A number in few characters: `950`, `12.5 k`, `1.2 M`.
pub(super) fn brief(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let (unit, size) = match value.abs() {
        size if size < 1e3 => ("", 1.0),
        size if size < 1e6 => (" k", 1e3),
        size if size < 1e9 => (" M", 1e6),
        _ => (" G", 1e9),
    };
    format!("{}{unit}", short(value / size))
}

/// A share of one as percent: `61 %`, `0.4 %`.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        value if !value.is_finite() => NONE.to_owned(),
        value => format!("{} %", short(value)),
    }
}

/// Three digits or a little more, without zeros at the end.
pub(super) fn short(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let text = match value.abs() {
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => return count(value),
    };
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_has_no_markup_left() {
        let hostile = "</title><script>alert('x')</script>\" onload=\"y&amp;\u{0}\u{1b}[31m\u{85}";
        let safe = escape(hostile);
        assert!(!safe.contains(['<', '>', '"', '\'', '\u{0}', '\u{1b}', '\u{85}']), "{safe}");
        assert_eq!(safe.matches("&amp;").count(), 1);
        assert!(safe.starts_with("&lt;/title&gt;&lt;script&gt;"));
        assert_eq!(escape("Ströme → 12\n"), "Ströme → 12\n");
    }

    #[test]
    fn numbers_are_short_and_never_nan() {
        let cases: [(String, &str); 22] = [
            (count(0.0), "0"),
            (count(999.4), "999"),
            (count(812_345.0), "812,345"),
            (count(-1_000.0), "-1,000"),
            (count(-0.2), "0"),
            (count(f64::NAN), NONE),
            (nanos(850.0), "850 ns"),
            (nanos(12_345.0), "12.3 µs"),
            (nanos(1_234_000.0), "1.23 ms"),
            (nanos(4e9), "4 s"),
            (nanos(f64::INFINITY), NONE),
            (brief(950.0), "950"),
            (brief(12_500.0), "12.5 k"),
            (brief(1_200_000.0), "1.2 M"),
            (brief(f64::NEG_INFINITY), NONE),
            (percent(0.614), "61.4 %"),
            (percent(0.004), "0.4 %"),
            (percent(12.0), "1,200 %"),
            (percent(f64::NAN), NONE),
            (short(-0.001), "0"),
            (short(99.96), "100"),
            (short(9.996), "10"),
        ];
        for (written, expected) in cases {
            assert_eq!(written, expected);
        }
        assert!(!brief(f64::MAX).contains("inf"));
    }
}
