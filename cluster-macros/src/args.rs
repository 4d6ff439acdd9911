//! The arguments of `#[cluster::main(..)]`: parsed and checked, each value with its span.

use crate::born::{self, Output, Spawn};
use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::spanned::Spanned as _;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Path, Token};

use crate::listen::addresses;
use crate::policy::{POLICIES, Policy};
use crate::values::{choice, duration, list, number, size};

/// All errors of one attribute, so that a user meets them together and not one a build.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

/// What the attribute says. Whatever was wrong is left out of it, and in [`Errors`].
pub(crate) struct Args {
    /// Where the crate `cluster` is found.
    pub(crate) cluster: Path,
    /// Whether `HttpServer` in the body means the cluster's.
    pub(crate) swap: bool,
    /// One builder call per argument, in the order given.
    pub(crate) calls: Vec<Call>,
}

/// A call on the builder: `.workers(::cluster::Workers::Cpus)`.
pub(crate) struct Call {
    /// The method, which is also the argument's name, with the argument's span: an editor shows the method's
    /// page there.
    pub(crate) name: Ident,
    pub(crate) value: Value,
    pub(crate) span: Span,
}

#[derive(Clone)]
pub(crate) enum Value {
    Cpus,
    Workers(u64),
    Number(u64),
    Runtime(Runtime),
    Spawn(Spawn),
    Output(Output),
    Restart(Restart),
    Policy(Policy),
    /// A function that picks.
    OwnPolicy(syn::ExprPath),
    Overload(Overload),
    Millis(u64),
    Secs(u64),
    /// A duration that never ends.
    Never,
    Text(LitStr),
    Texts(Vec<LitStr>),
    /// A variable's name, and its value.
    Variable(LitStr, LitStr),
    Function(syn::ExprPath),
    Addresses(Vec<LitStr>),
}

/// Its variants are named as the runtime's are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Runtime {
    CurrentThread,
    MultiThread,
    Actix,
    None,
}

/// Its variants are named as the runtime's are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Restart {
    Always,
    OnFailure,
    Never,
}

/// Its variants are named as the runtime's are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Overload {
    Wait,
    Refuse,
}

#[derive(Clone, Copy)]
enum Takes {
    Workers,
    Number { least: u64, most: u64 },
    Runtime,
    Spawn,
    Output,
    Restart,
    Policy,
    Overload,
    Duration,
    DurationOrOff,
    Size,
    Bool,
    Text,
    Texts,
    Variables,
    Function,
    Addresses,
    Crate,
}

const COUNT: Takes = Takes::Number { least: 1, most: usize::MAX as u64 };

/// Every argument: its name, what it takes, and a value to show to whoever got it wrong.
const ARGUMENTS: &[(&str, Takes, &str)] = &[
    ("workers", Takes::Workers, "\"cpus\""),
    ("threads", COUNT, "2"),
    ("runtime", Takes::Runtime, "\"multi_thread\""),
    ("swap", Takes::Bool, "false"),
    ("spawn", Takes::Spawn, "\"exec\""),
    ("cwd", Takes::Text, "\"/srv\""),
    ("env", Takes::Variables, "[\"NAME=value\"]"),
    ("args", Takes::Texts, "[\"--quiet\"]"),
    ("output", Takes::Output, "\"tagged\""),
    ("user", Takes::Text, "\"www-data\""),
    ("group", Takes::Text, "\"www-data\""),
    ("restart", Takes::Restart, "\"on-failure\""),
    // 0 gives up at the first death that nobody asked for.
    ("max_restarts", Takes::Number { least: 0, most: u32::MAX as u64 }, "5"),
    ("restart_window", Takes::Duration, "\"1m\""),
    ("startup_timeout", Takes::Duration, "\"60s\""),
    ("drain_timeout", Takes::Duration, "\"30s\""),
    ("heartbeat_timeout", Takes::DurationOrOff, "\"60s\""),
    ("pre_drain", Takes::Duration, "\"5s\""),
    ("max_requests", COUNT, "100000"),
    ("max_memory", Takes::Size, "\"512MB\""),
    ("max_age", Takes::Duration, "\"24h\""),
    ("max_connections", COUNT, "10000"),
    ("max_surge", COUNT, "2"),
    ("policy", Takes::Policy, "\"least-connections\""),
    ("overload", Takes::Overload, "\"refuse\""),
    ("listen", Takes::Addresses, "[\"127.0.0.1:8000\"]"),
    ("preload", Takes::Function, "warm_up"),
    ("primary", Takes::Function, "setup"),
    ("on_fork", Takes::Function, "forked"),
    ("on_online", Takes::Function, "online"),
    ("on_listening", Takes::Function, "listening"),
    ("on_message", Takes::Function, "message"),
    ("on_message_with", Takes::Function, "received"),
    ("on_ask", Takes::Function, "answer"),
    ("on_disconnect", Takes::Function, "disconnected"),
    ("on_output", Takes::Function, "printed"),
    ("on_exit", Takes::Function, "goodbye"),
    ("on_reload", Takes::Function, "reloaded"),
    ("on_upgrade", Takes::Function, "upgraded"),
    ("crate", Takes::Crate, "\"my_crate::cluster\""),
];

