//! Texts that come from outside. Invariant: what leaves here can always be stored, so that recording a
//! failure cannot itself fail. Names obey a rule of their own, so that no two of them look the same and are
//! not: `name_fault` is its one home.

use unicode_normalization::is_nfc;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

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

/// What is wrong with a text as a name: names that differ differ to the eye, by case if by nothing else.
/// Length is the caller's to check.
pub fn name_fault(name: &str) -> Option<String> {
    if let Some(hidden) = name.chars().find(|c| is_hidden(*c)) {
        let code = u32::from(hidden);
        return Some(format!("holds U+{code:04X}, which cannot be seen"));
    }
    if name.starts_with(' ') || name.ends_with(' ') || name.contains("  ") {
        return Some("has a space at an end, or two in a row".to_owned());
    }
    (!is_nfc(name)).then(|| {
        "is not in Unicode's normalization form C: its accents are written as extra characters"
            .to_owned()
    })
}

/// Whether a character takes no room, or none that is its own, or the room of a space without being one.
fn is_hidden(c: char) -> bool {
    use GeneralCategory as Is;
    let blank = matches!(
        c.general_category(),
        Is::Control | Is::Format | Is::SpaceSeparator | Is::LineSeparator | Is::ParagraphSeparator
    );
    // Unicode's Default_Ignorable_Code_Point, as far as it is not Format; and a Braille cell without dots.
    let ignorable = matches!(
        u32::from(c),
        0x034F | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x2065 | 0x2800 | 0x3164
            | 0xFE00..=0xFE0F | 0xFFA0 | 0xFFF0..=0xFFF8 | 0xE0000..=0xE0FFF
    );
    c != ' ' && (blank || ignorable)
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
    fn names_that_differ_differ_to_the_eye() {
        for good in [
            "Acme",
            "acme",
            "ACME GmbH & Co. KG",
            "Müller",
            "株式会社",
            "شركة",
            "चाय",
            "Ο Οδυσσέας",
            "審批 ✓ 😀",
            "O'Neill — \"Sons\"; drop table",
        ] {
            assert_eq!(name_fault(good), None, "{good:?}");
        }
        for (bad, why) in [
            ("Acme\u{200b}", "U+200B"),
            ("\u{feff}Acme", "U+FEFF"),
            ("Ac\u{ad}me", "U+00AD"),
            ("Ac\u{200d}me", "U+200D"),
            ("\u{202e}emcA", "U+202E"),
            ("\u{2066}Acme\u{2069}", "U+2066"),
            ("Acme\u{fe0f}", "U+FE0F"),
            ("Acme\u{e0041}", "U+E0041"),
            ("Acme\u{e0100}", "U+E0100"),
            ("Acme\u{34f}", "U+034F"),
            ("\u{3164}", "U+3164"),
            ("\u{2800}", "U+2800"),
            ("Acme\u{a0}GmbH", "U+00A0"),
            ("Acme\u{3000}GmbH", "U+3000"),
            ("Acme\u{2028}GmbH", "U+2028"),
            ("Acme\nGmbH", "U+000A"),
            ("Acme\tGmbH", "U+0009"),
            ("Acme\0", "U+0000"),
            (" Acme", "space"),
            ("Acme ", "space"),
            ("Acme  GmbH", "space"),
            ("Mu\u{308}ller", "normalization"),
            ("\u{212a}elvin", "normalization"),
        ] {
            let fault = name_fault(bad).expect(bad);
            assert!(fault.contains(why), "{bad:?}: {fault}");
        }
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
