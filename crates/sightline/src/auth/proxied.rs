//! Users of a proxy in front of us: what their groups let them do.
//!
//! Does not belong here: whether the proxy is believed ([`crate::http::forwarded`]).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::people::People;
use super::{Principal, Rights, Role, Streams};

/// A group of a proxy, or of whoever else knows our people, and the role of who is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRole {
    group: Box<str>,
    role: Box<str>,
}

/// A text that is no group with its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a group and its role, such as \"camera-admins = admin\"; no comma or | in it, which stand between groups"
)]
pub struct NoGroupRole;

impl FromStr for GroupRole {
    type Err = NoGroupRole;

    fn from_str(text: &str) -> Result<Self, NoGroupRole> {
        // A group may hold the sign, as those of LDAP do; a role does not.
        let (group, role) = text.rsplit_once('=').ok_or(NoGroupRole)?;
        let (group, role) = (group.trim(), role.trim());
        match group.is_empty() || role.is_empty() || group.contains([',', '|']) {
            true => Err(NoGroupRole),
            false => Ok(Self {
                group: group.into(),
                role: role.into(),
            }),
        }
    }
}

impl fmt::Display for GroupRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.group, self.role)
    }
}

/// What groups are good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Roles by group. Who is in several may what any of them may.
    pub roles: Vec<GroupRole>,
    /// The role of who is in none of them. `None`: nothing.
    pub default: Option<Box<str>>,
}

/// Somebody whom a proxy let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// As the proxy says it.
    pub name: Box<str>,
    /// The role, where it is one.
    pub role: Option<Box<str>>,
    /// What it may do. Without a role nothing.
    pub rights: Rights,
}

impl Groups {
    /// Who it is that has this name and these groups. Roles are ours or were made in the page; one that is not there is worth nothing.
    pub fn principal(&self, people: &People, name: &str, groups: &[Box<str>]) -> Principal {
        let of_groups = self.roles.iter().filter(|known| groups.contains(&known.group));
        let mut roles: Vec<&str> = of_groups.map(|known| &*known.role).collect();
        if roles.is_empty() {
            roles.extend(self.default.as_deref());
        }
        roles.sort_unstable();
        roles.dedup();
        let rights = roles.iter().filter_map(|role| people.rights_of(role, &[Streams::All]));
        let rights = rights.fold(Rights::none(), |all, rights| all.or(&rights));
        // The one that has all the others in it.
        let of_ours: Option<Vec<Role>> = roles.iter().map(|role| role.parse().ok()).collect();
        let of_ours = of_ours.unwrap_or_default();
        let has_all = |role: &&Role| {
            of_ours
                .iter()
                .all(|other| other.actions().iter().all(|action| role.actions().contain(action)))
        };
        let named = of_ours.iter().find(has_all).map(|role| role.name());
        let only = || match roles.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        Principal::Proxied(Arc::new(Proxied {
            name: name.into(),
            role: named.or_else(only).map(Into::into),
            rights,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Action, Object, may};
    use rstest::rstest;

    #[rstest]
    #[case(&["family"], Some("viewer"))]
    #[case(&["family", "staff"], Some("operator"))]
    #[case(&["cn=root"], Some("admin"))]
    #[case(&["strangers"], None)]
    #[case(&[], None)]
    #[case(&["ghosts"], Some("ghost"))]
    fn groups_are_roles(#[case] groups: &[&str], #[case] role: Option<&str>) {
        let roles = ["family = viewer", "staff=operator", "cn=root = admin", "ghosts = ghost"];
        let roles = Groups {
            roles: roles.map(|text| text.parse().unwrap()).to_vec(),
            default: None,
        };
        let groups: Vec<Box<str>> = groups.iter().map(|group| (*group).into()).collect();
        let Principal::Proxied(proxied) = roles.principal(&People::default(), "anna", &groups) else {
            panic!("not a proxy's user");
        };
        assert_eq!(proxied.role.as_deref(), role);
        let known = role.and_then(|role| role.parse::<Role>().ok());
        let who = Principal::Proxied(Arc::clone(&proxied));
        for action in Action::ALL {
            let expected = known.is_some_and(|role| role.rights().may(action, Object::Program));
            assert_eq!(may(&who, action, Object::Program).is_allowed(), expected, "{action:?}");
        }
    }

    #[test]
    fn who_is_in_no_group_has_the_default() {
        let roles = Groups {
            roles: vec!["staff = operator".parse().unwrap()],
            default: Some("viewer".into()),
        };
        let who = roles.principal(&People::default(), "anna", &["others".into()]);
        assert!(may(&who, Action::View, Object::Program).is_allowed());
        assert!(!may(&who, Action::Operate, Object::Program).is_allowed());
    }

    #[rstest]
    #[case("")]
    #[case("admin")]
    #[case("= admin")]
    #[case("staff =")]
    #[case("cn=root,ou=x = admin")]
    #[case("staff|family = admin")]
    fn what_is_none_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<GroupRole>(), Err(NoGroupRole));
    }
}
