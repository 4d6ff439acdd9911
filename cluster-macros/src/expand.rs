//! What the attribute writes. No runtime logic is here: a person could write the same by hand.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::{AttrStyle, Attribute, Error, Path, ReturnType, Signature, Visibility, braced};

use crate::args::{Args, Call, Errors, Runtime, Value};
use crate::swap::{Swapped, swap};

pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    expand_with(cfg!(feature = "actix"), args, item)
}

/// `expand`, told whether the feature `actix` is on.
pub(crate) fn expand_with(actix: bool, args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = Args::parse(args, actix, &mut errors);
    // On an error the item is written all the same: editors go on to complete in the body, and rustc does not
    // also complain that `main` is missing.
    let mut tokens = match syn::parse2::<Main>(item.clone()) {
        Ok(main) => {
            main.check(&args, &mut errors);
            main.expand(&args)
        }
        Err(error) => {
            errors.push(error);
            item
        }
    };
    tokens.extend(errors.into_compile_errors());
    tokens
}

/// `fn main`, its body left as it was typed: what is wrong in there is for rustc to say, in its own words and
/// place.
struct Main {
    attrs: Vec<Attribute>,
    vis: Visibility,
    sig: Signature,
    brace: syn::token::Brace,
    body: TokenStream,
}

impl Parse for Main {
    fn parse(input: ParseStream) -> syn::Result<Main> {
        let mut attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig = input.parse()?;
        let content;
        let brace = braced!(content in input);
        // The body moves into a function of its own; what was said of all of it stays true for all that is
        // generated.
        attrs.extend(content.call(Attribute::parse_inner)?.into_iter().map(|mut attr| {
            attr.style = AttrStyle::Outer;
            attr
        }));
        Ok(Main { attrs, vis, sig, brace, body: content.parse()? })
    }
}

impl Main {
    fn check(&self, args: &Args, errors: &mut Errors) {
        let sig = &self.sig;
        if sig.ident != "main" {
            let message = "`#[cluster::main]` is for `fn main`: a fork is made of the whole process, \
                 before all else. Elsewhere use `cluster::Cluster` by hand";
            errors.push(Error::new(sig.ident.span(), message));
        }
        if !sig.inputs.is_empty() {
            errors.push(Error::new_spanned(&sig.inputs, "`fn main` takes no arguments"));
        }
        if !sig.generics.params.is_empty() {
            errors.push(Error::new_spanned(&sig.generics, "`fn main` cannot be generic"));
        }
        match (sig.asyncness, args.runtime()) {
            (Some(_), Some((Runtime::None, span))) => errors.push(Error::new(
                span,
                "`runtime = \"none\"` is for a `fn main` that is not async: remove `async`, \
                 or choose another runtime",
            )),
            (None, None) => errors.push(Error::new(
                sig.fn_token.span,
                "`fn main` is not async: write `async fn main`, \
                 or `runtime = \"none\"` for a body that needs no runtime",
            )),
            (None, Some((runtime, span))) if runtime != Runtime::None => errors.push(Error::new(
                span,
                "this runtime is for an async body: write `async fn main`, or `runtime = \"none\"`",
            )),
            _ => {}
        }
    }

    fn expand(self, args: &Args) -> TokenStream {
        let Main { attrs, vis, sig, brace, body } = self;
        let swapped = if args.swap { swap(body, &args.cluster) } else { Swapped::untouched(body) };
        let inner = inner(&sig, brace, &swapped);
        let mut outer = Signature { asyncness: None, ..sig.clone() };
        let start = if sig.inputs.is_empty() && sig.generics.params.is_empty() {
            start(&sig, args)
        } else {
            // Already refused: a call of it, or its signature on this page, would only add rustc's complaints
            // to ours.
            (outer.inputs, outer.generics, outer.output) =
                (Default::default(), Default::default(), ReturnType::Default);
            quote!(::core::unreachable!())
        };
        let marks = &swapped.marks;
        quote! {
            #(#attrs)*
            #vis #outer {
                #(#marks)*
                #inner
                #start
            }
        }
    }
}

