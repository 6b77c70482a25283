//! The options that choose checks and set parameters; several commands take them.

use super::{Failure, load, warn};
use crate::checklist::scope::param_value;
use crate::checklist::{Checklists, Effect, Level, Word};
use crate::expression::near;
use crate::observe::{Choice, Plan};
use clap::Args;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Which checks, and what they are held against.
#[derive(Args)]
pub(super) struct Choose {
    /// Only these checks: ids, ids with `*`, tags, or names of checklists. Those that they need join them.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Not these checks.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    skip: Vec<String>,
    /// The site's parameters, checklists and waivers: this file instead of /etc/punchlist/site.yaml.
    #[arg(long, value_name = "FILE")]
    site: Option<PathBuf>,
    /// Set a parameter of a checklist, whatever the site file says.
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
    /// The checklists to choose from, with the site file.
    pub(super) fn load(&self, paths: &[PathBuf]) -> Result<Checklists, Failure> {
        let checklists = load(paths, self.site.as_deref())?;
        warn(&checklists);
        Ok(checklists)
    }

    /// Whether everything is asked that a usual run asks.
    pub(super) fn is_whole(&self) -> bool {
        self.only.is_empty() && self.skip.is_empty() && self.level >= Level::Standard
    }

    /// The chosen checks.
    pub(super) fn plan<'c>(&self, checklists: &'c Checklists) -> Result<Plan<'c>, Failure> {
        let choice =
            Choice { only: self.only.clone(), skip: self.skip.clone(), level: self.level, effect: self.effect };
        Plan::new(checklists, &choice).map_err(Failure::usage)
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// The parameters that were set for the node that goes by these names, each of the type that its checklist gives it:
    /// those of the site file, and over them those of the command line.
    pub(super) fn parameters(
        &self,
        checklists: &Checklists,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Json>, Failure> {
        let mut set: BTreeMap<String, Json> = checklists.sites.iter().flat_map(|site| site.parameters(names)).collect();
        for text in &self.set {
            let Some((name, value)) = text.split_once('=') else {
                return Err(Failure::usage(format!("--set {text}: write --set NAME=VALUE")));
            };
            let Some(param) = checklists.params().find(|param| param.name.text == name) else {
                let known = checklists.params().map(|param| param.name.text.as_str());
                let hint = near(name, known).map(|one| format!("; did you mean `{one}`?")).unwrap_or_default();
                return Err(Failure::usage(format!("--set {text}: no parameter is called `{name}`{hint}")));
            };
            let value = param_value(param, value).map_err(|wrong| Failure::usage(format!("--set {text}: {wrong}")))?;
            set.insert(name.to_string(), value);
        }
        Ok(set)
    }
}
