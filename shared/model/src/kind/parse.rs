//! Reads a step's type and config. Invariant: a step without errors here can run; each config key is
//! either understood or warned of.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::config::Config;
use super::{Audience, BUILT_IN, Kind, RESERVED, Settings, WaitUntil};
use crate::cel::Cel;
use crate::definition::Step;
use crate::problem::Problem;
use crate::retry::Retry;
use crate::scope::Path;

/// Keys that every step understands.
const COMMON: [&str; 3] = ["retry", "timeout", "queueTimeout"];
/// Keys that will mean something: taken as noise today, a failure would be handled otherwise than meant.
const NOT_YET: [&str; 2] = ["onFailure", "compensate"];

/// What the step at `path` does; None if that cannot be told, with the problems that say why.
pub(crate) fn parse(step: &Step, path: &str, problems: &mut Vec<Problem>) -> Option<Settings> {
    check_type(&step.step_type, path, problems);
    let mut config = Config::new(&step.config, format!("{path}.config"), problems);
    for key in NOT_YET {
        if config.get(key).is_some() {
            config.error(
                key,
                "CONFIG_NOT_SUPPORTED",
                "is not supported yet: route failures by a transition whose condition names step.status or \
                 step.error",
            );
        }
    }
    let (kind, own) = match step.step_type.as_str() {
        "approval" => (audience(&mut config).map(Kind::Approval), AUDIENCE),
        "data_entry" => (data_entry(&mut config), DATA_ENTRY),
        "notification" => (Some(notification(&mut config)), NOTIFICATION),
        "transform" => (transform(&mut config), TRANSFORM),
        "decision" => (Some(Kind::Decision), &[][..]),
        "wait" => (wait(&mut config).map(Kind::Wait), WAIT),
        word if RESERVED.contains(&word) => return None,
        word => (Some(job(&mut config, word)), JOB),
    };
    let is_job = matches!(kind, Some(Kind::Job { .. }));
    let settings = Settings {
        retry: retry(&mut config, is_job),
        timeout: config.duration("timeout"),
        queue_timeout: config.duration("queueTimeout"),
        kind: kind?,
    };
    if !is_job {
        config.warn_of_others(&[own, &COMMON].concat(), &NOT_YET);
    }
    Some(settings)
}

const AUDIENCE: &[&str] = &["approverRole", "assignees"];
const DATA_ENTRY: &[&str] = &["approverRole", "assignees", "requiredDocuments", "fields"];
const NOTIFICATION: &[&str] = &["notificationType", "template", "recipients", "message"];
const TRANSFORM: &[&str] = &["output"];
const WAIT: &[&str] = &["duration", "until", "untilField"];
const JOB: &[&str] = &["action"];
const RETRY: [&str; 6] = [
    "maxAttempts",
    "initialInterval",
    "multiplier",
    "maxInterval",
    "jitter",
    "totalTimeout",
];

fn check_type(word: &str, path: &str, problems: &mut Vec<Problem>) {
    let path = format!("{path}.stepType");
    let length = word.chars().count();
    if !(1..=100).contains(&length) || word.trim() != word || word.contains(char::is_control) {
        problems.push(Problem::error(
            path,
            "STEP_TYPE_INVALID",
            "must be a word of 1 to 100 characters",
        ));
    } else if RESERVED.contains(&word) {
        problems.push(Problem::error(
            path,
            "STEP_TYPE_NOT_SUPPORTED",
            format!(
                "`{word}` is not supported yet; supported: {}, and any other word for an external worker's job",
                BUILT_IN.join(", ")
            ),
        ));
    } else if let Some(built_in) = resembled(word) {
        problems.push(Problem::warning(
            path,
            "STEP_TYPE_IS_JOB",
            format!(
                "`{word}` is a job for an external worker; did you mean the built-in `{built_in}`?"
            ),
        ));
    }
}

/// The built-in word that was probably meant.
fn resembled(word: &str) -> Option<&'static str> {
    let folded = word.to_lowercase().replace(['-', ' '], "_");
    BUILT_IN.iter().copied().find(|built_in| {
        let plain = built_in.replace('_', "");
        *built_in != word
            && (folded.replace('_', "") == plain
                || strsim::normalized_damerau_levenshtein(&folded, built_in) > 0.85)
    })
}

fn audience(config: &mut Config<'_>) -> Option<Audience> {
    let group = config.text("approverRole");
    let assignees: Vec<String> = config
        .texts("assignees")
        .iter()
        .map(|email| email.trim().to_lowercase())
        .collect();
    if let Some(word) = assignees.iter().find(|email| !email.contains('@')) {
        let message = format!("`{word}` is no email address; a group belongs into approverRole");
        config.error("assignees", "CONFIG_INVALID", message);
        return None;
    }
    Some(Audience { group, assignees })
}

