//! What somebody may do, and to which streams.
//!
//! Belongs here: actions, sets of them, roles, [`Rights`] and what two of them come to together ([`Rights::within`]). Does not belong here: who has them
//! ([`super::Principal`]), where they are kept. Nothing here asks for a time or reads anything.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use media::StreamName;

use super::Object;
use crate::config::stream_key::StreamKey;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Take a stream's live pictures, and see how it and the machine are.
    View,
    /// See what was: recordings, their events, exports.
    Replay,
    /// Give a stream pictures.
    Publish,
    /// Steer a stream: keyframes, bitrate, recording, exports, what is protected; see who views it, and end them.
    Operate,
    /// Delete what was recorded.
    Erase,
    /// Change settings, users and tokens.
    Administer,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 6] = [
        Self::View,
        Self::Replay,
        Self::Publish,
        Self::Operate,
        Self::Erase,
        Self::Administer,
    ];

    /// The word for it in settings, rights and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Replay => "replay",
            Self::Publish => "publish",
            Self::Operate => "operate",
            Self::Erase => "erase",
            Self::Administer => "administer",
        }
    }

    /// What it is called when it is refused.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Replay => "play recordings",
            Self::Publish => "publish",
            Self::Operate => "steer",
            Self::Erase => "delete recordings",
            Self::Administer => "administer",
        }
    }

    /// The least of the roles that may do it.
    pub(super) fn least_role(self) -> Role {
        match self {
            Self::View | Self::Replay => Role::Viewer,
            Self::Publish => Role::Publisher,
            Self::Operate | Self::Erase => Role::Operator,
            Self::Administer => Role::Admin,
        }
    }
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Actions(u8);

impl Actions {
    /// These.
    pub const fn of(actions: &[Action]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < actions.len() {
            bits |= 1 << actions[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    /// Whether this one is among them.
    pub fn contain(self, action: Action) -> bool {
        self.0 & 1 << action as u8 != 0
    }

    /// One after the other, in the order of [`Action::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| self.contain(*action))
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a user or token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// May do everything.
    Admin,
    /// May do everything with streams and their recordings.
    Operator,
    /// May publish.
    Publisher,
    /// May view, live and what was recorded.
    Viewer,
}

impl Role {
    /// All roles, most powerful first.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Publisher, Self::Viewer];

    /// The word for it in settings, and the user name of its generated token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Publisher => "publisher",
            Self::Viewer => "viewer",
        }
    }

    /// What it may do.
    pub const fn actions(self) -> Actions {
        match self {
            Self::Admin => Actions::of(&Action::ALL),
            Self::Operator => Actions::of(&[
                Action::View,
                Action::Replay,
                Action::Publish,
                Action::Operate,
                Action::Erase,
            ]),
            Self::Publisher => Actions::of(&[Action::Publish]),
            Self::Viewer => Actions::of(&[Action::View, Action::Replay]),
        }
    }

    /// The same, of all streams.
    pub fn rights(self) -> &'static Rights {
        static ALL: LazyLock<[Rights; 4]> = LazyLock::new(|| Role::ALL.map(Rights::of));
        &ALL[self as usize]
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no role; write admin, operator, publisher or viewer")]
pub struct NoRole;

impl FromStr for Role {
    type Err = NoRole;

    fn from_str(text: &str) -> Result<Self, NoRole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(NoRole)
    }
}

/// Which streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Streams {
    /// All.
    All,
    /// The one of this name, or those that an expression finds.
    Of(StreamKey),
}

impl Streams {
    fn hold(&self, name: &StreamName) -> bool {
        match self {
            Self::All => true,
            Self::Of(StreamKey::Name(own)) => own == name,
            Self::Of(StreamKey::Expression(expression)) => expression.captures(name).is_some(),
        }
    }
}

/// These actions on these streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// What may be done.
    pub actions: Actions,
    /// To what.
    pub streams: Vec<Streams>,
}

/// What somebody may do: any of their shares suffices. Cheap to clone.
///
/// As text: shares with ` ; ` between them, each the actions or roles, a space, and the streams: `view,replay door ~^yard/ ; operator garden`. Without streams
/// all are meant. Rights that were narrowed by others have ` & ` between what has to allow together. Expressions in it hold no white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights(Arc<[Box<[Share]>]>);

impl Rights {
    /// Those of a role, of all streams.
    pub fn of(role: Role) -> Self {
        Self::any([Share {
            actions: role.actions(),
            streams: vec![Streams::All],
        }])
    }

    /// None at all.
    pub fn none() -> Self {
        Self::any([])
    }

