//! The values of what is said of a worker's birth.

use syn::{Expr, ExprLit, Lit, LitStr};

use crate::args::{Value, ungrouped};

/// Its variants are named as the runtime's are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Spawn {
    Fork,
    Exec,
}

/// Its variants are named as the runtime's are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Output {
    Inherit,
    Tagged,
    Captured,
    Null,
}

pub(crate) const SPAWN: [(&str, Value); 2] =
    [("fork", Value::Spawn(Spawn::Fork)), ("exec", Value::Spawn(Spawn::Exec))];

pub(crate) const OUTPUT: [(&str, Value); 4] = [
    ("inherit", Value::Output(Output::Inherit)),
    ("tagged", Value::Output(Output::Tagged)),
    ("captured", Value::Output(Output::Captured)),
    ("null", Value::Output(Output::Null)),
];

/// What no process can be given is refused here and not at its birth.
pub(crate) fn is_plain(text: &LitStr) -> bool {
    let text = text.value();
    !text.is_empty() && !text.contains('\0')
}

pub(crate) fn texts(expr: &Expr) -> Option<Vec<LitStr>> {
    let Expr::Array(array) = expr else { return None };
    let text = |expr: &Expr| match ungrouped(expr) {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if !text.value().contains('\0') => Some(text.clone()),
        _ => None,
    };
    array.elems.iter().map(text).collect()
}

/// `NAME=value`; the value may be empty, and have more of `=`.
pub(crate) fn variable(text: &LitStr) -> Option<Value> {
    let whole = text.value();
    let (name, value) = whole.split_once('=').filter(|(name, _)| !name.is_empty())?;
    let part = |part: &str| LitStr::new(part, text.span());
    Some(Value::Variable(part(name), part(value)))
}