/// The body, in a function of the same signature. An async block would read nearly the same, but would not
/// know what `main` returns: a wrong type would be shown as that of the whole block, and
/// `Err(Box::new(error))` would not become the `Box<dyn Error>` that it becomes in a function.
fn inner(sig: &Signature, brace: syn::token::Brace, swapped: &Swapped) -> TokenStream {
    let Signature { asyncness, fn_token, ident, generics, inputs, output, .. } = sig;
    let (params, filter) = (&generics.params, &generics.where_clause);
    let params = (!params.is_empty()).then(|| quote!(<#params>));
    // Said of an async function only; under other attributes of this kind clippy sees a `main` that is not
    // one.
    let allow = asyncness.map(|_| quote!(#[allow(clippy::future_not_send, clippy::unused_async)]));
    let mut tokens = quote!(#allow #asyncness #fn_token #ident #params (#inputs) #output #filter);
    brace.surround(&mut tokens, |tokens| {
        swapped.import.to_tokens(tokens);
        swapped.body.to_tokens(tokens);
    });
    tokens
}

/// The page that the attribute stands for.
fn start(sig: &Signature, args: &Args) -> TokenStream {
    let cluster = &args.cluster;
    let calls = args.calls.iter().map(|call| call.tokens(cluster));
    let main = &sig.ident;
    let run = match sig.asyncness {
        Some(_) => quote!(block_on(#main())),
        None => quote!(run(#main)),
    };
    // No name of ours may meet one of the user's.
    let end = Ident::new("end", Span::mixed_site());
    let worker = Ident::new("worker", Span::mixed_site());
    quote! {
        match #cluster::Cluster::new() #(#calls)* .start() {
            #cluster::Role::Primary(#end) => #end.exit(),
            #cluster::Role::Worker(#worker) => #worker.#run,
        }
    }
}

impl Call {
    fn tokens(&self, cluster: &Path) -> TokenStream {
        let value = self.value.tokens(cluster, self.span);
        let name = &self.name;
        quote!(.#name(#value))
    }
}

impl Value {
    fn tokens(&self, cluster: &Path, span: Span) -> TokenStream {
        let number = |number: u64| {
            let mut literal = Literal::u64_unsuffixed(number);
            literal.set_span(span);
            literal
        };
        match self {
            Value::Cpus => quote_spanned!(span=> #cluster::Workers::Cpus),
            Value::Workers(workers) => {
                let workers = number(*workers);
                quote_spanned!(span=> #cluster::Workers::Count(#workers))
            }
            Value::Number(value) => number(*value).into_token_stream(),
            Value::Runtime(runtime) => {
                let runtime = Ident::new(&format!("{runtime:?}"), span);
                quote_spanned!(span=> #cluster::Runtime::#runtime)
            }
            Value::Spawn(spawn) => {
                let spawn = Ident::new(&format!("{spawn:?}"), span);
                quote_spanned!(span=> #cluster::Spawn::#spawn)
            }
            Value::Output(output) => {
                let output = Ident::new(&format!("{output:?}"), span);
                quote_spanned!(span=> #cluster::Output::#output)
            }
            Value::Restart(restart) => {
                let restart = Ident::new(&format!("{restart:?}"), span);
                quote_spanned!(span=> #cluster::Restart::#restart)
            }
            Value::Policy(policy) => {
                let policy = Ident::new(&format!("{policy:?}"), span);
                quote_spanned!(span=> #cluster::Policy::#policy)
            }
            Value::OwnPolicy(path) => quote_spanned!(span=> #cluster::Policy::Own(#path)),
            Value::Overload(overload) => {
                let overload = Ident::new(&format!("{overload:?}"), span);
                quote_spanned!(span=> #cluster::Overload::#overload)
            }
            Value::Millis(millis) => {
                let millis = number(*millis);
                quote_spanned!(span=> ::std::time::Duration::from_millis(#millis))
            }
            Value::Secs(secs) => {
                let secs = number(*secs);
                quote_spanned!(span=> ::std::time::Duration::from_secs(#secs))
            }
            Value::Never => quote_spanned!(span=> ::std::time::Duration::MAX),
            Value::Text(text) => text.into_token_stream(),
            // Without an element nothing would say of what it is a list.
            Value::Texts(texts) => quote_spanned!(span=> [#(#texts),*] as [&str; _]),
            Value::Variable(name, value) => quote_spanned!(span=> #name, #value),
            Value::Function(path) => path.into_token_stream(),
            Value::Addresses(addresses) => quote_spanned!(span=> [#(#addresses),*]),
        }
    }
}

#[cfg(test)]
#[path = "expand_tests.rs"]
mod tests;
