//! What a definition tells of values that will only be there when it runs. Invariant: told from the step
//! kinds alone — what input, people and workers bring is not known.

use std::collections::HashMap;

use uuid::Uuid;

use super::labels::quoted;
use crate::condition::check::missing;
use crate::definition::Definition;
use crate::kind::{Field, Kind, Output, Settings, StepType};
use crate::known::{Known, Types};
use crate::problem::{Problem, did_you_mean};
use crate::scope::{Path, Root, Segment};

/// Where a path is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// In a step's config, when it begins.
    Config,
    /// In the condition of a transition that leaves a step; `caught`: after it has failed.
    Leaving { step: usize, caught: bool },
}

pub(super) struct Facts<'a> {
    definition: &'a Definition,
    settings: &'a [Option<Settings>],
    by_name: HashMap<&'a str, usize>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(definition: &'a Definition, settings: &'a [Option<Settings>]) -> Self {
        let names = definition.steps.iter().enumerate();
        Self {
            definition,
            settings,
            by_name: names.map(|(at, step)| (step.name.as_str(), at)).collect(),
        }
    }

    /// What is known of the value at a path.
    pub(super) fn known(&self, path: &Path, place: Place) -> Known {
        let segments = path.segments();
        match (path.root(), place) {
            (Root::Data, place) => self.data(segments, place),
            (Root::Steps, _) => self.of_steps(segments),
            (Root::Step, Place::Config) => {
                Known::Missing("only conditions know the `step` that has just finished".to_owned())
            }
            (Root::Step, Place::Leaving { step, caught }) => self.of_step(step, caught, segments),
            (Root::Execution, _) => {
                let types = |key: &str| match key {
                    "id" | "workflowId" | "startedAt" => Some(Types::TEXT),
                    "version" => Some(Types::NUMBER),
                    _ => None,
                };
                fields(
                    "execution",
                    &["id", "workflowId", "version", "startedAt"],
                    types,
                    segments,
                )
            }
            (Root::Client, _) => {
                let types = |key: &str| (key == "id").then_some(Types::TEXT);
                fields("client", &["id"], types, segments)
            }
        }
    }

    /// Warns of paths that lead to no step, or to nothing that a step ever has.
    pub(super) fn warn<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p Path>,
        place: Place,
        at: &str,
        problems: &mut Vec<Problem>,
    ) {
        for path in paths {
            self.warn_of_unknown_step(path, at, problems);
            if let Known::Missing(why) = self.known(path, place) {
                problems.push(missing(path, at, &why));
            }
        }
    }

    /// Warns of a path into a step that is not there.
    pub(super) fn warn_of_unknown_step(&self, path: &Path, at: &str, problems: &mut Vec<Problem>) {
        let (Root::Steps, Some(Segment::Key(name))) = (path.root(), path.segments().first()) else {
            return;
        };
        if !self.by_name.contains_key(name.as_str()) {
            let hint = did_you_mean(name, self.by_name.keys().copied());
            problems.push(Problem::warning(
                at,
                "UNKNOWN_STEP_REFERENCE",
                format!(
                    "there is no step {}, so this is always missing.{hint}",
                    quoted(name)
                ),
            ));
        }
    }

    pub(super) fn workflow_id(&self) -> Uuid {
        self.definition.workflow_id
    }

    /// A field of the data is known only where the step that has just finished has surely set it.
    fn data(&self, segments: &[Segment], place: Place) -> Known {
        let Place::Leaving {
            step,
            caught: false,
        } = place
        else {
            return Known::Nothing;
        };
        // One that is not required may have been skipped, without output.
        if !self.definition.steps[step].is_required {
            return Known::Nothing;
        }
        let Segment::Key(key) = &segments[0] else {
            return Known::Nothing;
        };
        match self.output_field(step, key) {
            Some(types) => below(Known::types(types), key, &segments[1..]),
            None => Known::Nothing,
        }
    }

    fn of_steps(&self, segments: &[Segment]) -> Known {
        let Segment::Key(name) = &segments[0] else {
            return Known::Nothing;
        };
        // Another warning tells of a step that is not there.
        let Some(step) = self.by_name.get(name.as_str()) else {
            return Known::Nothing;
        };
        match &segments[1..] {
            [] => Known::types(Types::OBJECT),
            [Segment::Key(key), rest @ ..] if key == "output" => self.output(*step, rest),
            _ => Known::Missing("what is known of a step is its `output`".to_owned()),
        }
    }

    fn of_step(&self, step: usize, caught: bool, segments: &[Segment]) -> Known {
        let text = |words| Known::Types {
            types: Types::TEXT,
            words,
        };
        let Segment::Key(key) = &segments[0] else {
            return Known::Missing("`step` has names, no numbers".to_owned());
        };
        let rest = &segments[1..];
        match key.as_str() {
            "name" => below(Known::types(Types::TEXT), key, rest),
            // Whatever names the status is judged after a failure, and only then.
            "status" => below(text(&["FAILED"]), key, rest),
            "error" => match rest {
                [] => Known::types(Types::OBJECT),
                rest => {
                    let types =
                        |key: &str| matches!(key, "code" | "message").then_some(Types::TEXT);
                    fields("step.error", &["code", "message"], types, rest)
                }
            },
            "output" if caught => {
                let why = "a condition that names step.status or step.error is judged after a failure, \
                           when there is no output";
                Known::Missing(why.to_owned())
            }
            "output" => self.output(step, rest),
            other => Known::Missing(format!(
                "`step` has name, status, output and error.{}",
                did_you_mean(other, ["name", "status", "output", "error"])
            )),
        }
    }

    /// The value below a step's output.
    fn output(&self, step: usize, segments: &[Segment]) -> Known {
        let Some(settings) = &self.settings[step] else {
            return Known::Nothing;
        };
        let name = quoted(&self.definition.steps[step].name);
        let word = &self.definition.steps[step].step_type;
        let names: Vec<&str> = match (StepType::of(word).output, &settings.kind) {
            (Output::Open, _) => return Known::Nothing,
            (Output::Nothing, _) if segments.is_empty() => return Known::types(Types::OBJECT),
            (Output::Nothing, _) => {
                return Known::Missing(format!("{name} is a {word}, which has no output"));
            }
            (Output::Fields(fields), _) => {
                let key = segments.first();
                let named =
                    |field: &Field| matches!(key, Some(Segment::Key(key)) if field.name == key);
                if fields.iter().any(|field| named(field) && !field.always) {
                    return Known::Nothing;
                }
                fields.iter().map(|field| field.name).collect()
            }
            (Output::Expressions, Kind::Transform(output)) => {
                output.iter().map(|(key, _)| key.as_str()).collect()
            }
            (Output::Expressions, _) => return Known::Nothing,
        };
        if segments.is_empty() {
            return Known::types(Types::OBJECT);
        }
        let of = format!("the output of {name}");
        fields(&of, &names, |key| self.output_field(step, key), segments)
    }

    /// The types of one field of a step's output, if the step always sets it.
    fn output_field(&self, step: usize, key: &str) -> Option<Types> {
        let settings = self.settings[step].as_ref()?;
        match (
            StepType::of(&self.definition.steps[step].step_type).output,
            &settings.kind,
        ) {
            (Output::Fields(fields), _) => {
                let mut fields = fields.iter();
                fields
                    .find(|field| field.always && field.name == key)
                    .map(|field| field.types)
            }
            (Output::Expressions, Kind::Transform(output)) => {
                let mut output = output.iter();
                output
                    .find(|(name, _)| name == key)
                    .map(|(_, expression)| expression.types())
            }
            _ => None,
        }
    }
}

/// The value below an object whose fields are all known.
fn fields(
    object: &str,
    names: &[&str],
    types: impl Fn(&str) -> Option<Types>,
    segments: &[Segment],
) -> Known {
    let Segment::Key(key) = &segments[0] else {
        return Known::Missing(format!("{object} has names, no numbers"));
    };
    match types(key) {
        Some(types) => below(Known::types(types), key, &segments[1..]),
        None => Known::Missing(format!(
            "{object} has {}.{}",
            names.join(", "),
            did_you_mean(key, names.iter().copied())
        )),
    }
}

/// The value below one that is known, which has the name `key`.
fn below(known: Known, key: &str, segments: &[Segment]) -> Known {
    match (&known, segments) {
        (_, []) => known,
        (Known::Types { types, .. }, _) if !types.meets(Types::LIST | Types::OBJECT) => {
            Known::Missing(format!(
                "`{key}` is {}, with nothing in it",
                types.describe()
            ))
        }
        _ => Known::Nothing,
    }
}
