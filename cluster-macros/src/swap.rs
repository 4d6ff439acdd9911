//! `HttpServer` in the body of `main` means the cluster's, however the body spells it and wherever it was
//! imported.
//!
//! It is done on tokens, so that it reaches into macro calls too. Three spellings:
//! - a path `actix_web::HttpServer` becomes `::cluster::actix::HttpServer`;
//! - a `use` of it inside the body is split: the rest stays actix-web's;
//! - the bare name, imported outside of the body, meets a nearer `use ::cluster::actix::HttpServer`. So that the user's
//!   import is not reported as unused, a mark outside of the body names it once: `use HttpServer as _`.
//!
//! An import under another name, outside of the body, is out of sight.

use proc_macro2::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::{ItemUse, Path, UseGroup, UsePath, UseTree};

const NAME: &str = "HttpServer";

/// A body with the names swapped, and what has to be written around it.
pub(crate) struct Swapped {
    pub(crate) body: TokenStream,
    /// At the start of the body.
    pub(crate) import: Option<TokenStream>,
    /// Outside of the body's block.
    pub(crate) marks: Vec<TokenStream>,
}

impl Swapped {
    pub(crate) fn untouched(body: TokenStream) -> Swapped {
        Swapped { body, import: None, marks: Vec::new() }
    }
}

pub(crate) fn swap(body: TokenStream, cluster: &Path) -> Swapped {
    let tokens: Vec<TokenTree> = body.into_iter().collect();
    let mut swap =
        Swap { cluster, named: false, globs: Vec::new(), local: declared(&tokens), marks: Vec::new() };
    let imports = Imports::of(&tokens);
    let bare = if imports.is_empty() { bare(&tokens) } else { None };
    if let Some(name) = &bare {
        swap.mark(name);
    }
    let body = swap.block(&tokens);
    Swapped { body, import: bare.map(|_| swap.import()), marks: swap.marks }
}

struct Swap<'a> {
    cluster: &'a Path,
    /// Whether a block around has an import of its own.
    named: bool,
    /// The globs in force at this depth: the name may come from any of them.
    globs: Vec<ItemUse>,
    /// Modules and enums of the body itself: a glob of one of them means nothing outside, and brings no
    /// server.
    local: Vec<Ident>,
    marks: Vec<TokenStream>,
}

/// What the `use` items right inside one pair of braces say about the name.
struct Imports {
    /// It is imported or declared here.
    named: bool,
    /// It may be imported here.
    globs: Vec<ItemUse>,
}

impl Imports {
    fn of(block: &[TokenTree]) -> Imports {
        let declares = |pair: &[TokenTree]| {
            ["struct", "enum", "type", "union", "trait"].iter().any(|word| is(&pair[0], word))
                && is(&pair[1], NAME)
        };
        let mut imports = Imports { named: block.windows(2).any(declares), globs: Vec::new() };
        let items = pieces(block).filter_map(|piece| match piece {
            Piece::Use(item, _) => Some(item),
            Piece::Token(..) => None,
        });
        for item in items {
            imports.named |= leaves(&item.tree, |leaf| match leaf {
                UseTree::Name(name) => name.ident == NAME,
                UseTree::Rename(rename) => rename.rename == NAME,
                _ => false,
            });
            if leaves(&item.tree, |leaf| matches!(leaf, UseTree::Glob(_))) {
                imports.globs.push(item);
            }
        }
        imports
    }

    fn is_empty(&self) -> bool {
        !self.named && self.globs.is_empty()
    }
}

