// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Numbers in texts, as Java reads them. Called by `value` for properties and by `parser` for literals.
//! COMPAT: Java also reads digits of other scripts and numbers with a fraction in hexadecimal; here they are no numbers.

/// Reads what `Integer.valueOf` reads.
pub(super) fn int(text: &str) -> Option<i32> {
    text.parse().ok()
}

/// Reads what `Long.valueOf` reads.
pub(super) fn long(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Reads what `Double.valueOf` reads: blanks around it and a letter for its size do not count.
pub(super) fn double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c| c <= ' ');
    let (sign, size) = match text.strip_prefix('-') {
        Some(size) => (-1.0, size),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    match size {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(sign * f64::INFINITY),
        _ => {}
    }
    let size = size.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(size);
    // Rust reads the same forms and a few words, which have letters.
    let is_number = size.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && size.starts_with(|c: char| c == '.' || c.is_ascii_digit());
    is_number.then(|| size.parse::<f64>().ok()).flatten().map(|size| sign * size)
}

/// Reads what `Boolean.valueOf` reads; whatever is not true is false.
pub(super) fn boolean(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}
