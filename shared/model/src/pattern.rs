//! Regular expressions of definitions. Invariant: every one is compiled when the definition is parsed,
//! and matches in time linear in the text.

use regex::{Regex, RegexBuilder};

/// Compiles an expression of at most 1 KiB; it matches anywhere unless anchored.
pub(crate) fn compile(source: &str) -> Result<Regex, String> {
    const LONGEST: usize = 1024;
    // A short source can ask for much: `(a{1000}){1000}`.
    const COMPILED: usize = 1 << 20;
    if source.len() > LONGEST {
        return Err(format!(
            "a regular expression must not be longer than {LONGEST} bytes"
        ));
    }
    RegexBuilder::new(source)
        .size_limit(COMPILED)
        .dfa_size_limit(COMPILED)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                "the regular expression repeats too much: it must compile to at most 1 MiB"
                    .to_owned()
            }
            error => {
                let last = error.to_string();
                let reason = last.lines().last().unwrap_or_default();
                let reason = reason.trim_start_matches("error: ");
                format!(
                    "malformed regular expression: {}",
                    crate::text::clean(reason, 200)
                )
            }
        })
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn expressions_are_short_cheap_and_well_formed() {
        let check = |source: &str, want: &str| {
            let error = compile(source).expect_err(want);
            assert!(error.contains(want), "{error}");
        };
        check("(", "unclosed group");
        check("(?=a)", "look-around");
        check(r"(a)\1", "backreferences");
        check("((a{100}){100}){100}", "repeats too much");
        check(&"a".repeat(1025), "1024 bytes");
        assert!(compile(r"^[A-Z]{2}-\d+$").unwrap().is_match("AB-12"));
        assert!(compile(&"a".repeat(1024)).is_ok());
    }
}
