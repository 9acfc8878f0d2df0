//! Reads a step's type and config. Invariant: a step without errors here can run; each config key is
//! either understood or warned of.

use super::config::{self, Config};
use super::control;
use super::foreach;
use super::table::StepType;
use super::{Audience, BUILT_IN, Kind, Lock, RESERVED, Settings, WaitUntil};
use crate::definition::Step;
use crate::problem::Problem;
use crate::retry::Retry;

/// What the step at `path` does; None if that cannot be told, with the problems that say why.
pub(crate) fn parse(step: &Step, path: &str, problems: &mut Vec<Problem>) -> Option<Settings> {
    check_type(&step.step_type, path, problems);
    let mut config = Config::new(&step.config, format!("{path}.config"), problems);
    if RESERVED.contains(&step.step_type.as_str()) {
        return None;
    }
    let about = StepType::of(&step.step_type);
    let mut read = config.read(about.all_settings());
    if let Some(choice) = &about.choice {
        config.choose(choice);
    }
    about.only.iter().for_each(|only| config.check(only));
    let retry = retry(&mut config, read.object("retry"), about.is_job());
    if !about.is_job() {
        let known: Vec<&str> = about.all_settings().map(|setting| setting.key).collect();
        config.warn_of_others(&known);
    }
    Some(Settings {
        retry,
        timeout: read.duration("timeout"),
        queue_timeout: read.duration("queueTimeout"),
        target: read.duration("target"),
        parks: read.text("onFailure").as_deref() == Some("park"),
        compensate: read.text("compensate"),
        lock: read.object("lock").and_then(lock),
        cancels: read.texts("cancels").unwrap_or_default(),
        kind: kind(&step.step_type, &mut read)?,
    })
}

/// None if a setting without which nothing can be done is wrong or not there.
fn kind(word: &str, read: &mut config::Settings) -> Option<Kind> {
    Some(match word {
        "approval" => Kind::Approval(audience(read)),
        "data_entry" => Kind::DataEntry(audience(read)),
        "notification" => Kind::Notification {
            notification_type: read
                .text("notificationType")
                .unwrap_or_else(|| "email".to_owned()),
            template: read.text("template"),
            recipients: read.texts("recipients").unwrap_or_default(),
        },
        "transform" => Kind::Transform(read.expressions("output")?),
        "decision" => Kind::Decision,
        "parallel" => Kind::Parallel,
        "join" => Kind::Join(control::join(read)?),
        "foreach" => Kind::Foreach(foreach::foreach(read)?),
        "signal" => Kind::Signal {
            name: read.text("name")?,
            correlation: read.path("correlation"),
        },
        "end" => Kind::End(control::end(read)),
        "subworkflow" => Kind::Subworkflow(control::called(read)?),
        "wait" => Kind::Wait(
            (read.duration("duration").map(WaitUntil::For))
                .or_else(|| read.instant("until").map(WaitUntil::At))
                .or_else(|| read.path("untilField").map(WaitUntil::Field))?,
        ),
        word => Kind::Job {
            job_type: read.text("action").unwrap_or_else(|| word.to_owned()),
        },
    })
}

fn lock(mut read: config::Settings) -> Option<Lock> {
    Some(Lock {
        name: read.text("name")?,
        key: read.path("key"),
        timeout: read.duration("timeout"),
    })
}

fn audience(read: &mut config::Settings) -> Audience {
    Audience {
        group: read.text("approverRole"),
        assignees: read.texts("assignees").unwrap_or_default(),
    }
}

/// The policy that `given` describes; without one, only jobs are tried again.
fn retry(config: &mut Config<'_>, given: Option<config::Settings>, is_job: bool) -> Retry {
    let usual = Retry::for_jobs();
    let Some(mut given) = given else {
        return if is_job { usual } else { Retry::once() };
    };
    let initial = given.duration("initialInterval").unwrap_or(usual.initial);
    let max = given.duration("maxInterval");
    if max.is_some_and(|max| max < initial) {
        config.error(
            "retry.maxInterval",
            "CONFIG_INVALID",
            "must not be shorter than initialInterval",
        );
    }
    Retry {
        max_attempts: given.count("maxAttempts").unwrap_or(usual.max_attempts),
        initial,
        multiplier: given.number("multiplier").unwrap_or(usual.multiplier),
        // A first interval of an hour must not be cut to the usual maximum.
        max: max.unwrap_or(usual.max.max(initial)),
        jitter: given.number("jitter").unwrap_or(usual.jitter),
        total_timeout: given.duration("totalTimeout"),
    }
}

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
