//! Text made fit to show: safe, and counted as a person counts.

/// The text with everything that a terminal or a page would obey instead of show written out: control characters
/// (with them every escape sequence), and the marks that turn the direction of writing.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' | '\n' => shown.push(' '),
            c if is_obeyed(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// JSON with everything that a terminal would obey written as an escape. JSON's own marks are all ASCII, so what is
/// replaced stands inside a text; its ASCII controls are escaped already.
pub fn printable_json(json: String) -> String {
    if !json.chars().any(|c| c != '\n' && is_obeyed(c)) {
        return json;
    }
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_obeyed(c) {
            shown.push_str(&format!("\\u{:04x}", c as u32));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character acts instead of showing: controls (Unicode category Cc), and the direction marks and isolates
/// of Unicode Standard Annex 9.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// `1 file`, `3 files`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_stays_alive() {
        assert_eq!(printable("a\u{1b}[31mb\r\n\u{9b}c\u{202E}d é 日"), "a\\u{1b}[31mb\\u{d} \\u{9b}c\\u{202e}d é 日");
    }
}
