//! Whether a program could be the primary: what is found out before anything is done.

use std::io;

use crate::config::{BadSetting, Settings, Workers};
use crate::ipc::check;
use crate::primary::adopt;
use crate::sys::credentials::Credentials;

/// What they name, and can only be looked up.
pub(crate) fn check_settings(settings: &Settings) -> io::Result<Option<Credentials>> {
    settings.fork.check()?;
    Credentials::of(settings.user.as_deref(), settings.group.as_deref())
}

/// In a program that is asked: the version of the state that it writes, or what is in the way.
pub(crate) fn could_take_over(
    settings: Result<Settings, BadSetting>,
    asked: &check::Asked,
) -> Result<u32, String> {
    let settings = fit(settings)?;
    check_settings(&settings).map_err(|error| error.to_string())?;
    adopt::could_read(&asked.state)?;
    Ok(adopt::VERSION)
}

pub(crate) fn fit(settings: Result<Settings, BadSetting>) -> Result<Settings, String> {
    match settings {
        Ok(settings) if settings.workers == Workers::Count(0) => {
            Err("it would run unclustered: CLUSTER_WORKERS or `workers` is 0".to_owned())
        }
        settings => settings.map_err(|error| error.to_string()),
    }
}
