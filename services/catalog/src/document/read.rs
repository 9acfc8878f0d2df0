//! Reads the parts of a document. Invariant: whatever is wrong is told, each fault once, and reading goes
//! on as far as it makes sense.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::object::{Faults, Fields, did_you_mean};
use super::{ClientRef, Document, Step, Transition};
use crate::fields::{self, ClientFields, StepFields};

/// Takes the document apart; nothing comes back only if something is wrong.
pub fn read(value: Value, faults: &mut Faults) -> Option<Document> {
    if let Value::Array(items) = &value {
        let count = items.len();
        faults.push(
            "",
            format_args!("is a list of {count}: apply its workflows one by one"),
        );
        return None;
    }
    let mut top = Fields::open(String::new(), value, faults)?;
    let client = match top.take("client") {
        Some(value) => read_client(value, faults),
        None => {
            faults.push("client", "is required: an id, or an object with a name");
            None
        }
    };
    let workflow = match top.take("workflow") {
        Some(value) => Fields::open("workflow".into(), value, faults),
        None => {
            faults.push("workflow", "is required: an object with a name");
            None
        }
    };
    let steps: Vec<Step> = (top.list("steps", fields::MAX_STEPS, faults).into_iter())
        .enumerate()
        .filter_map(|(index, value)| read_step(index, value, faults))
        .collect();
    check_unique(&steps, faults);
    let names = Names::of(&steps);
    let transitions = (top
        .list("transitions", fields::MAX_TRANSITIONS, faults)
        .into_iter())
    .enumerate()
    .filter_map(|(index, value)| read_transition(index, value, &names, faults))
    .collect();
    top.finish(faults);

    let mut workflow = workflow?;
    let name = workflow.required_name("name", fields::NAME, faults);
    let description = workflow.text("description", fields::DESCRIPTION, faults);
    let target = workflow.text("target", fields::TARGET, faults);
    let target = target.and_then(fields::non_empty);
    if let Some(fault) = target.as_deref().and_then(fields::target_fault) {
        faults.push("workflow.target", fault);
    }
    let publish = match workflow.take("status") {
        None => false,
        Some(Value::String(status)) if status == "DRAFT" => false,
        Some(Value::String(status)) if status == "ACTIVE" => true,
        Some(_) => {
            faults.push(
                "workflow.status",
                "must be ACTIVE (publish after applying) or DRAFT (do not); the other states have \
                 calls of their own",
            );
            false
        }
    };
    workflow.finish(faults);
    Some(Document {
        client: client?,
        name,
        description: description.and_then(fields::non_empty),
        target,
        publish,
        steps,
        transitions,
    })
}

fn read_client(value: Value, faults: &mut Faults) -> Option<ClientRef> {
    if let Value::String(id) = &value {
        return match Uuid::try_parse(id) {
            Ok(id) => Some(ClientRef::Id(id)),
            Err(_) => {
                faults.push(
                    "client",
                    "is no id; to find a client by its name, write `client: { name: … }`",
                );
                None
            }
        };
    }
    let mut object = Fields::open("client".into(), value, faults)?;
    let name = object.required_name("name", fields::NAME, faults);
    let email = object.text("email", fields::EMAIL, faults);
    if let Some(fault) =
        (email.as_deref().filter(|email| !email.is_empty())).and_then(fields::email_fault)
    {
        faults.push("client.email", fault);
    }
    let client = ClientFields {
        name,
        email: email.and_then(fields::non_empty),
        phone: (object.text("phone", fields::PHONE, faults)).and_then(fields::non_empty),
        address: (object.text("address", fields::ADDRESS, faults)).and_then(fields::non_empty),
        company: (object.name("company", fields::COMPANY, faults)).and_then(fields::non_empty),
        notes: (object.text("notes", fields::NOTES, faults)).and_then(fields::non_empty),
        is_active: object.bool("isActive", true, faults),
    };
    object.finish(faults);
    Some(ClientRef::Described(client))
}

