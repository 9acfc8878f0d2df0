//! The operators' words. Invariant: an operator is a test or its negation, so that what a missing field
//! satisfies follows from the word alone.

/// What is tested; false for a missing field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Equals,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
    Contains,
    StartsWith,
    EndsWith,
    In,
    Exists,
    IsNull,
    IsEmpty,
    Matches,
    Before,
    After,
}

pub(super) struct Operator {
    pub(super) word: &'static str,
    pub(super) test: Test,
    pub(super) negated: bool,
}

const fn plain(word: &'static str, test: Test) -> Operator {
    Operator {
        word,
        test,
        negated: false,
    }
}

const fn negated(word: &'static str, test: Test) -> Operator {
    Operator {
        word,
        test,
        negated: true,
    }
}

pub(super) const OPERATORS: &[Operator] = &[
    plain("equals", Test::Equals),
    negated("notEquals", Test::Equals),
    plain("greaterThan", Test::GreaterThan),
    plain("greaterThanOrEqual", Test::GreaterThanOrEqual),
    plain("lessThan", Test::LessThan),
    plain("lessThanOrEqual", Test::LessThanOrEqual),
    plain("contains", Test::Contains),
    negated("notContains", Test::Contains),
    plain("startsWith", Test::StartsWith),
    plain("endsWith", Test::EndsWith),
    plain("in", Test::In),
    negated("notIn", Test::In),
    plain("exists", Test::Exists),
    negated("notExists", Test::Exists),
    plain("isNull", Test::IsNull),
    plain("isEmpty", Test::IsEmpty),
    plain("matches", Test::Matches),
    plain("before", Test::Before),
    plain("after", Test::After),
];

/// What people write who come from elsewhere.
const ALIASES: &[(&[&str], &str)] = &[
    (&["=", "==", "===", "eq", "is"], "equals"),
    (&["!=", "!==", "<>", "ne", "neq"], "notEquals"),
    (&[">", "gt"], "greaterThan"),
    (&[">=", "gte", "ge"], "greaterThanOrEqual"),
    (&["<", "lt"], "lessThan"),
    (&["<=", "lte", "le"], "lessThanOrEqual"),
    (&["regex", "=~"], "matches"),
];

/// The operator of a word, or a message that says which one was probably meant.
pub(super) fn find(word: &str) -> Result<&'static Operator, String> {
    if let Some(operator) = OPERATORS.iter().find(|operator| operator.word == word) {
        return Ok(operator);
    }
    let alias = ALIASES.iter().find(|(aliases, _)| aliases.contains(&word));
    let words = OPERATORS.iter().map(|operator| operator.word);
    let hint = match alias {
        Some((_, meant)) => format!(" Did you mean `{meant}`?"),
        None => crate::problem::did_you_mean(word, words.clone()),
    };
    let words: Vec<&str> = words.collect();
    Err(format!(
        "there is no operator `{}`.{hint} Operators: {}",
        crate::text::clean(word, 50),
        words.join(", ")
    ))
}