impl Swap<'_> {
    /// The tokens within one pair of braces.
    fn block(&mut self, tokens: &[TokenTree]) -> TokenStream {
        let imports = Imports::of(tokens);
        let (named, depth) = (self.named, self.globs.len());
        self.named |= imports.named;
        let bare = if self.named || imports.globs.is_empty() { None } else { bare(tokens) };
        let local = &self.local;
        let outside = |glob: &ItemUse| !local.iter().any(|ident| starts(&glob.tree, ident));
        self.globs.extend(imports.globs.into_iter().filter(outside));
        // A glob here would win over a `use` further out: the import goes beside it, where it wins over the
        // glob.
        let mut beside = bare.map(|name| {
            self.mark(&name);
            self.import()
        });
        let tokens = self.tokens(tokens, &mut beside);
        self.globs.truncate(depth);
        self.named = named;
        tokens
    }

    fn tokens(&mut self, tokens: &[TokenTree], beside: &mut Option<TokenStream>) -> TokenStream {
        let mut out: Vec<TokenTree> = Vec::new();
        for piece in pieces(tokens) {
            match piece {
                Piece::Use(item, typed) => match self.split(item, beside) {
                    Some(items) => out.extend(items),
                    None => out.extend(typed.iter().cloned()),
                },
                Piece::Token(at, TokenTree::Ident(ident))
                    if ident == "actix_web" && path_to_server(tokens, at) =>
                {
                    if after_colons(tokens, at) {
                        out.truncate(out.len() - 2);
                    }
                    let cluster = self.cluster;
                    out.extend(quote!(#cluster::actix));
                }
                Piece::Token(_, TokenTree::Group(group)) => {
                    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                    let inside = match group.delimiter() {
                        Delimiter::Brace => self.block(&inside),
                        _ => self.tokens(&inside, &mut None),
                    };
                    let mut swapped = Group::new(group.delimiter(), inside);
                    swapped.set_span(group.span());
                    out.push(swapped.into());
                }
                Piece::Token(_, token) => out.push(token.clone()),
            }
        }
        out.into_iter().collect()
    }

    /// A `use` item without actix-web's server, and one of the cluster's; nothing if it stays as it is.
    fn split(&self, item: ItemUse, beside: &mut Option<TokenStream>) -> Option<TokenStream> {
        if leaves(&item.tree, |leaf| matches!(leaf, UseTree::Glob(_)))
            && let Some(import) = beside.take()
        {
            // The name may have been all that was used of this glob.
            return Some(quote!(#[allow(unused_imports)] #item #import));
        }
        let mut servers = Vec::new();
        let rest = without_server(&item.tree, Within::Nothing, &mut servers);
        if servers.is_empty() {
            return None;
        }
        let (attrs, cluster) = (&item.attrs, self.cluster);
        let attrs = quote!(#(#attrs)*);
        let rest = rest.map(|tree| ItemUse { tree, ..item.clone() });
        Some(quote!(#rest #(#attrs use #cluster::actix::#servers;)*))
    }

    fn import(&self) -> TokenStream {
        let cluster = self.cluster;
        let name = Ident::new(NAME, Span::call_site());
        quote!(use #cluster::actix::#name;)
    }

    /// Names the user's import once. With the span of the name in the body: should there be no such import,
    /// that is the place to say so.
    fn mark(&mut self, name: &Ident) {
        let globs = &self.globs;
        let mark = quote_spanned!(name.span()=> #[allow(unused_imports)] use #name as _;);
        self.marks.push(match &globs[..] {
            [] => mark,
            _ => quote!({ #(#[allow(unused_imports)] #globs)* #mark }),
        });
    }
}

/// The first bare `HttpServer` of a block for which the block itself imports nothing.
fn bare(tokens: &[TokenTree]) -> Option<Ident> {
    pieces(tokens).find_map(|piece| match piece {
        Piece::Token(at, TokenTree::Ident(ident)) if ident == NAME && !within_path(tokens, at) => {
            Some(ident.clone())
        }
        Piece::Token(_, TokenTree::Group(group)) => {
            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
            let own = group.delimiter() == Delimiter::Brace && !Imports::of(&inside).is_empty();
            if own { None } else { bare(&inside) }
        }
        _ => None,
    })
}

/// What a block is made of, as far as it matters here.
enum Piece<'a> {
    /// An item, and the tokens it was parsed from.
    Use(ItemUse, &'a [TokenTree]),
    Token(usize, &'a TokenTree),
}

fn pieces(tokens: &[TokenTree]) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let here = at;
        let token = tokens.get(here)?;
        let item = use_item(&tokens[here..]);
        at += item.as_ref().map_or(1, |(_, typed)| typed.len());
        Some(item.map_or(Piece::Token(here, token), |(item, typed)| Piece::Use(item, typed)))
    })
}

/// The `use` item that these tokens begin with, its attributes included.
fn use_item(tokens: &[TokenTree]) -> Option<(ItemUse, &[TokenTree])> {
    let attribute =
        |pair: &&[TokenTree]| is_punct(pair.first(), '#') && matches!(pair.last(), Some(TokenTree::Group(_)));
    let attributes = tokens.chunks_exact(2).take_while(attribute).count();
    if !is(tokens.get(2 * attributes)?, "use") {
        return None;
    }
    let typed = &tokens[..=tokens.iter().position(|token| is_punct(Some(token), ';'))?];
    let item = syn::parse2(typed.iter().cloned().collect()).ok()?;
    Some((item, typed))
}

/// Whether any name or glob at the end of a tree's branches is such.
fn leaves(tree: &UseTree, such: impl Fn(&UseTree) -> bool + Copy) -> bool {
    match tree {
        UseTree::Path(path) => leaves(&path.tree, such),
        UseTree::Group(group) => group.items.iter().any(|tree| leaves(tree, such)),
        leaf => such(leaf),
    }
}

fn starts(tree: &UseTree, with: &Ident) -> bool {
    matches!(tree, UseTree::Path(path) if path.ident == *with)
}

/// How far along a path a branch of a `use` is.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Nothing,
    Actix,
    Deeper,
}

/// The tree without `actix_web::HttpServer`, which is put into `taken` as `HttpServer` or `HttpServer as
/// Name`.
fn without_server(tree: &UseTree, within: Within, taken: &mut Vec<TokenStream>) -> Option<UseTree> {
    match tree {
        UseTree::Name(name) if within == Within::Actix && name.ident == NAME => {
            taken.push(name.to_token_stream());
            None
        }
        UseTree::Rename(rename) if within == Within::Actix && rename.ident == NAME => {
            taken.push(rename.to_token_stream());
            None
        }
        UseTree::Path(path) => {
            let within = match within {
                Within::Nothing if path.ident == "actix_web" => Within::Actix,
                _ => Within::Deeper,
            };
            let tree = Box::new(without_server(&path.tree, within, taken)?);
            Some(UseTree::Path(UsePath { tree, ..path.clone() }))
        }
        UseTree::Group(group) => {
            let items: Punctuated<_, _> =
                group.items.iter().filter_map(|tree| without_server(tree, within, taken)).collect();
            (!items.is_empty()).then(|| UseTree::Group(UseGroup { items, ..group.clone() }))
        }
        other => Some(other.clone()),
    }
}

/// Names of the modules and enums declared anywhere in the body.
fn declared(tokens: &[TokenTree]) -> Vec<Ident> {
    let mut names = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match (token, tokens.get(at + 1)) {
            (TokenTree::Ident(word), Some(TokenTree::Ident(name))) if word == "mod" || word == "enum" => {
                names.push(name.clone());
            }
            (TokenTree::Group(group), _) => {
                names.extend(declared(&group.stream().into_iter().collect::<Vec<_>>()))
            }
            _ => {}
        }
    }
    names
}

fn is(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let joint = matches!(tokens.get(at), Some(TokenTree::Punct(first)) if first.spacing() == Spacing::Joint);
    joint && is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

fn after_colons(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_colons(tokens, at - 2)
}

/// `actix_web` at `at` begins the path `actix_web::HttpServer` or `::actix_web::HttpServer`.
fn path_to_server(tokens: &[TokenTree], at: usize) -> bool {
    let leads = is_colons(tokens, at + 1) && tokens.get(at + 3).is_some_and(|token| is(token, NAME));
    let begins = match tokens.get(at.wrapping_sub(3)) {
        // `crate::actix_web::HttpServer` begins further left, `return ::actix_web::HttpServer` here.
        Some(TokenTree::Ident(before)) if after_colons(tokens, at) => {
            !["crate", "self", "super"].iter().any(|word| before == word)
                && syn::parse2::<syn::Ident>(before.to_token_stream()).is_err()
        }
        _ => !is_punct(at.checked_sub(1).and_then(|before| tokens.get(before)), '.'),
    };
    leads && begins
}

/// A field, a lifetime, or a later part of a path: not the bare name.
fn within_path(tokens: &[TokenTree], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    after_colons(tokens, at) || is_punct(before, '.') || is_punct(before, '\'')
}