fn data_entry(config: &mut Config<'_>) -> Option<Kind> {
    config.texts("requiredDocuments");
    audience(config).map(Kind::DataEntry)
}

fn notification(config: &mut Config<'_>) -> Kind {
    config.prose("message");
    Kind::Notification {
        notification_type: config
            .text("notificationType")
            .unwrap_or_else(|| "email".to_owned()),
        template: config.text("template"),
        recipients: config.texts("recipients"),
    }
}

fn transform(config: &mut Config<'_>) -> Option<Kind> {
    const EXAMPLE: &str =
        "must say what comes out: {\"output\": {\"total\": \"data.net + data.tax\"}}";
    if config.get("output").is_none() {
        config.error("output", "CONFIG_MISSING", EXAMPLE);
        return None;
    }
    let mut output = config.object("output")?;
    let mut fields = Vec::new();
    for (key, source) in output.fields() {
        let parsed = match source {
            Value::String(source) => Cel::parse(source),
            _ => Err("must be the text of a CEL expression; a constant text is \"'…'\"".to_owned()),
        };
        match parsed {
            Ok(expression) => fields.push((key.clone(), expression)),
            Err(message) => output.error(key, "CEL_INVALID", message),
        }
    }
    if output.fields().is_empty() {
        config.error("output", "CONFIG_MISSING", EXAMPLE);
    }
    Some(Kind::Transform(fields))
}

fn wait(config: &mut Config<'_>) -> Option<WaitUntil> {
    let given: Vec<&str> = WAIT
        .iter()
        .copied()
        .filter(|key| config.get(key).is_some())
        .collect();
    match given[..] {
        ["duration"] => config.duration("duration").map(WaitUntil::For),
        ["until"] => until(config).map(WaitUntil::At),
        ["untilField"] => until_field(config).map(WaitUntil::Field),
        [] => {
            config.error(
                "duration",
                "CONFIG_MISSING",
                "must say how long: `duration` (\"48h\"), `until` (an RFC 3339 instant) or `untilField` (the \
                 field that holds one)",
            );
            None
        }
        [.., last] => {
            config.error(
                last,
                "CONFIG_INVALID",
                "only one of duration, until and untilField can be given",
            );
            None
        }
    }
}

fn until(config: &mut Config<'_>) -> Option<DateTime<Utc>> {
    let text = config.get("until").and_then(Value::as_str);
    crate::instant::parse(text.unwrap_or_default())
        .map_err(|message| config.error("until", "CONFIG_INVALID", message))
        .ok()
}

fn until_field(config: &mut Config<'_>) -> Option<Path> {
    let text = config.get("untilField").and_then(Value::as_str);
    text.ok_or_else(|| "must be a path, such as \"dueAt\"".to_owned())
        .and_then(Path::parse)
        .map_err(|message| config.error("untilField", "CONFIG_INVALID", message))
        .ok()
}

fn job(config: &mut Config<'_>, step_type: &str) -> Kind {
    let action = config.text("action");
    if let Some(word) = &action
        && (word.chars().count() > 100 || word.trim() != word || word.contains(char::is_control))
    {
        config.error(
            "action",
            "CONFIG_INVALID",
            "names the job type: must be a word of 1 to 100 characters",
        );
    }
    Kind::Job {
        job_type: action.unwrap_or_else(|| step_type.to_owned()),
    }
}

fn retry(config: &mut Config<'_>, is_job: bool) -> Retry {
    let usual = Retry::for_jobs();
    if config.get("retry").is_none() {
        return if is_job { usual } else { Retry::once() };
    }
    let Some(mut retry) = config.object("retry") else {
        return usual;
    };
    let initial = retry.duration("initialInterval").unwrap_or(usual.initial);
    let max = retry.duration("maxInterval");
    if max.is_some_and(|max| max < initial) {
        retry.error(
            "maxInterval",
            "CONFIG_INVALID",
            "must not be shorter than initialInterval",
        );
    }
    let policy = Retry {
        max_attempts: retry
            .count("maxAttempts", 1000)
            .unwrap_or(usual.max_attempts),
        initial,
        multiplier: retry
            .number("multiplier", 1.0, 100.0)
            .unwrap_or(usual.multiplier),
        // A first interval of an hour must not be cut to the usual maximum.
        max: max.unwrap_or(usual.max.max(initial)),
        jitter: retry.number("jitter", 0.0, 1.0).unwrap_or(usual.jitter),
        total_timeout: retry.duration("totalTimeout"),
    };
    retry.warn_of_others(&RETRY, &[]);
    policy
}
