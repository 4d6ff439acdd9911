//! Another user, from a worker's birth on.
//!
//! Names are looked up in the primary, before anything starts: in a child between fork and exec nothing may be asked of a
//! user database, and an unknown name is better told at once.

use std::ffi::CString;
use std::io;

use nix::unistd::{Group, User, getgrouplist, getresgid, getresuid};
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

/// Who a worker is to be. What is not named stays as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Credentials {
    uid: Option<Uid>,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Credentials {
    /// A user by name or number, with the groups that are its own, or a group alone; nothing where nobody is named.
    pub(crate) fn of(user: Option<&str>, group: Option<&str>) -> io::Result<Option<Credentials>> {
        let group = group.map(gid_of).transpose()?;
        let Some(user) = user else {
            return Ok(group.map(|gid| Credentials { uid: None, gid, groups: vec![gid] }));
        };
        let found = find_user(user)?;
        let gid = group.or(found.as_ref().map(|found| Gid::from_raw(found.gid.as_raw())));
        let Some(gid) = gid else {
            return Err(unknown(format!(
                "user = {user:?} has no entry that tells its group: name a group too"
            )));
        };
        let Some(found) = found else {
            return Ok(Some(Credentials {
                uid: user.parse().ok().map(Uid::from_raw),
                gid,
                groups: vec![gid],
            }));
        };
        let groups = getgrouplist(&CString::new(found.name)?, nix::unistd::Gid::from_raw(gid.as_raw()))?;
        let groups = groups.into_iter().map(|group| Gid::from_raw(group.as_raw())).collect();
        Ok(Some(Credentials { uid: Some(Uid::from_raw(found.uid.as_raw())), gid, groups }))
    }

    /// Becomes it, for good; in a process of one thread. System calls only: also right before an exec.
    ///
    /// The calls are the kernel's own, which are a thread's; those of the C library would look for the others.
    pub(crate) fn take_on(&self) -> io::Result<()> {
        set_thread_groups(&self.groups)?;
        set_thread_res_gid(self.gid, self.gid, self.gid)?;
        if let Some(uid) = self.uid {
            set_thread_res_uid(uid, uid, uid)?;
            if !uid.is_root() {
                // The kernel takes them from root only, and not from whoever was given the right to change users.
                let none = CapabilitySet::empty();
                set_capabilities(
                    None,
                    CapabilitySets { effective: none, permitted: none, inheritable: none },
                )?;
            }
        }
        match self.is_taken_on()? {
            true => Ok(()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn is_taken_on(&self) -> io::Result<bool> {
        let (users, groups) = (getresuid()?, getresgid()?);
        let is_user = |user: nix::unistd::Uid| self.uid.is_none_or(|uid| uid.as_raw() == user.as_raw());
        let is_group = |group: nix::unistd::Gid| group.as_raw() == self.gid.as_raw();
        Ok([users.real, users.effective, users.saved].into_iter().all(is_user)
            && [groups.real, groups.effective, groups.saved].into_iter().all(is_group))
    }
}

fn find_user(user: &str) -> io::Result<Option<User>> {
    if let Some(found) = User::from_name(user)? {
        return Ok(Some(found));
    }
    match user.parse() {
        Ok(number) => Ok(User::from_uid(nix::unistd::Uid::from_raw(number))?),
        Err(_) => Err(unknown(format!("user = {user:?} is not known here, and is no number"))),
    }
}

fn gid_of(group: &str) -> io::Result<Gid> {
    let named = Group::from_name(group)?.map(|group| group.gid.as_raw());
    let gid = named.or_else(|| group.parse().ok());
    gid.map(Gid::from_raw)
        .ok_or_else(|| unknown(format!("group = {group:?} is not known here, and is no number")))
}

fn unknown(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r24_names_and_numbers_are_found_and_others_are_told() {
        assert_eq!(Credentials::of(None, None).unwrap(), None);
        let root = Credentials::of(Some("root"), None).unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (Some(Uid::ROOT), Gid::ROOT));
        assert_eq!(Credentials::of(Some("0"), Some("0")).unwrap().unwrap(), root);
        let alone = Credentials::of(None, Some("4242")).unwrap().unwrap();
        assert_eq!((alone.uid, alone.groups), (None, vec![Gid::from_raw(4242)]));
        let stranger = Credentials::of(Some("424242"), Some("4242")).unwrap().unwrap();
        assert_eq!((stranger.uid, stranger.gid), (Some(Uid::from_raw(424242)), Gid::from_raw(4242)));
        for (user, group, told) in [
            (Some("nobody of that name"), None, "is not known here"),
            (None, Some("no group of that name"), "is not known here"),
            (Some("-1"), None, "is not known here"),
            (Some("424242"), None, "name a group too"),
        ] {
            let error = Credentials::of(user, group).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