/// What whoever comes from `#[tokio::main]` will try; too far away for [`nearest`].
const TOKIO_NAMES: [(&str, &str); 2] = [("worker_threads", "threads"), ("flavor", "runtime")];

impl Args {
    pub(crate) fn parse(tokens: TokenStream, actix: bool, errors: &mut Errors) -> Args {
        let mut args = Args { cluster: syn::parse_quote!(::cluster), swap: actix, calls: Vec::new() };
        let mut seen: Vec<Ident> = Vec::new();
        for (name, expr) in split(tokens, errors) {
            let Some(&(_, takes, example)) = ARGUMENTS.iter().find(|(known, ..)| name == known) else {
                errors.push(Error::new(name.span(), unknown(&name.to_string())));
                continue;
            };
            if seen.contains(&name) {
                errors.push(Error::new(name.span(), format!("`{name}` is set more than once")));
                continue;
            }
            seen.push(name.clone());
            let Some(expr) = expr else {
                let message = format!("`{name}` needs a value: write `{name} = {example}`");
                errors.push(Error::new(name.span(), message));
                continue;
            };
            if let Err(error) = args.set(name, takes, example, ungrouped(&expr), actix) {
                errors.push(error);
            }
        }
        args.contradictions(errors);
        args
    }

    fn set(&mut self, name: Ident, takes: Takes, example: &str, expr: &Expr, actix: bool) -> syn::Result<()> {
        let span = expr.span();
        let wrong = || {
            let message = format!("`{name}` takes {}, such as `{name} = {example}`", takes.what());
            Err(Error::new(span, message))
        };
        let needs_actix = |what: &str| {
            let message =
                format!("`{name} = {what}` needs the feature `actix` of the package `cluster-runtime`");
            Err(Error::new(span, message))
        };
        match takes {
            Takes::Bool => match expr {
                Expr::Lit(ExprLit { lit: Lit::Bool(swap), .. }) if swap.value && !actix => {
                    return needs_actix("true");
                }
                Expr::Lit(ExprLit { lit: Lit::Bool(swap), .. }) => self.swap = swap.value,
                _ => return wrong(),
            },
            Takes::Crate => match expr {
                Expr::Path(path) if path.qself.is_none() => self.cluster = path.path.clone(),
                Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                    match text.parse_with(Path::parse_mod_style) {
                        Ok(path) => self.cluster = path,
                        Err(_) => return wrong(),
                    }
                }
                _ => return wrong(),
            },
            Takes::Texts | Takes::Variables => {
                let Some(texts) = born::texts(expr) else { return wrong() };
                if matches!(takes, Takes::Texts) {
                    self.calls.push(Call { value: Value::Texts(texts), name, span });
                    return Ok(());
                }
                for text in texts {
                    let Some(value) = born::variable(&text) else { return wrong() };
                    self.calls.push(Call { value, name: name.clone(), span: text.span() });
                }
            }
            _ => match takes.read(&name, expr) {
                Some(Ok(Value::Runtime(Runtime::Actix))) if !actix => return needs_actix("\"actix\""),
                Some(value) => self.calls.push(Call { value: value?, name, span }),
                None => return wrong(),
            },
        }
        Ok(())
    }

    /// The runtime asked for, and where.
    pub(crate) fn runtime(&self) -> Option<(Runtime, Span)> {
        self.calls.iter().find_map(|call| match call.value {
            Value::Runtime(runtime) => Some((runtime, call.span)),
            _ => None,
        })
    }

    fn contradictions(&self, errors: &mut Errors) {
        let call = |name: &str| self.calls.iter().find(|call| call.name == name);
        if let Some(threads) = call("threads") {
            let message = match self.runtime() {
                Some((Runtime::None, _)) => "`runtime = \"none\"` starts no threads: remove `threads`",
                Some((Runtime::CurrentThread, _)) if !matches!(threads.value, Value::Number(1)) => {
                    "`runtime = \"current_thread\"` has one thread: write `runtime = \"multi_thread\"` for more"
                }
                _ => "",
            };
            if !message.is_empty() {
                errors.push(Error::new(threads.span, message));
            }
        }
        if call("restart").is_some_and(|restart| matches!(restart.value, Value::Restart(Restart::Never))) {
            for limit in ["max_restarts", "restart_window"].into_iter().filter_map(call) {
                let message =
                    format!("`restart = \"never\"` leaves nothing to limit: remove `{}`", limit.name);
                errors.push(Error::new(limit.name.span(), message));
            }
        }
    }
}

