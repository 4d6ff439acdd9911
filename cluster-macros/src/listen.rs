//! The argument `listen`: addresses, read as the runtime reads them.

use std::net::SocketAddr;

use syn::{Error, Expr, ExprLit, Lit, LitStr};

/// `["127.0.0.1:8000", "unix:/run/app.sock"]`, or one address without brackets; nothing if it is neither.
pub(crate) fn addresses(expr: &Expr) -> Option<syn::Result<Vec<LitStr>>> {
    let given: Vec<&LitStr> = match expr {
        Expr::Array(array) => array.elems.iter().map(text).collect::<Option<_>>()?,
        one => vec![text(one)?],
    };
    if given.is_empty() {
        return Some(Err(Error::new_spanned(expr, "`listen` needs an address, or is left out")));
    }
    let mut errors =
        given.iter().filter_map(|address| check(&address.value()).err().map(|why| (address, why)));
    let first = errors.next().map(|(address, why)| error(address, &why));
    let all = errors.fold(first, |all, (address, why)| {
        all.map(|mut all| {
            all.combine(error(address, &why));
            all
        })
    });
    Some(all.map_or(Ok(given.into_iter().cloned().collect()), Err))
}

fn text(expr: &Expr) -> Option<&LitStr> {
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text),
        // What a `macro_rules!` passed on.
        Expr::Group(group) => text(&group.expr),
        _ => None,
    }
}

fn check(address: &str) -> Result<(), String> {
    let socket = match address.split_once(':') {
        Some(("unix", "")) => return Err("there is no path".to_owned()),
        Some(("unix", _)) => return Ok(()),
        Some(("udp", socket)) => socket,
        _ => address,
    };
    match socket.parse::<SocketAddr>() {
        Ok(_) => Ok(()),
        Err(_) if socket.parse::<std::net::IpAddr>().is_ok() => Err("there is no port".to_owned()),
        Err(_) if socket.starts_with("localhost:") => {
            Err("a host name may be many addresses: write \"127.0.0.1\" or \"[::1]\"".to_owned())
        }
        Err(_) => Err("this is no address".to_owned()),
    }
}

fn error(address: &LitStr, why: &str) -> Error {
    let message = format!(
        "`listen` cannot be \"{}\": {why}\nit takes addresses such as \"127.0.0.1:8000\", \"[::]:80\", \
         \"unix:/run/app.sock\" and \"udp:0.0.0.0:53\"",
        address.value()
    );
    Error::new(address.span(), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Result<usize, Vec<String>>> {
        let expr: Expr = syn::parse_str(text).expect("an expression");
        let read = addresses(&expr)?;
        Some(
            read.map(|all| all.len()).map_err(|all| all.into_iter().map(|error| error.to_string()).collect()),
        )
    }

    #[test]
    fn one_and_many() {
        assert_eq!(read("\"127.0.0.1:8000\""), Some(Ok(1)));
        assert_eq!(read("[\"[::]:80\", \"unix:/run/a.sock\", \"udp:0.0.0.0:53\"]"), Some(Ok(3)));
        assert_eq!(read("8000"), None);
        assert_eq!(read("[8000]"), None);
    }

    #[test]
    fn each_bad_one_is_told() {
        let errors = read("[\"localhost:80\", \"[::]:80\", \"unix:\", \"127.0.0.1\", \"8000\"]");
        let errors = errors.expect("strings").expect_err("bad ones");
        let whys = ["host name", "no path", "no port", "no address"];
        assert_eq!(errors.len(), whys.len(), "{errors:?}");
        for (error, why) in errors.iter().zip(whys) {
            assert!(error.contains(why) && error.contains("unix:/run/app.sock"), "{error}");
        }
        assert!(read("[]").expect("an array").is_err());
    }
}
