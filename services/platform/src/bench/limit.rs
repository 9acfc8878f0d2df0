//! A figure beside its limit. Invariant: one that misses its limit says so on its own line, and nothing else
//! comes of it: machines differ.

/// What a figure may be at most.
pub fn at_most(figure: f64, limit: f64, what: &str) -> String {
    line(figure, limit, what, figure <= limit)
}

/// What a figure must be at least.
pub fn at_least(figure: f64, limit: f64, what: &str) -> String {
    line(figure, limit, what, figure >= limit)
}

fn line(figure: f64, limit: f64, what: &str, kept: bool) -> String {
    let missed = if kept { "" } else { " missed" };
    format!("{} {what} (limit {limit}){missed}", short(figure))
}

/// Three digits that mean something.
fn short(figure: f64) -> String {
    match figure.abs() {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        0.1.. => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn miss_is_said() {
        let what = "transactions/execution";
        assert_eq!(
            at_most(0.03, 0.05, what),
            "0.0300 transactions/execution (limit 0.05)"
        );
        assert_eq!(
            at_most(0.06, 0.05, what),
            "0.0600 transactions/execution (limit 0.05) missed"
        );
        let what = "× the rate";
        assert_eq!(
            at_least(0.79, 0.8, what),
            "0.79 × the rate (limit 0.8) missed"
        );
        assert_eq!(at_least(123.4, 0.8, what), "123 × the rate (limit 0.8)");
    }
}
