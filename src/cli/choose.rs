//! The options that choose checks and set parameters; several commands take them.

use super::Failure;
use crate::checklist::scope::param_value;
use crate::checklist::{Checklists, Effect, Level, Word};
use crate::expression::near;
use crate::observe::Choice;
use clap::Args;
use serde_json::Value as Json;
use std::collections::BTreeMap;

#[derive(Args)]
pub(super) struct Choose {
    /// Only these checks: ids, ids with `*`, tags, or names of checklists. Those that they need join them.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Not these checks.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    skip: Vec<String>,
    /// Set a parameter of a checklist.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// How thorough: quick, standard or deep.
    #[arg(long, default_value = "standard", value_parser = word::<Level>)]
    level: Level,
    /// What may be done to the node: reads, loads or disrupts.
    #[arg(long, default_value = "reads", value_parser = word::<Effect>)]
    effect: Effect,
}

fn word<W: Word>(text: &str) -> Result<W, String> {
    let found = W::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<&str> = W::WORDS.iter().map(|(word, _)| *word).collect();
        format!("write one of: {}", words.join(", "))
    })
}

impl Choose {
    pub(super) fn choice(&self) -> Choice {
        Choice { only: self.only.clone(), skip: self.skip.clone(), level: self.level, effect: self.effect }
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// The parameters that were set, each of the type that its checklist gives it.
    pub(super) fn parameters(&self, checklists: &Checklists) -> Result<BTreeMap<String, Json>, Failure> {
        let mut set = BTreeMap::new();
        for text in &self.set {
            let Some((name, value)) = text.split_once('=') else {
                return Err(Failure::usage(format!("punchlist: --set {text}: write --set NAME=VALUE")));
            };
            let Some(param) = checklists.params().find(|param| param.name.text == name) else {
                let known = checklists.params().map(|param| param.name.text.as_str());
                let hint = near(name, known).map(|one| format!("; did you mean `{one}`?")).unwrap_or_default();
                return Err(Failure::usage(format!("punchlist: --set {text}: no parameter is called `{name}`{hint}")));
            };
            let value = param_value(param, value)
                .map_err(|wrong| Failure::usage(format!("punchlist: --set {text}: {wrong}")))?;
            set.insert(name.to_string(), value);
        }
        Ok(set)
    }
}