    /// What any of these allows.
    pub fn any(shares: impl IntoIterator<Item = Share>) -> Self {
        Self(Arc::from([shares.into_iter().collect::<Box<[Share]>>()]))
    }

    /// What both allow: of a token those it was given, and those that its owner has now.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        let mut all: Vec<Box<[Share]>> = self.0.to_vec();
        for shares in &*other.0 {
            if !all.contains(shares) {
                all.push(shares.clone());
            }
        }
        Self(all.into())
    }

    /// What either allows, where neither was narrowed by others; of those that were, the first alone.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (&*self.0, &*other.0) {
            ([own], [more]) => Self::any(own.iter().chain(more).cloned()),
            _ => self.clone(),
        }
    }

    /// Whether they allow this. Whoever administers sees the program as a whole, whatever streams they may view.
    pub fn may(&self, action: Action, object: Object<'_>) -> bool {
        let all = |action| {
            self.0
                .iter()
                .all(|shares| shares.iter().any(|share| share.allows(action, object)))
        };
        let sees_program = action == Action::View && !matches!(object, Object::Stream(_));
        all(action) || (sees_program && all(Action::Administer))
    }

    /// What has to allow together; each is a list of which one suffices.
    pub fn all_of(&self) -> impl Iterator<Item = &[Share]> {
        self.0.iter().map(|shares| &**shares)
    }
}

impl Share {
    fn allows(&self, action: Action, object: Object<'_>) -> bool {
        if !self.actions.contain(action) {
            return false;
        }
        let is_for_all = || self.streams.contains(&Streams::All);
        match object {
            // Settings know no streams: who may change them for one may change them for all.
            _ if action == Action::Administer => is_for_all(),
            Object::Stream(name) => self.streams.iter().any(|streams| streams.hold(name)),
            Object::Some => !self.streams.is_empty(),
            Object::Program | Object::Metrics => is_for_all(),
        }
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(role) = Role::ALL.iter().find(|role| role.actions() == *self) {
            return role.fmt(f);
        }
        let names: Vec<&str> = self.iter().map(Action::name).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.actions.fmt(f)?;
        self.streams.iter().try_for_each(|streams| write!(f, " {streams}"))
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, shares) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" & ")?;
            }
            // A share without actions or streams allows nothing, and has no text of its own.
            let said = shares
                .iter()
                .filter(|share| share.actions != Actions::default() && !share.streams.is_empty());
            let said: Vec<String> = said.map(Share::to_string).collect();
            match said.is_empty() {
                true => f.write_str(NOTHING)?,
                false => f.write_str(&said.join(" ; "))?,
            }
        }
        Ok(())
    }
}

/// Why a text is no rights, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRights {
    /// Longer than [`Rights::MAX_BYTES`].
    #[error("rights of {0} bytes are too long; 16384 are allowed, and an expression (~^yard/) means many streams")]
    Long(usize),
    /// More of something than are read.
    #[error("{limit} {what} are the most that rights have; give another user or token the others")]
    Many {
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// There is nothing.
    #[error(
        "no rights; write such as \"viewer\", \"viewer door\" or \"view,operate ~^yard/ ; publish door\", or \"nothing\""
    )]
    Empty,
    /// A word that should be actions.
    #[error(
        "{0:?} is no action and no role; there are view, replay, publish, operate, erase, administer, and the roles admin, operator, publisher, viewer"
    )]
    Action(String),
    /// A word that should be a stream.
    #[error("{0:?} is no stream: {1}")]
    Streams(String, String),
}

impl Rights {
    /// Longest text that is read.
    pub const MAX_BYTES: usize = 16 << 10;
}

impl FromStr for Rights {
    type Err = InvalidRights;

    fn from_str(text: &str) -> Result<Self, InvalidRights> {
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidRights::Long(text.len()));
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        check_counts(&words)?;
        let all = words.split(|word| *word == "&").map(|words| {
            if let [NOTHING] = words {
                return Ok(Box::default());
            }
            words.split(|word| *word == ";").map(share).collect()
        });
        all.collect::<Result<Vec<Box<[Share]>>, _>>()
            .map(|all| Self(all.into()))
    }
}

/// Before anything is made of them: rights are written by whoever makes a token, and told by multiplying out what has to allow together.
fn check_counts(words: &[&str]) -> Result<(), InvalidRights> {
    let count = |is: fn(&&&str) -> bool| words.iter().filter(is).count();
    let (groups, between) = (count(|word| **word == "&") + 1, count(|word| **word == ";"));
    let expressions = count(|word| word.starts_with('~'));
    let shares = groups + between;
    let streams = words.len().saturating_sub(2 * shares - 1);
    let counts = [
        ("parts with & between them", groups, MAX_GROUPS),
        ("parts with ; between them", shares, MAX_SHARES),
        ("streams", streams, MAX_STREAMS),
        ("expressions", expressions, MAX_EXPRESSIONS),
    ];
    let many = counts.into_iter().find(|(_, count, limit)| count > limit);
    many.map_or(Ok(()), |(what, _, limit)| Err(InvalidRights::Many { what, limit }))
}

