//! Text from outside, made fit to show.

/// The text without what could disturb a terminal or a page (control characters, and the marks
/// that turn the direction of writing), cut at `max` characters.
pub(crate) fn clean(text: &str, max: usize) -> String {
    text.chars().filter(|c| !is_disturbing(*c)).take(max).collect()
}

fn is_disturbing(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_letters_and_drops_what_disturbs() {
        assert_eq!(clean("web-1", 10), "web-1");
        assert_eq!(clean("grüße 日本", 10), "grüße 日本");
        assert_eq!(clean("a\u{1b}[31mb\nc\u{202e}d\0", 20), "a[31mbcd");
        assert_eq!(clean("abcdef", 3), "abc");
    }
}
