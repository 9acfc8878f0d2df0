//! Given answers, and whose they are. Invariant: an answer that nobody would ever be asked for is refused, not
//! ignored.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::duration;
use model::graph::Graph;
use model::kind::Kind;
use model::problem::did_you_mean;
use serde_json::{Map, Value};

use super::answering::Answering;
use crate::engine::Failure;

const FORM: &str = "an answer is {\"output\": {…}}, {\"error\": {\"code\": …, \"message\": …}}, \
                    {\"businessError\": {\"code\": …, \"message\": …}}, each perhaps with a \"delay\" (`2h`), or \
                    {\"timeout\": true} or {\"queueTimeout\": true}";

/// Unknown words that get a hint.
const MOST_HINTS: usize = 10;

/// One answer, and how long it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Mock {
    pub(super) delay: Duration,
    pub(super) reply: Reply,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Output(Map<String, Value>),
    /// A technical failure: the retry policy applies.
    Error(Failure),
    /// A business error: routed, never retried.
    BusinessError(Failure),
    /// None before the step's timeout; a worker has taken the job.
    Timeout,
    /// No worker takes the job before its queue timeout.
    QueueTimeout,
}

impl Mock {
    /// Reads what [`FORM`] says.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let mut object = value.as_object().cloned().ok_or(FORM)?;
        let delay = object.remove("delay");
        let mut words = object.into_iter();
        let (Some((word, body)), None) = (words.next(), words.next()) else {
            return Err(FORM.to_owned());
        };
        let reply = match (word.as_str(), body) {
            ("output", Value::Object(output)) => Reply::Output(output),
            ("error", Value::Object(body)) => Reply::Error(failure(&word, &body)?),
            ("businessError", Value::Object(body)) => Reply::BusinessError(failure(&word, &body)?),
            ("timeout", Value::Bool(true)) => Reply::Timeout,
            ("queueTimeout", Value::Bool(true)) => Reply::QueueTimeout,
            _ => return Err(FORM.to_owned()),
        };
        let delay = match delay {
            None => Duration::ZERO,
            Some(_) if matches!(reply, Reply::Timeout | Reply::QueueTimeout) => {
                return Err(
                    "delay has no meaning with a timeout: the step says when it ends".into(),
                );
            }
            Some(Value::String(text)) => {
                duration::parse(&text).map_err(|error| format!("delay: {error}"))?
            }
            Some(_) => return Err("delay is no text such as `2h`".to_owned()),
        };
        Ok(Self { delay, reply })
    }
}

fn failure(word: &str, body: &Map<String, Value>) -> Result<Failure, String> {
    let text = |key: &str| match body.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{word}.{key} is not a text")),
    };
    let code = text("code")?.ok_or_else(|| format!("{word}.code is required"))?;
    let message = text("message")?.unwrap_or_default();
    Ok(Failure { code, message })
}

/// Lists of answers, each used one after another by the steps that it is for; the last answer repeats.
#[derive(Debug, Default)]
pub struct Mocks {
    pub(super) lists: Vec<Vec<Mock>>,
    /// By step: which list is for it.
    pub(super) of_step: HashMap<usize, usize>,
}

