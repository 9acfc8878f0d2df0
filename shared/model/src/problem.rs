//! What is wrong with a definition. Invariant: a code, once published, keeps its meaning; clients match
//! on it.

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Hinders publishing.
    Error,
    /// Worth a look.
    Warning,
}

/// One thing that is wrong, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// For instance `steps["Manager Approval"].config.timeout`.
    pub path: String,
    /// Stable UPPER_SNAKE word.
    pub code: &'static str,
    pub message: String,
}

impl Problem {
    pub fn error(path: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            path: path.into(),
            code,
            message: message.into(),
        }
    }

    pub fn warning(
        path: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(path, code, message)
        }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Appends ` Did you mean …?` if a known word is close to what was written.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    // Anything longer is no slip of the pen, and the comparison is quadratic.
    const LONGEST: usize = 100;
    if word.len() > LONGEST {
        return String::new();
    }
    let folded = word.to_lowercase().replace(['_', '-', ' '], "");
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| {
            let plain = candidate.to_lowercase().replace(['_', '-', ' '], "");
            (
                strsim::normalized_damerau_levenshtein(&folded, &plain),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!(" Did you mean `{candidate}`?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn close_words_are_suggested_and_far_ones_are_not() {
        let known = ["timeout", "approverRole", "assignees"];
        assert_eq!(did_you_mean("time_out", known), " Did you mean `timeout`?");
        assert_eq!(
            did_you_mean("aproverRole", known),
            " Did you mean `approverRole`?"
        );
        assert_eq!(did_you_mean("colour", known), "");
        assert_eq!(did_you_mean(&"a".repeat(5000), known), "");
    }
}
