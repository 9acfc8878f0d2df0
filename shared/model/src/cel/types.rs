//! Which types a result can have. Invariant: what cannot be told has every type.

use ::cel::common::ast::{Expr, LiteralValue, operators};
use ::cel::parser::Expression;

use crate::known::Types;

/// Calls whose result is true or false, if there is one.
const JUDGING: [&str; 14] = [
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::IN,
    "bool",
    "contains",
    "endsWith",
    "startsWith",
];
/// Calls whose result is a number.
const COUNTING: [&str; 4] = ["double", "int", "size", "uint"];

/// The types of an expression's result, as far as its outermost operation tells.
pub(super) fn of(expression: &Expression) -> Types {
    match &expression.expr {
        Expr::Literal(LiteralValue::Boolean(_)) => Types::BOOL,
        Expr::Literal(LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_)) => {
            Types::NUMBER
        }
        Expr::Literal(LiteralValue::String(_)) => Types::TEXT,
        Expr::Literal(LiteralValue::Null) => Types::NULL,
        Expr::List(_) => Types::LIST,
        Expr::Map(_) => Types::OBJECT,
        Expr::Select(select) if select.test => Types::BOOL,
        Expr::Call(call) => match call.func_name.as_str() {
            name if JUDGING.contains(&name) => Types::BOOL,
            name if COUNTING.contains(&name) => Types::NUMBER,
            "string" => Types::TEXT,
            operators::CONDITIONAL => match &call.args[..] {
                [_, yes, no] => of(yes) | of(no),
                _ => Types::ANY,
            },
            _ => Types::ANY,
        },
        _ => Types::ANY,
    }
}
