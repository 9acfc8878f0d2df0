//! The grammar by example.

use super::*;
use serde_json::json;

const FIELDS: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("status", Kind::Word(&["RUNNING", "FAILED"])),
    ("kinds", Kind::Words(&["A", "B", "C"])),
    ("text", Kind::Search),
    ("simulation", Kind::Bool),
    ("workflow_id", Kind::Uuid),
    ("started_at", Kind::Instant),
    ("metadata.*", Kind::Json),
];
const ID: &str = "0190c0de-0000-7000-8000-000000000001";

fn filter(text: &str) -> Filter {
    Filter::parse(text, FIELDS).expect("a valid filter")
}

#[test]
fn every_kind_has_its_literal() {
    let text = format!(
        "status = RUNNING AND simulation=true AND workflow_id = \"{ID}\" \
         AND started_at >= \"2026-01-01T01:00:00+01:00\" AND started_at < 2026-02-01T00:00:00Z"
    );
    let parsed = filter(&text);
    assert_eq!(parsed.text("status"), Some("RUNNING"));
    assert_eq!(parsed.bool("simulation"), Some(true));
    assert_eq!(
        parsed
            .uuid("workflow_id")
            .map(|id| id.to_string())
            .as_deref(),
        Some(ID)
    );
    let at = |text: &str| text.parse::<DateTime<Utc>>().ok();
    assert_eq!(parsed.at_least("started_at"), at("2026-01-01T00:00:00Z"));
    assert_eq!(parsed.before("started_at"), at("2026-02-01T00:00:00Z"));
    assert_eq!(parsed.nested("metadata"), None);
}

#[test]
fn several_words_stand_between_bars() {
    let words = |text: &str| filter(text).words("kinds").expect("restricted");
    assert_eq!(words("kinds = B"), ["B"]);
    assert_eq!(words("kinds = A|C"), ["A", "C"]);
    assert_eq!(words("kinds=\"C|B|A\""), ["C", "B", "A"]);
    assert_eq!(filter("").words("kinds"), None);
    for text in [
        "kinds = A|",
        "kinds = |",
        "kinds = A|D",
        "kinds = A | B",
        "status = RUNNING|FAILED",
    ] {
        assert!(Filter::parse(text, FIELDS).is_err(), "{text}");
    }
}

#[test]
fn empty_filter_restricts_nothing() {
    assert_eq!(filter(""), Filter::default());
    assert_eq!(filter("  ").text("status"), None);
}

#[test]
fn nested_fields_make_one_object() {
    let parsed = filter(
        r#"metadata.inputData.amount = 5 AND metadata.inputData.note = "5 \"x\" \\" AND metadata.vip = true"#,
    );
    let wanted = json!({"inputData": {"amount": 5, "note": "5 \"x\" \\"}, "vip": true});
    assert_eq!(parsed.nested("metadata"), Some(wanted));
}

#[test]
fn quotes_keep_keywords_and_spaces() {
    assert_eq!(
        filter(r#"name = "a AND b = c""#).text("name"),
        Some("a AND b = c")
    );
    assert_eq!(filter(r#"name = """#).text("name"), Some(""));
}

#[test]
fn a_search_finds_its_text_and_no_pattern_of_it() {
    let check = |written: &str, pattern: &str| {
        let parsed = filter(written);
        assert_eq!(
            parsed.pattern("text").as_deref(),
            Some(pattern),
            "{written}"
        );
        assert_eq!(parsed.text("text"), None);
    };
    check(r#"text : "Acme""#, "%Acme%");
    check("text:acme", "%acme%");
    check("text :acme AND status = RUNNING", "%acme%");
    check(r#"text : "100%_\\\"x""#, r#"%100\%\_\\"x%"#);
    // Too short for trigrams: only where a word begins.
    check("text : ac", "% ac%");
    check("text : 京", "% 京%");
    check(r#"text : "s..""#, "% s..%");
    check(r#"text : "s.t""#, "%s.t%");
    check(r#"text : "a%""#, r"% a\%%");
    assert_eq!(filter("").pattern("text"), None);
}

#[test]
fn anything_else_is_refused() {
    for text in [
        "status",
        "status =",
        "= RUNNING",
        "status == RUNNING",
        "status != RUNNING",
        "status = RUNNING AND",
        "AND status = RUNNING",
        "status = RUNNING OR status = FAILED",
        "status = RUNNING simulation = true",
        "status = RUNNING AND status = FAILED",
        "status >= RUNNING",
        "state = RUNNING",
        "status = running",
        "status = SLEEPING",
        "status : RUN",
        "name : a",
        "text = a",
        "text : \"\"",
        "text : \"%\"",
        "text : \"---\"",
        "text : \"a\nb\"",
        "text :: a",
        "text :",
        "started_at >= 0000-01-01T00:00:00Z",
        "started_at >= -0001-01-01T00:00:00Z",
        "started_at >= \"9999-12-31T23:59:59-23:00\"",
        "STATUS = RUNNING",
        "simulation = yes",
        "workflow_id = 42",
        "started_at = \"2026-01-01T00:00:00Z\"",
        "started_at >= yesterday",
        "metadata = 1",
        "metadata. = 1",
        "metadata.a..b = 1",
        "metadata.a = {}",
        "metadata.a = word",
        "metadata.a = 1 AND metadata.a.b = 2",
        "metadata.a.b = 1 AND metadata.a = 2",
        "status = \"open",
        "status = \"a\\n\"",
        "status = \"a\0\"",
        "status = 'a'; drop table x",
        "(status = RUNNING)",
        "status = = =",
        "\"status\" = RUNNING",
        &"x".repeat(3000),
        &format!("text : {}", "x".repeat(101)),
    ] {
        let error = Filter::parse(text, FIELDS).expect_err(text);
        assert_eq!(error.reason(), "INVALID_ARGUMENT", "{text}");
    }
}
