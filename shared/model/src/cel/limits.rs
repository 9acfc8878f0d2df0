//! What keeps evaluation short: values that go through the interpreter beside the expression's own.
//! Invariant: a comprehension starts only after its whole range was charged to the evaluation's budget,
//! and goes through it in an order that the data decides.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::cel::common::types::{CelBool, CelList, CelMap, CelMapKey, CelString, DYN_TYPE, Type};
use ::cel::common::value::{CowVal, StaticVal, Val};
use ::cel::objects::Key;
use ::cel::{Env, ExecutionError};
use regex::Regex;

use crate::effort::Effort;

/// `@charge(range, @budget)` is the range (of a map, its keys in order), or an error. The parser cannot
/// produce the name.
pub(super) const CHARGE: &str = "@charge";
/// `@matches(text, @pattern0)` is `text.matches(…)` with the expression compiled beforehand.
pub(super) const MATCHES: &str = "@matches";
pub(super) const BUDGET: &str = "@budget";

/// Items that one comprehension may go through.
pub(super) const MOST_ITEMS: u64 = 1000;
/// Values that all comprehensions of one evaluation may touch: enough for 1000 x 1000 plain ones. The
/// interpreter copies each item, so the cost is that of the values within, not of the items.
const MOST_VISITS: u64 = 1_100_000;

static TYPE: Type = Type::new_unspecified_type("internal");

pub(super) fn pattern_name(at: usize) -> String {
    format!("@pattern{at}")
}

pub(super) fn declare(env: &mut Env) {
    for (name, function) in [
        (CHARGE, charge as ::cel::common::functions::Function),
        (MATCHES, matches),
    ] {
        env.add_overload(name, name, vec![DYN_TYPE, DYN_TYPE], function)
            .expect("the standard library has no name with an @");
    }
}

/// What an evaluation may still touch.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    own: Arc<AtomicU64>,
    /// Shared with the other expressions of the caller's work.
    effort: Effort,
}

impl Budget {
    pub(super) fn of(effort: &Effort) -> Self {
        Self {
            own: Arc::new(AtomicU64::new(MOST_VISITS)),
            effort: effort.clone(),
        }
    }

    fn spend(&self, visits: u64) -> bool {
        self.effort.spend(visits)
            && self
                .own
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(visits)
                })
                .is_ok()
    }
}

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub(super) struct Pattern(pub(super) Regex);

fn charge<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let items = args[0]
        .as_sizer()
        .map_or(0, |sizer| sizer.size().inner().unsigned_abs());
    if items > MOST_ITEMS {
        return Err(ExecutionError::function_error(
            "comprehension",
            format!("{items} items are more than the {MOST_ITEMS} that it may go through"),
        ));
    }
    let affordable = args[1]
        .downcast_ref::<Budget>()
        .is_some_and(|budget| budget.spend(weight(args[0].as_ref())));
    if !affordable {
        return Err(ExecutionError::function_error(
            "comprehension",
            "all comprehensions together go through too much data",
        ));
    }
    let range = args.swap_remove(0);
    // The interpreter's maps are hashed with a random seed.
    Ok(match range.downcast_ref::<CelMap>() {
        Some(map) => CowVal::owned(CelList::from(sorted_keys(map))),
        None => range,
    })
}

fn sorted_keys<'v>(map: &CelMap<'v>) -> Vec<Box<dyn Val + 'v>> {
    let mut keys: Vec<&CelMapKey<'v>> = map.inner().keys().collect();
    keys.sort_by_cached_key(|key| Key::from((*key).clone()));
    let boxed = |key: &CelMapKey<'v>| -> Box<dyn Val + 'v> {
        match key {
            CelMapKey::Bool(flag) => Box::new(*flag),
            CelMapKey::Int(integer) => Box::new(*integer),
            CelMapKey::String(text) => Box::new(text.clone()),
            CelMapKey::UInt(integer) => Box::new(*integer),
        }
    };
    keys.into_iter().map(boxed).collect()
}

/// How many plain values there are within, long texts counted as several.
pub(super) fn weight(value: &dyn Val) -> u64 {
    if let Some(list) = value.downcast_ref::<CelList>() {
        return 1 + list
            .inner()
            .iter()
            .map(|item| weight(item.as_ref()))
            .sum::<u64>();
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        return 1 + map
            .inner()
            .values()
            .map(|item| weight(item.as_ref()))
            .sum::<u64>();
    }
    let text = value.downcast_ref::<CelString>();
    1 + text.map_or(0, |text| text.inner().len() as u64 / 64)
}

fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let (Some(text), Some(Pattern(regex))) = (
        args[0].downcast_ref::<CelString>(),
        args[1].downcast_ref::<Pattern>(),
    ) else {
        let given = args[0].get_type().name().to_owned();
        return Err(ExecutionError::no_such_member_overload(
            "matches",
            vec![given, "string".to_owned()],
        ));
    };
    Ok(CowVal::owned(CelBool::from(regex.is_match(text.inner()))))
}

/// Makes a type of ours one of the interpreter's values; it supports no operator.
macro_rules! opaque {
    ($name:ty) => {
        impl Val for $name {
            fn get_type(&self) -> &Type {
                &TYPE
            }

            fn cel_type() -> &'static Type {
                &TYPE
            }

            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
                Box::new(self.clone())
            }

            fn as_any(&self) -> Option<&dyn Any> {
                Some(self)
            }
        }

        impl StaticVal for $name {}
    };
}

opaque!(Budget);
opaque!(Pattern);