fn streams_of(word: &str) -> Result<Streams, String> {
    match word.starts_with('~') {
        true => StreamKey::within(word, MAX_COMPILED_BYTES)
            .map(Streams::Of)
            .map_err(|error| error.to_string()),
        false => word
            .parse()
            .map_err(|error: crate::config::units::InvalidWord| error.to_string()),
    }
}

fn share(words: &[&str]) -> Result<Share, InvalidRights> {
    let (first, streams) = words.split_first().ok_or(InvalidRights::Empty)?;
    let mut actions = Actions::default();
    for word in first.split(',') {
        let action = Action::ALL.iter().find(|action| action.name() == word);
        let named = action.map(|action| Actions::of(&[*action]));
        let named = named.or_else(|| Some(word.parse::<Role>().ok()?.actions()));
        actions = actions.and(named.ok_or_else(|| InvalidRights::Action(word.to_owned()))?);
    }
    let named = streams
        .iter()
        .map(|word| streams_of(word).map_err(|why| InvalidRights::Streams((*word).to_owned(), why)));
    let mut streams = named.collect::<Result<Vec<_>, _>>()?;
    if streams.is_empty() {
        streams.push(Streams::All);
    }
    Ok(Share { actions, streams })
}

/// The text of no rights.
const NOTHING: &str = "nothing";
/// What rights of one text may have: a token's were narrowed once or twice …
const MAX_GROUPS: usize = 4;
const MAX_SHARES: usize = 100;
const MAX_STREAMS: usize = 100;
/// … and an expression means many streams. Each takes so much memory at most, and each of 2,000 tokens may have as many.
const MAX_EXPRESSIONS: usize = 10;
const MAX_COMPILED_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn rights(text: &str) -> Rights {
        text.parse().unwrap()
    }

    fn name(text: &str) -> StreamName {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("viewer", "viewer *")]
    #[case("view,replay door", "viewer door")]
    #[case(
        "replay,view,replay  door   ~^yard/ ; operate garden",
        "viewer door ~^yard/ ; operate garden"
    )]
    #[case("view,operator", "operator *")]
    #[case("nothing", "nothing")]
    #[case("viewer & view door", "viewer * & view door")]
    fn texts(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(rights(text).to_string(), expected);
        assert_eq!(rights(expected), rights(text));
    }

    #[rstest]
    #[case("", "no rights;")]
    #[case("view ;", "no rights;")]
    #[case("door", "\"door\" is no action and no role;")]
    #[case("view,,replay", "\"\" is no action")]
    #[case("view a b ~(", "\"~(\" is no stream: the expression")]
    #[case("view door;", "\"door;\" is no stream:")]
    fn what_is_none_says_why(#[case] text: &str, #[case] expected: &str) {
        let said = text.parse::<Rights>().unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
    }

    #[test]
    fn long_ones_are_refused() {
        let text = format!("view {}", "a ".repeat(Rights::MAX_BYTES / 2));
        assert_eq!(text.parse::<Rights>(), Err(InvalidRights::Long(text.len())));
    }

    #[test]
    fn of_all_that_is_in_one_text_there_is_a_limit() {
        let many = |what, limit| Err(InvalidRights::Many { what, limit });
        let refused = |text: &str| text.parse::<Rights>().map(drop);
        let joined = |part: &str, count, between: &str| vec![part; count].join(between);
        assert_eq!(refused(&joined("view", 4, " & ")), Ok(()));
        assert_eq!(refused(&joined("view", 5, " & ")), many("parts with & between them", 4));
        assert_eq!(refused(&joined("view a", 100, " ; ")), Ok(()));
        assert_eq!(
            refused(&joined("view", 101, " ; ")),
            many("parts with ; between them", 100)
        );
        assert_eq!(refused(&format!("view {}", joined("a", 100, " "))), Ok(()));
        assert_eq!(
            refused(&format!("view {}", joined("a", 101, " "))),
            many("streams", 100)
        );
        assert_eq!(refused(&format!("view {}", joined("~^a", 10, " "))), Ok(()));
        assert_eq!(
            refused(&format!("view {}", joined("~^a", 11, " "))),
            many("expressions", 10)
        );
        let large = refused("view ~\\w{60}").unwrap_err().to_string();
        assert!(large.contains("too much memory"), "{large}");
    }

    #[test]
    fn roles() {
        let table = |role: Role| {
            let may = |action| match role.rights().may(action, Object::Program) {
                true => 'x',
                false => '.',
            };
            Action::ALL.map(may).iter().collect::<String>()
        };
        // View, replay, publish, operate, erase, administer.
        assert_eq!(table(Role::Admin), "xxxxxx");
        assert_eq!(table(Role::Operator), "xxxxx.");
        assert_eq!(table(Role::Publisher), "..x...");
        assert_eq!(table(Role::Viewer), "xx....");
    }

    #[test]
    fn some_are_not_all() {
        let own = rights("viewer door ~^yard/ ; administer door");
        assert!(own.may(Action::View, Object::Stream(&name("door"))));
        assert!(own.may(Action::Replay, Object::Stream(&name("yard/1"))));
        assert!(!own.may(Action::View, Object::Stream(&name("garden"))));
        assert!(own.may(Action::View, Object::Some));
        assert!(!own.may(Action::View, Object::Program));
        assert!(!own.may(Action::Operate, Object::Some));
        for object in [Object::Some, Object::Program, Object::Stream(&name("door"))] {
            assert!(!own.may(Action::Administer, object), "settings know no streams");
        }
    }

    #[test]
    fn who_administers_sees_the_program_and_no_picture() {
        let own = rights("administer");
        assert!(own.may(Action::View, Object::Program) && own.may(Action::View, Object::Some));
        assert!(!own.may(Action::View, Object::Stream(&name("door"))));
        assert!(!own.may(Action::Replay, Object::Program));
    }

    #[test]
    fn of_both_or_either() {
        let (one, other) = (rights("viewer door"), rights("view,operate ; replay garden"));
        let both = one.within(&other);
        assert!(both.may(Action::View, Object::Stream(&name("door"))));
        assert!(!both.may(Action::Replay, Object::Stream(&name("door"))));
        assert!(!both.may(Action::Operate, Object::Stream(&name("door"))));
        let either = one.or(&other);
        assert!(either.may(Action::Replay, Object::Stream(&name("door"))));
        assert!(either.may(Action::Replay, Object::Stream(&name("garden"))));
        assert!(!Rights::none().within(&other).may(Action::View, Object::Some));
    }

    fn any_share() -> impl Strategy<Value = Share> {
        let streams = prop_oneof![
            Just(Streams::All),
            "[a-c]".prop_map(|text| text.parse().unwrap()),
            "~\\^[a-c]\\{1,2\\};?".prop_map(|text| text.parse().unwrap()),
        ];
        (0_u8..64, prop::collection::vec(streams, 0..3)).prop_map(|(bits, streams)| Share {
            actions: Actions(bits),
            streams,
        })
    }

    fn any_rights() -> impl Strategy<Value = Rights> {
        prop::collection::vec(prop::collection::vec(any_share(), 0..3), 1..3)
            .prop_map(|all| Rights(all.into_iter().map(Vec::into_boxed_slice).collect()))
    }

    proptest! {
        /// Never more than either, and never less than both allow.
        #[test]
        fn within_is_what_both_allow(one in any_rights(), other in any_rights(), stream in "[a-d]") {
            let stream = name(&stream);
            let both = one.within(&other);
            for action in Action::ALL {
                for object in [Object::Stream(&stream), Object::Some, Object::Program] {
                    let either = [&one, &other].map(|own| own.may(action, object));
                    // Each may see the program for another reason, and then both together have none.
                    if action != Action::View || matches!(object, Object::Stream(_)) {
                        prop_assert_eq!(both.may(action, object), either[0] && either[1]);
                    }
                    prop_assert!(!both.may(action, object) || (either[0] && either[1]));
                }
            }
        }

        /// Whoever may do something to a stream may do it to some, and whoever to all, to each.
        #[test]
        fn all_are_each_and_each_are_some(own in any_rights(), stream in "[a-d]") {
            let stream = name(&stream);
            for action in Action::ALL {
                let [all, one, some] = [Object::Program, Object::Stream(&stream), Object::Some].map(|object| own.may(action, object));
                prop_assert!(!one || some);
                prop_assert!(action == Action::View || !all || one);
            }
        }

        #[test]
        fn texts_are_read_as_they_were_meant(own in any_rights(), stream in "[a-d]") {
            let again: Rights = own.to_string().parse().unwrap();
            let stream = name(&stream);
            for action in Action::ALL {
                for object in [Object::Stream(&stream), Object::Some, Object::Program] {
                    prop_assert_eq!(again.may(action, object), own.may(action, object));
                }
            }
        }
    }
}