fn read_step(index: usize, value: Value, faults: &mut Faults) -> Option<Step> {
    let mut object = Fields::open(format!("steps[{index}]"), value, faults)?;
    let key = object.text("key", 1..=100, faults);
    if let Some(fault) = key.as_deref().and_then(fields::key_fault) {
        faults.push(&object.path_of("key"), fault);
    }
    let step_fields = StepFields {
        name: object.required_name("name", fields::NAME, faults),
        description: (object.text("description", fields::DESCRIPTION, faults))
            .and_then(fields::non_empty),
        step_type: object.required_name("stepType", fields::STEP_TYPE, faults),
        order: object.order("order", index, faults),
        config: (object.settings("config", faults)).unwrap_or_default(),
        is_required: object.bool("isRequired", true, faults),
    };
    object.finish(faults);
    Some(Step {
        key,
        fields: step_fields,
    })
}

fn read_transition(
    index: usize,
    value: Value,
    names: &Names,
    faults: &mut Faults,
) -> Option<Transition> {
    let mut object = Fields::open(format!("transitions[{index}]"), value, faults)?;
    let mut end = |name| {
        let reference = object.required_text(name, fields::NAME, faults);
        let found = names.find(&reference);
        if found.is_none() && !reference.is_empty() {
            let hint = did_you_mean(&reference, names.all());
            faults.push(
                &object.path_of(name),
                format_args!("no step has the name or key {reference:?}{hint}"),
            );
        }
        found
    };
    let (from, to) = (end("from"), end("to"));
    let condition = object.settings("condition", faults).map(Value::Object);
    let is_default = object.bool("isDefault", false, faults);
    object.finish(faults);
    Some(Transition {
        from: from?,
        to: to?,
        condition,
        is_default,
    })
}

/// Two steps of one name or key would make every reference to them a guess.
fn check_unique(steps: &[Step], faults: &mut Faults) {
    let mut names = HashMap::new();
    let mut keys = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        if let Some(first) = names.insert(step.fields.name.as_str(), index)
            && !step.fields.name.is_empty()
        {
            let fault = format!(
                "{:?} is already the name of steps[{first}]",
                step.fields.name
            );
            faults.push(&format!("steps[{index}].name"), fault);
        }
        if let Some(key) = &step.key
            && let Some(first) = keys.insert(key.as_str(), index)
        {
            let fault = format!("{key:?} is already the key of steps[{first}]");
            faults.push(&format!("steps[{index}].key"), fault);
        }
    }
}

/// By what a transition may call a step: its key, else its name, else the key its name would give it.
struct Names<'a> {
    steps: &'a [Step],
    keys: HashMap<&'a str, usize>,
    names: HashMap<&'a str, usize>,
    slugs: HashMap<String, Option<usize>>,
}

impl<'a> Names<'a> {
    fn of(steps: &'a [Step]) -> Self {
        let mut slugs = HashMap::new();
        for (index, step) in steps.iter().enumerate().filter(|(_, s)| s.key.is_none()) {
            slugs
                .entry(model::text::slug(&step.fields.name))
                // Two steps with one slug: it names neither.
                .and_modify(|found| *found = None)
                .or_insert(Some(index));
        }
        Self {
            steps,
            keys: (steps.iter().enumerate())
                .filter_map(|(index, step)| Some((step.key.as_deref()?, index)))
                .collect(),
            names: (steps.iter().enumerate())
                .map(|(index, step)| (step.fields.name.as_str(), index))
                .collect(),
            slugs,
        }
    }

    fn find(&self, reference: &str) -> Option<usize> {
        (self.keys.get(reference).copied())
            .or_else(|| self.names.get(reference).copied())
            .or_else(|| self.slugs.get(reference).copied().flatten())
    }

    fn all(&self) -> impl Iterator<Item = &'a str> {
        self.steps.iter().map(|step| step.fields.name.as_str())
    }
}
