//! Flags that are another way to spell a setting.
//!
//! A command lists which settings it takes as flags; help texts, defaults and variables come from the definition
//! ([`crate::config::settings`]). Values are text here: the definition checks them, as it does everywhere else.

use std::marker::PhantomData;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{self, keys};

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    /// As people type it, `--rtsp-port`; a positional argument has no dashes.
    pub(super) name: &'static str,
    /// The setting, `camera.*.size` for the one of the camera meant.
    pub(super) key: &'static str,
    /// What stands for its value in help texts; empty for a switch.
    pub(super) value_name: &'static str,
    /// The value that a switch gives.
    pub(super) switch_value: &'static str,
    /// What help says of it; empty for what the setting's definition says.
    pub(super) doc: &'static str,
}

impl Flag {
    /// In this command's own words.
    pub(super) const fn documented(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    fn id(&self) -> &'static str {
        self.name.trim_start_matches('-')
    }

    fn is_positional(&self) -> bool {
        !self.name.starts_with('-')
    }
}

/// A flag with a value; without dashes, a positional argument.
pub(super) const fn flag(name: &'static str, key: &'static str, value_name: &'static str) -> Flag {
    Flag {
        name,
        key,
        value_name,
        switch_value: "",
        doc: "",
    }
}

/// A flag without a value, which gives the setting this one.
pub(super) const fn switch(name: &'static str, key: &'static str, switch_value: &'static str) -> Flag {
    Flag {
        name,
        key,
        value_name: "",
        switch_value,
        doc: "",
    }
}

/// The flags of one command.
pub(super) trait FlagSet {
    /// In the order in which help lists them.
    const FLAGS: &'static [&'static [Flag]];
}

/// The settings given as flags of a command, for [`clap::Args`].
#[derive(Debug)]
pub(super) struct SettingFlags<S> {
    given: Vec<config::Flag>,
    set: PhantomData<S>,
}

impl<S> SettingFlags<S> {
    /// What was given.
    pub(super) fn given(&self) -> &[config::Flag] {
        &self.given
    }
}

fn all<S: FlagSet>() -> impl Iterator<Item = &'static Flag> {
    S::FLAGS.iter().copied().flatten()
}

impl<S: FlagSet> clap::Args for SettingFlags<S> {
    fn augment_args(command: Command) -> Command {
        all::<S>().fold(command, |command, flag| {
            // Two ways to say the same thing: only one of them could hold.
            let rivals = all::<S>().filter(|other| other.key == flag.key && other.name != flag.name);
            command.arg(argument(flag).conflicts_with_all(rivals.map(Flag::id)))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S: FlagSet> clap::FromArgMatches for SettingFlags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = all::<S>().filter_map(|flag| {
            let value = if flag.value_name.is_empty() {
                let given = matches.get_flag(flag.id());
                given.then(|| flag.switch_value.to_owned())
            } else {
                matches.get_one::<String>(flag.id()).cloned()
            };
            Some(config::Flag {
                flag: flag.name,
                key: flag.key,
                value: value?,
            })
        });
        let given = given.collect();
        let set = PhantomData;
        Ok(Self { given, set })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn argument(flag: &'static Flag) -> Arg {
    let argument = Arg::new(flag.id());
    let argument = if flag.is_positional() {
        argument
    } else {
        argument.long(flag.id())
    };
    if flag.value_name.is_empty() {
        return argument.action(ArgAction::SetTrue);
    }
    // A brightness may be negative.
    argument.value_name(flag.value_name).allow_negative_numbers(true)
}

/// Puts documentation, default and variable of each setting into the help of a command and its subcommands. Only done when help is asked
/// for, since reading the definition costs more than everything else at the start.
pub(super) fn document(command: Command, sets: &[(&str, &[&[Flag]])]) -> Command {
    sets.iter().fold(command, |command, (name, flags)| {
        command.mut_subcommand(name, |command| {
            flags.iter().copied().flatten().fold(command, |command, flag| {
                command.mut_arg(flag.id(), |argument| argument.help(help(flag)))
            })
        })
    })
}

fn help(flag: &Flag) -> String {
    let Some(key) = keys::key(flag.key) else {
        return String::new();
    };
    let default = match key.default_value() {
        Some(default) if flag.switch_value.is_empty() => {
            let text = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            format!("default {text}, ")
        }
        _ => String::new(),
    };
    let path = flag.key.replace('*', "NAME");
    let sets = match flag.switch_value {
        "" | "true" => String::new(),
        value => format!("Sets {} to {value:?}: ", key.name),
    };
    let doc = if flag.doc.is_empty() { key.doc } else { flag.doc };
    format!("{sets}{doc} [{default}{path}, {}]", key.variable)
}