impl Errors {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// One `compile_error!` per error.
    pub(crate) fn into_compile_errors(self) -> TokenStream {
        self.0.map(Error::into_compile_error).unwrap_or_default()
    }
}

/// `name = value, name, ..`. An argument that cannot be parsed costs only itself, so that the others are
/// still checked.
fn split(tokens: TokenStream, errors: &mut Errors) -> Vec<(Ident, Option<Expr>)> {
    let mut given = Vec::new();
    let parser = |input: ParseStream| {
        while !input.is_empty() {
            match argument(input) {
                Ok(argument) => given.push(argument),
                Err(error) => {
                    errors.push(error);
                    while !input.is_empty() && !input.peek(Token![,]) {
                        input.parse::<proc_macro2::TokenTree>()?;
                    }
                }
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    };
    if let Err(error) = parser.parse2(tokens) {
        errors.push(error);
    }
    given
}

fn argument(input: ParseStream) -> syn::Result<(Ident, Option<Expr>)> {
    // `crate` is a keyword, and an argument.
    if !input.peek(Ident::peek_any) {
        return Err(input.error("expected an argument, such as `workers = \"cpus\"`"));
    }
    let name = input.call(Ident::parse_any)?;
    if input.is_empty() || input.peek(Token![,]) {
        return Ok((name, None));
    }
    if !input.peek(Token![=]) {
        let message = format!("expected a value after `{name}`, as in `{name} = ..`");
        return Err(Error::new(input.span(), message));
    }
    input.parse::<Token![=]>()?;
    let value = input.parse()?;
    if !input.is_empty() && !input.peek(Token![,]) {
        return Err(input.error("expected `,`"));
    }
    Ok((name, Some(value)))
}

impl Takes {
    /// The value of a builder call; nothing if it is not of the right kind at all.
    fn read(self, name: &Ident, expr: &Expr) -> Option<syn::Result<Value>> {
        let lit = match expr {
            _ if matches!(self, Takes::Addresses) => {
                return Some(addresses(expr)?.map(Value::Addresses));
            }
            Expr::Lit(lit) => &lit.lit,
            Expr::Path(path) if matches!(self, Takes::Function) => {
                return Some(Ok(Value::Function(path.clone())));
            }
            Expr::Path(path) if matches!(self, Takes::Policy) => {
                return Some(Ok(Value::OwnPolicy(path.clone())));
            }
            _ => return None,
        };
        Some(match (self, lit) {
            (Takes::Workers, Lit::Str(text)) => choice(name, text, &[("cpus", Value::Cpus)], " or a number"),
            (Takes::Workers, Lit::Int(int)) if int.base10_digits() == "0" => Err(Error::new(
                int.span(),
                "`workers` may not be 0: to run the body unclustered, in the process that was started, \
                 start the program with CLUSTER_WORKERS=0",
            )),
            (Takes::Workers, Lit::Int(int)) => number(name, int, 1, usize::MAX as u64).map(Value::Workers),
            (Takes::Number { least, most }, Lit::Int(int)) => {
                number(name, int, least, most).map(Value::Number)
            }
            (Takes::DurationOrOff, Lit::Str(text)) if text.value() == "off" => Ok(Value::Never),
            (Takes::Size, Lit::Str(text)) => size(&text.value())
                .map(Value::Number)
                .map_err(|why| Error::new(text.span(), format!("`{name}` {why}"))),
            (Takes::Duration | Takes::DurationOrOff, Lit::Str(text)) => {
                duration(&text.value()).map_err(|why| Error::new(text.span(), format!("`{name}` {why}")))
            }
            (Takes::Duration | Takes::DurationOrOff, Lit::Int(int)) => {
                // Without a unit it is wrong whatever the number, and the text's errors tell why.
                let why = duration(int.base10_digits()).err().unwrap_or_default();
                Err(Error::new(int.span(), format!("`{name}` {why}")))
            }
            (Takes::Runtime, Lit::Str(text)) => {
                let choices = [
                    ("current_thread", Value::Runtime(Runtime::CurrentThread)),
                    ("multi_thread", Value::Runtime(Runtime::MultiThread)),
                    ("actix", Value::Runtime(Runtime::Actix)),
                    ("none", Value::Runtime(Runtime::None)),
                ];
                choice(name, text, &choices, "")
            }
            (Takes::Text, Lit::Str(text)) if born::is_plain(text) => Ok(Value::Text(text.clone())),
            (Takes::Spawn, Lit::Str(text)) => choice(name, text, &born::SPAWN, ""),
            (Takes::Output, Lit::Str(text)) => choice(name, text, &born::OUTPUT, ""),
            (Takes::Restart, Lit::Str(text)) => {
                let choices = [
                    ("always", Value::Restart(Restart::Always)),
                    ("on-failure", Value::Restart(Restart::OnFailure)),
                    ("never", Value::Restart(Restart::Never)),
                ];
                choice(name, text, &choices, "")
            }
            (Takes::Policy, Lit::Str(text)) => choice(name, text, &POLICIES, ""),
            (Takes::Overload, Lit::Str(text)) => {
                let choices = [
                    ("wait", Value::Overload(Overload::Wait)),
                    ("refuse", Value::Overload(Overload::Refuse)),
                ];
                choice(name, text, &choices, "")
            }
            _ => return None,
        })
    }

    fn what(self) -> &'static str {
        match self {
            Takes::Workers => "\"cpus\" or a number",
            Takes::Number { .. } => "a number",
            Takes::Runtime | Takes::Spawn | Takes::Output | Takes::Restart | Takes::Overload => "a string",
            Takes::Policy => "a string, or the path of a function",
            Takes::Text => "a string that is not empty and has no NUL",
            Takes::Texts => "a list of strings without NULs",
            Takes::Variables => "a list of variables",
            Takes::Duration => "a duration in quotes",
            Takes::DurationOrOff => "a duration in quotes, or \"off\"",
            Takes::Size => "a size in quotes",
            Takes::Bool => "`true` or `false`",
            Takes::Function => "the path of a function",
            Takes::Addresses => "addresses in quotes",
            Takes::Crate => "a path",
        }
    }
}

/// A value that a `macro_rules!` passed on comes in an invisible group.
pub(crate) fn ungrouped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => ungrouped(&group.expr),
        expr => expr,
    }
}

fn unknown(name: &str) -> String {
    let meant = TOKIO_NAMES.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours);
    let hint = match meant.or_else(|| nearest(name)) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => String::new(),
    };
    let known: Vec<_> = ARGUMENTS.iter().map(|(known, ..)| format!("`{known}`")).collect();
    let known = list(&known, "and");
    format!("unknown argument `{name}`{hint}\nthe arguments are {known}")
}

/// The argument that differs least, if it is near enough to be a slip of the hand.
fn nearest(name: &str) -> Option<&'static str> {
    let (distance, known) = ARGUMENTS.iter().map(|(known, ..)| (distance(name, known), *known)).min()?;
    (distance <= name.len().max(3) / 3).then_some(known)
}

/// Levenshtein's: insertions, removals and replacements from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
