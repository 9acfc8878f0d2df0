//! Texts that come from outside. Invariant: what leaves here can always be stored, so that recording a
//! failure cannot itself fail.

/// Removes what PostgreSQL refuses (NUL) or a terminal obeys (control characters other than newline and
/// tab), and cuts to `max_chars` characters, the last of them `…` if something was cut.
pub fn clean(text: &str, max_chars: usize) -> String {
    let mut kept = text
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    let mut cleaned: String = kept.by_ref().take(max_chars).collect();
    if kept.next().is_some() && cleaned.pop().is_some() {
        cleaned.push('…');
    }
    cleaned
}

/// A step's key from its name: lower-case letters and digits, anything else one `-`; at most 100
/// characters; `step` if nothing is left. The caller makes it unique.
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() == 100 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "step" } else { slug }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_go_and_the_rest_stays() {
        let check = |text: &str, want: &str| assert_eq!(clean(text, 21), want, "{text:?}");
        check("plain", "plain");
        check("a\0b", "ab");
        check("\u{1b}[31mred\u{1b}[0m\r\n\tok", "[31mred[0m\n\tok");
        check(r"six \u0000 characters", r"six \u0000 characters");
        check("\u{85}\u{9f}ü", "ü");
        check("", "");
        assert_eq!(clean("abc", 0), "");
        assert_eq!(clean("abc", 3), "abc");
        assert_eq!(clean("abcd", 3), "ab…");
        assert_eq!(clean(&"é".repeat(1 << 20), 10_000).chars().count(), 10_000);
    }

    #[test]
    fn slugs_are_short_lower_case_words() {
        let check = |name: &str, want: &str| assert_eq!(slug(name), want, "{name:?}");
        check("Manager Approval", "manager-approval");
        check("  --Re-check (2nd) !", "re-check-2nd");
        check("审批", "step");
        check("", "step");
        check(&"a b".repeat(100), &"a-b".repeat(34)[..100]);
    }
}