impl Mocks {
    /// Finds out which steps the lists are for, by a step's name or key or a signal's name, in this order.
    /// Or says, by the place in the lists, what is wrong.
    pub fn bind(
        given: BTreeMap<String, Vec<Mock>>,
        graph: &Graph,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut mocks = Self::default();
        let mut wrong = Vec::new();
        let steps = &graph.definition.steps;
        let mut signals = Vec::new();
        // A list without answers is as good as none.
        for (word, list) in given.into_iter().filter(|(_, list)| !list.is_empty()) {
            let by_name = steps.iter().position(|step| step.name == word);
            let named = by_name.or_else(|| steps.iter().position(|step| step.key == word));
            match named {
                Some(step) => mocks.give(&word, list, &[step], graph, &mut wrong),
                None => signals.push((word, list)),
            }
        }
        for (word, list) in signals {
            let all = (0..steps.len()).filter(|&at| is_signal(graph, at, &word));
            let all: Vec<usize> = all.collect();
            if all.is_empty() {
                // Comparing words is expensive.
                let hint = match wrong.len() < MOST_HINTS {
                    true => did_you_mean(&word, known(graph)),
                    false => String::new(),
                };
                let nothing = format!("there is no such step or signal.{hint}");
                wrong.push((place(&word), nothing));
                continue;
            }
            let own = |at: &usize| !mocks.of_step.contains_key(at);
            let left: Vec<usize> = all.into_iter().filter(own).collect();
            if left.is_empty() {
                let twice = "its steps have answers of their own".to_owned();
                wrong.push((place(&word), twice));
            }
            mocks.give(&word, list, &left, graph, &mut wrong);
        }
        match wrong.is_empty() {
            true => Ok(mocks),
            false => Err(wrong),
        }
    }

    fn give(
        &mut self,
        word: &str,
        list: Vec<Mock>,
        steps: &[usize],
        graph: &Graph,
        wrong: &mut Vec<(String, String)>,
    ) {
        for &step in steps {
            if let Some(never) = never_asked(&graph.nodes[step].kind) {
                wrong.push((place(word), never.to_owned()));
                continue;
            }
            for (at, mock) in list.iter().enumerate() {
                if let Err(why) = can_be(mock, graph, step) {
                    wrong.push((format!("{}[{at}]", place(word)), why));
                }
            }
            if self.of_step.insert(step, self.lists.len()).is_some() {
                let twice = "the step has answers under its other name, too".to_owned();
                wrong.push((place(word), twice));
            }
        }
        self.lists.push(list);
    }

    /// Those who give these answers, once.
    pub fn answering<'a>(&'a self, graph: &'a Graph) -> Answering<'a> {
        Answering::new(self, graph)
    }
}

fn place(word: &str) -> String {
    format!("mocks[{:?}]", model::text::clean(word, 200))
}

fn is_signal(graph: &Graph, step: usize, word: &str) -> bool {
    matches!(&graph.nodes[step].kind, Kind::Signal { name, .. } if name == word)
}

/// All words that a list can be given under.
fn known(graph: &Graph) -> impl Iterator<Item = &str> {
    let names = graph.definition.steps.iter().map(|step| step.name.as_str());
    let keys = graph.definition.steps.iter().map(|step| step.key.as_str());
    let signals = graph.nodes.iter().filter_map(|node| match &node.kind {
        Kind::Signal { name, .. } => Some(name.as_str()),
        _ => None,
    });
    // Of words that are as near, the last one is proposed.
    keys.chain(signals).chain(names)
}

/// Why nobody answers for a step of this kind, if so.
fn never_asked(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Job { .. }
        | Kind::Approval(_)
        | Kind::DataEntry(_)
        | Kind::Signal { .. }
        | Kind::Subworkflow(_) => None,
        Kind::Wait(_) => Some("nobody answers for a wait: time jumps to its end"),
        Kind::Join(_) => Some(
            "nobody answers for a join: it times out if the answers that lead to it take longer",
        ),
        Kind::Foreach(_) => {
            Some("nobody answers for a foreach: the step that it does for each item is asked")
        }
        _ => Some("nobody is asked at this step: the engine does what it says"),
    }
}

fn can_be(mock: &Mock, graph: &Graph, step: usize) -> Result<(), String> {
    let node = &graph.nodes[step];
    let (limit, setting) = match mock.reply {
        Reply::Timeout => (node.timeout, "timeout"),
        Reply::QueueTimeout => (node.queue_timeout, "queueTimeout"),
        _ => return Ok(()),
    };
    let name = &graph.definition.steps[step].name;
    match limit {
        Some(_) => Ok(()),
        None => Err(format!("the step {name:?} has no {setting}")),
    }
}
